//! What a GET of messages does.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stage::{Stage, expect, refused, within};

fn data(page: &Value) -> Vec<&str> {
    let records = page["records"].as_array().unwrap();
    records
        .iter()
        .map(|r| r["data"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn pages_walk_a_topic_from_beginning_to_end() {
    let stage = Stage::open().await;
    for number in 0..5 {
        stage.publish("a/b", &number.to_string()).await;
    }
    let mut from = "earliest".to_owned();
    for expected in [&["0", "1"][..], &["2", "3"], &["4"], &[]] {
        let path = format!("/v1/messages/a/b?from={from}&limit=2");
        let page = expect(stage.get(&path), StatusCode::OK).await;
        assert_eq!(data(&page), expected);
        from = format!("cursor:{}", page["next"].as_str().unwrap());
    }
    for (query, expected) in [
        ("", &["0", "1", "2", "3", "4"][..]),
        ("?from=last:2", &["3", "4"]),
        ("?from=latest", &[]),
        ("?from=retained", &[]),
        ("?from=time:1970-01-01T00:00:00Z&limit=1", &["0"]),
        ("?limit=999999999", &["0", "1", "2", "3", "4"]),
    ] {
        let page = expect(
            stage.get(&format!("/v1/messages/a/b{query}")),
            StatusCode::OK,
        )
        .await;
        assert_eq!(data(&page), expected, "{query}");
    }
}

#[tokio::test]
async fn a_record_carries_its_own_cursor_and_the_rest() {
    let stage = Stage::open().await;
    let result = stage.publish("a", "x").await;
    let page = expect(stage.get("/v1/messages/a"), StatusCode::OK).await;
    let expected = json!({
        "topic": "a", "offset": 0, "cursor": result["cursor"], "published_at_ms": 1_000_000,
        "content_type": "text/plain", "data": "x",
    });
    assert_eq!(
        page,
        json!({"records": [expected], "next": result["cursor"]})
    );
}

#[tokio::test]
async fn a_payload_is_text_only_when_it_says_so_and_is() {
    let stage = Stage::open().await;
    for (content_type, payload, is_text) in [
        ("text/plain", &b"x"[..], true),
        ("application/json; charset=utf-8", b"{}", true),
        ("application/vnd.thing+json", b"not json", true),
        ("text/plain", b"\xff", false),
        ("application/octet-stream", b"x", false),
        ("", b"x", false),
    ] {
        let mut request = stage.post("/v1/messages/a", payload.to_vec());
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        expect(request, StatusCode::CREATED).await;
        let page = expect(stage.get("/v1/messages/a?from=last:1"), StatusCode::OK).await;
        let record = &page["records"][0];
        assert_eq!(
            record["data"].is_string(),
            is_text,
            "{content_type}: {record}"
        );
        assert_eq!(
            record["data_base64"].is_string(),
            !is_text,
            "{content_type}: {record}"
        );
    }
}

#[tokio::test]
async fn a_long_poll_answers_when_a_record_comes() {
    let stage = Stage::open().await;
    stage.publish("a", "old").await;
    let empty = expect(stage.get("/v1/messages/a?from=latest"), StatusCode::OK).await;
    let next = empty["next"].as_str().unwrap();
    let path = format!("/v1/messages/a?from=cursor:{next}&wait=20s");
    let poll = expect(stage.get(&path), StatusCode::OK);
    let publish = async {
        // The poll waits by now or will find the record at once: both are right.
        tokio::task::yield_now().await;
        stage.publish("a", "new").await
    };
    let (page, _) = tokio::join!(poll, publish);
    assert_eq!(data(&page), ["new"]);
}

#[tokio::test]
async fn a_long_poll_that_sees_nothing_answers_an_empty_page_with_the_next_cursor() {
    let stage = Stage::open().await;
    stage.publish("a", "old").await;
    let began = Instant::now();
    let page = expect(
        stage.get("/v1/messages/a?from=latest&wait=100"),
        StatusCode::OK,
    )
    .await;
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert_eq!(data(&page), [""; 0]);
    stage.publish("a", "new").await;
    let path = format!(
        "/v1/messages/a?from=cursor:{}",
        page["next"].as_str().unwrap()
    );
    assert_eq!(
        data(&expect(stage.get(&path), StatusCode::OK).await),
        ["new"]
    );
}

#[tokio::test]
async fn a_long_poll_ends_when_its_key_is_revoked() {
    let stage = Stage::open().await;
    let poll = stage.get("/v1/messages?topic=a/%23&from=latest&wait=60s");
    let revoking = async {
        stage.followed(true).await;
        stage.revoke_keys();
    };
    tokio::join!(refused(poll, "unauthenticated"), revoking);
}

#[tokio::test]
async fn filters_read_many_topics() {
    for shards in [1, 3] {
        let stage = Stage::with(shards, Default::default(), None).await;
        for topic in ["a/1", "a/2", "b/1", "c", "d"] {
            stage.publish(topic, topic).await;
        }
        let path = "/v1/messages?topic=a/%23&topic=c&from=earliest&limit=2";
        let first = expect(stage.get(path), StatusCode::OK).await;
        let next = first["next"].as_str().unwrap();
        let path = format!("/v1/messages?topic=a/%23&topic=c&from=cursor:{next}");
        let second = expect(stage.get(&path), StatusCode::OK).await;
        let mut seen = [data(&first), data(&second)].concat();
        seen.sort_unstable();
        assert_eq!(seen, ["a/1", "a/2", "c"]);
    }
}

#[tokio::test]
async fn what_is_gone_is_told_as_a_gap() {
    let stage = Stage::open().await;
    let first = stage.publish("a", "0").await;
    let second = stage.publish("a", "1").await;
    stage.publish("a", "2").await;
    let topic = highwater_proto::names::TopicName::try_from("a").unwrap();
    stage.shards[0].trim(stage.project.id, &topic, 2);
    let path = format!(
        "/v1/messages/a?from=cursor:{}",
        first["cursor"].as_str().unwrap()
    );
    let page = expect(stage.get(&path), StatusCode::OK).await;
    let gap = json!({
        "topic": "a", "requested": first["cursor"], "first_available": second["cursor"],
        "reason": "retention",
    });
    assert_eq!(page["gaps"], json!([gap]));
    assert_eq!(data(&page), ["2"]);
}

#[tokio::test]
async fn head_tells_where_a_topic_begins_and_ends() {
    let stage = Stage::open().await;
    stage.publish("a", "0").await;
    let result = stage.publish("a", "1").await;
    let head = within(stage.request(Method::HEAD, "/v1/messages/a").send())
        .await
        .unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    let cursor = result["cursor"].as_str().unwrap();
    assert_eq!(head.headers()["highwater-first-offset"], "0");
    assert_eq!(head.headers()["highwater-next-offset"], "2");
    assert_eq!(head.headers()["highwater-cursor"], cursor);
    // And the entity tag can be sent back as it is.
    let tag = head.headers()["etag"].clone();
    expect(
        stage.post("/v1/messages/a", "2").header("if-match", tag),
        StatusCode::CREATED,
    )
    .await;
    let missing = within(stage.request(Method::HEAD, "/v1/messages/b").send())
        .await
        .unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_cursor_of_someone_else_is_refused() {
    let stage = Stage::open().await;
    let ours = stage.publish("a", "x").await;
    let path = format!(
        "/v1/messages/a?from=cursor:{}",
        ours["cursor"].as_str().unwrap()
    );
    let theirs = stage
        .anonymous(Method::GET, &path)
        .bearer_auth(&stage.strangers_key);
    refused(theirs, "cursor_foreign").await;
    refused(
        stage.get("/v1/messages/a?from=cursor:forged"),
        "cursor_invalid",
    )
    .await;
    // And nothing of ours is seen through the other key.
    let all = stage.anonymous(Method::GET, "/v1/messages?topic=%23&from=earliest");
    let page = expect(all.bearer_auth(&stage.strangers_key), StatusCode::OK).await;
    assert_eq!(page["records"], json!([]));
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_ask() {
    let stage = Stage::open().await;
    stage.publish("a", &"x".repeat(10_000)).await;
    let request = stage
        .get("/v1/messages/a")
        .header("accept-encoding", "gzip");
    let response = within(request.send()).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert!(within(response.bytes()).await.unwrap().len() < 1_000);
}
