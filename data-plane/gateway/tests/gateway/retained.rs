//! What is retained, over every protocol: the retained record of each topic, then what follows.

use highwater_gateway::Options;
use highwater_proto::client::ReadRequest;
use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    sse::events::Events,
    stage::{Stage, expect, within},
    websocket::peer::Peer,
};

async fn retain(stage: &Stage, topic: &str, payload: &str) {
    let request = stage.post(&format!("/v1/messages/{topic}"), payload.to_owned());
    let request = request
        .header("content-type", "text/plain")
        .header("highwater-retain", "true");
    expect(request, StatusCode::CREATED).await;
}

/// Topics with a retained record below `a/`, others without one, and history around all.
async fn filled(shards: u32) -> Stage {
    let stage = Stage::with(shards, Options::default(), None).await;
    for topic in ["a/1", "a/2", "a/3", "b"] {
        stage.publish(topic, "before").await;
        retain(&stage, topic, "kept").await;
        stage.publish(topic, "after").await;
    }
    stage.publish("a/never", "x").await;
    retain(&stage, "a/3", "").await;
    stage
}

fn names(records: &[Value]) -> Vec<(&str, &str)> {
    let mut names: Vec<(&str, &str)> = records
        .iter()
        .map(|r| (r["topic"].as_str().unwrap(), r["data"].as_str().unwrap()))
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn pages_begin_with_what_is_retained() {
    for shards in [1, 3] {
        let stage = filled(shards).await;
        for (query, expected) in [
            (
                "/v1/messages?topic=a/%23&from=retained",
                &["a/1", "a/2"][..],
            ),
            ("/v1/messages/a/1?from=retained", &["a/1"]),
            ("/v1/messages/a/3?from=retained", &[]),
            ("/v1/messages/a/never?from=retained", &[]),
        ] {
            let page = expect(stage.get(query), StatusCode::OK).await;
            let records = page["records"].as_array().unwrap();
            let kept: Vec<_> = expected.iter().map(|topic| (*topic, "kept")).collect();
            assert_eq!(names(records), kept, "{query}");
            // The next page is of what has come since.
            let path = query.split('?').next().unwrap();
            let filter = query.split_once("topic=").map_or("", |_| "topic=a/%23&");
            let next = page["next"].as_str().unwrap();
            let next = format!("{path}?{filter}from=cursor:{next}");
            let page = expect(stage.get(&next), StatusCode::OK).await;
            assert_eq!(page["records"].as_array().unwrap().len(), 0, "{next}");
        }
        let request = ReadRequest {
            topics: vec!["a/#".into()],
            from: "retained".into(),
            ..ReadRequest::default()
        };
        let page = within(stage.grpc().await.read(stage.call(request))).await;
        assert_eq!(page.unwrap().into_inner().records.len(), 2);
    }
}

#[tokio::test]
async fn streams_begin_with_what_is_retained_and_go_on_live() {
    for shards in [1, 3] {
        let stage = filled(shards).await;
        let mut events = Events::open(&stage, "topic=a/%23&from=retained").await;
        let mut peer = Peer::open(&stage).await;
        peer.subscribe(1, &["a/#"], "retained").await;
        let mut from_events = Vec::new();
        for _ in 0..2 {
            from_events.push(events.next().await.unwrap().json());
        }
        let from_peer = peer.records(1, 2).await;
        for records in [&from_events, &from_peer] {
            assert_eq!(names(records), [("a/1", "kept"), ("a/2", "kept")]);
        }
        stage.publish("a/2", "live").await;
        assert_eq!(events.next().await.unwrap().json()["data"], "live");
        assert_eq!(peer.records(1, 1).await[0]["data"], "live");
    }
}

#[tokio::test]
async fn a_browser_that_comes_back_has_each_retained_record_once() {
    for (shards, query) in [(1, "topic=a/%23"), (3, "topic=a/%23"), (1, "topic=a/1")] {
        let stage = filled(shards).await;
        let query = format!("{query}&from=retained");
        let mut events = Events::open(&stage, &query).await;
        stage.publish("a/1", "live").await;
        let kept = if query.starts_with("topic=a/1") { 1 } else { 2 };
        let mut seen = Vec::new();
        for _ in 0..kept + 1 {
            let event = events.next().await.unwrap();
            seen.push(event.json());
            let id = events.last_id().to_owned();
            events = Events::resume(&stage, &query, Some(&id)).await;
        }
        let expected = [("a/1", "kept"), ("a/1", "live"), ("a/2", "kept")];
        assert_eq!(names(&seen), expected[..kept + 1]);
        stage.publish("a/1", "later").await;
        assert_eq!(events.next().await.unwrap().json()["data"], "later");
    }
}
