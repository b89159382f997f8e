//! A subscription as a stream of events.

use std::time::Duration;

use highwater_gateway::Options;
use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

use super::events::Events;
use crate::stage::{Stage, refused, within};

#[tokio::test]
async fn the_head_keeps_proxies_from_holding_events_back() {
    let stage = Stage::open().await;
    let request = stage
        .get("/v1/sse?topic=a")
        .header("accept-encoding", "gzip");
    let response = within(request.send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    assert!(!response.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn every_record_is_an_event_with_its_cursor() {
    let stage = Stage::open().await;
    let mut events = Events::open(&stage, "topic=a/b").await;
    assert!((1_000..=2_000).contains(&events.retry_ms.unwrap()));
    let receipt = events.last_id().to_owned();
    let result = stage.publish("a/b", "line 1\nline 2").await;
    let event = events.next().await.unwrap();
    assert_eq!(event.name, "", "`onmessage` sees it");
    assert_eq!(event.id, result["cursor"].as_str().unwrap());
    assert_ne!(event.id, receipt);
    let expected = json!({
        "topic": "a/b", "offset": 0, "cursor": result["cursor"], "published_at_ms": 1_000_000,
        "content_type": "text/plain", "data": "line 1\nline 2",
    });
    assert_eq!(event.json(), expected);
}

#[tokio::test]
async fn a_stream_goes_on_from_the_last_event_that_was_seen() {
    let stage = Stage::with(3, Options::default(), None).await;
    for query in [
        "topic=a/1&from=earliest",
        "topic=a/%2B&topic=b&from=earliest",
    ] {
        let mut events = Events::open(&stage, query).await;
        for number in 0..3 {
            stage.publish("a/1", &number.to_string()).await;
        }
        let mut seen = Vec::new();
        let mut last = events.last_id().to_owned();
        for _ in 0..3 {
            let event = events.next().await.unwrap();
            // A reader that ends anywhere reads the rest somewhere else.
            let mut other = Events::resume(&stage, query, Some(&last)).await;
            assert_eq!(other.next().await.unwrap().data, event.data);
            last.clone_from(&event.id);
            seen.push(event.json()["data"].as_str().unwrap().to_owned());
        }
        assert_eq!(seen, ["0", "1", "2"], "{query}");
        within(stage.request(Method::DELETE, "/v1/topics/a/1").send())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn the_last_event_wins_over_the_query() {
    let stage = Stage::open().await;
    for number in 0..3 {
        stage.publish("a", &number.to_string()).await;
    }
    let mut events = Events::open(&stage, "topic=a&from=last:2").await;
    let last = events.next().await.unwrap().id;
    let mut resumed = Events::resume(&stage, "topic=a&from=earliest", Some(&last)).await;
    assert_eq!(resumed.next().await.unwrap().json()["data"], "2");
    let mut fresh = Events::resume(&stage, "topic=a&from=earliest", Some("")).await;
    assert_eq!(fresh.next().await.unwrap().json()["data"], "0");
}

#[tokio::test]
async fn raw_payloads_come_as_their_lines() {
    let stage = Stage::open().await;
    let mut events = Events::open(&stage, "topic=a&format=raw").await;
    stage.publish("a", "one\ntwo\n").await;
    let binary = stage.post("/v1/messages/a", vec![0xff, 0x00]);
    within(binary.send()).await.unwrap();
    let text = events.next().await.unwrap();
    assert_eq!((text.name.as_str(), text.data.as_str()), ("", "one\ntwo\n"));
    let binary = events.next().await.unwrap();
    assert_eq!(
        (binary.name.as_str(), binary.data.as_str()),
        ("binary", "/wA=")
    );
}

#[tokio::test]
async fn what_is_gone_is_an_event() {
    let stage = Stage::open().await;
    let mut first = String::new();
    for number in 0..5 {
        let result = stage.publish("a", &number.to_string()).await;
        if number == 0 {
            result["cursor"].as_str().unwrap().clone_into(&mut first);
        }
    }
    stage.shards[0].trim(stage.project.id, &"a".try_into().unwrap(), 3);
    let mut events = Events::resume(&stage, "topic=a", Some(&first)).await;
    let gap = events.next().await.unwrap();
    assert_eq!(gap.name, "gap");
    assert_eq!(gap.id, first, "whoever goes on from here is told again");
    let told = gap.json();
    assert_eq!(
        (&told["requested"], &told["reason"], &told["topic"]),
        (&json!(first), &json!("retention"), &json!("a"))
    );
    assert!(told["first_available"].is_string());
    assert_eq!(events.next().await.unwrap().json()["offset"], 3);
}

#[tokio::test]
async fn refusals_come_before_the_stream() {
    let stage = Stage::open().await;
    let anonymous = stage.anonymous(Method::GET, "/v1/sse?topic=a");
    refused(anonymous, "unauthenticated").await;
    let narrow = stage
        .anonymous(Method::GET, "/v1/sse?topic=c")
        .bearer_auth(&stage.narrow_key);
    refused(narrow, "forbidden").await;
    for (query, code) in [
        ("", "invalid_request"),
        ("topic=", "invalid_topic"),
        ("topic=a/%23/b", "invalid_topic"),
        ("topic=a&from=yesterday", "invalid_request"),
        ("topic=a&from=cursor:x", "cursor_invalid"),
        ("topic=a&format=xml", "invalid_request"),
        ("topic=a&fom=earliest", "invalid_request"),
        ("topic=a&token=x", "unauthenticated"),
    ] {
        refused(stage.get(&format!("/v1/sse?{query}")), code).await;
    }
    let forged = stage
        .get("/v1/sse?topic=a")
        .header("last-event-id", "forged");
    refused(forged, "cursor_invalid").await;
    let many: String = (0..257).map(|n| format!("topic=t{n}&")).collect();
    refused(
        stage.get(&format!("/v1/sse?{}", many.trim_end_matches('&'))),
        "invalid_request",
    )
    .await;
}

#[tokio::test]
async fn silence_is_broken_by_comments() {
    let options = Options {
        heartbeat_interval: Duration::from_millis(20),
        ..Options::default()
    };
    let stage = Stage::with(1, options, None).await;
    let mut events = Events::open(&stage, "topic=a").await;
    let published = async {
        // Long enough for some comments, however slow the machine is.
        tokio::time::sleep(Duration::from_millis(200)).await;
        stage.publish("a", "x").await
    };
    let (event, _) = tokio::join!(events.next(), published);
    assert_eq!(event.unwrap().json()["data"], "x");
    assert!(events.comments > 0);
}

#[tokio::test]
async fn a_stream_ends_with_its_credential() {
    let stage = Stage::open().await;
    let mut events = Events::open(&stage, "topic=a").await;
    stage.revoke_keys();
    let error = events.next().await.unwrap();
    assert_eq!(error.name, "error");
    assert_eq!(error.json()["code"], "unauthenticated");
    assert_eq!(events.next().await, None);
    refused(stage.get("/v1/sse?topic=a"), "unauthenticated").await;
}

#[tokio::test]
async fn a_node_that_stops_says_when_to_come_back() {
    let options = Options {
        reconnect_spread: Duration::from_secs(8),
        ..Options::default()
    };
    let mut stage = Stage::with(1, options, None).await;
    let mut first = Events::open(&stage, "topic=a").await;
    let mut second = Events::open(&stage, "topic=a").await;
    stage.stopped().await;
    let mut delays = Vec::new();
    for events in [&mut first, &mut second] {
        let end = events.next().await.unwrap();
        assert_eq!(end.name, "end");
        assert_eq!(end.json()["reason"], "draining");
        assert_eq!(end.json()["reconnect_after_ms"], events.retry_ms.unwrap());
        delays.push(events.retry_ms.unwrap());
        assert_eq!(events.next().await, None);
    }
    assert!(delays.iter().all(|delay| *delay < 8_000));
    assert_ne!(delays[0], delays[1]);
}

#[tokio::test]
async fn a_slow_reader_holds_up_nobody_and_misses_nothing() {
    let stage = Stage::open().await;
    let mut slow = Events::open(&stage, "topic=a").await;
    let mut quick = Events::open(&stage, "topic=a").await;
    let payload = "x".repeat(100_000);
    for _ in 0..100 {
        stage.publish("a", &payload).await;
        assert_eq!(
            quick.next().await.unwrap().json()["data"]
                .as_str()
                .map(str::len),
            Some(payload.len())
        );
    }
    for offset in 0..100 {
        assert_eq!(slow.next().await.unwrap().json()["offset"], offset);
    }
}

#[tokio::test]
async fn event_streams_are_spoken_over_http_2() {
    let stage = Stage::open().await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let request = client
        .get(stage.url("/v1/sse?topic=a&from=earliest"))
        .bearer_auth(&stage.key);
    stage.publish("a", "x").await;
    let mut response = within(request.send()).await.unwrap();
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
    let mut text = String::new();
    while !text.contains("\"data\":\"x\"") {
        let chunk = within(response.chunk()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}
