//! Listing and deleting topics.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::stage::{Stage, expect, refused};

fn names(body: &Value) -> Vec<String> {
    let topics = body["topics"].as_array().unwrap();
    topics
        .iter()
        .map(|t| t["topic"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn topics_are_listed_by_name_page_by_page() {
    for shards in [1, 3] {
        let stage = Stage::with(shards, Default::default(), None).await;
        for topic in ["b", "a/2", "a/1", "ab", "a", "c/d/e", "a/1/x"] {
            stage.publish(topic, "x").await;
        }
        for (prefix, expected) in [
            ("", &["a", "a/1", "a/1/x", "a/2", "ab", "b", "c/d/e"][..]),
            ("a", &["a", "a/1", "a/1/x", "a/2", "ab"]),
            ("a/", &["a/1", "a/1/x", "a/2"]),
            ("a/1", &["a/1", "a/1/x"]),
            ("c/d/", &["c/d/e"]),
            ("d", &[]),
        ] {
            for limit in [1, 2, 1_000] {
                let mut seen = Vec::new();
                let mut cursor = String::new();
                loop {
                    let path = format!("/v1/topics?prefix={prefix}&limit={limit}{cursor}");
                    let body = expect(stage.get(&path), StatusCode::OK).await;
                    seen.extend(names(&body));
                    match body["next"].as_str() {
                        Some(next) => cursor = format!("&cursor={next}"),
                        None => break,
                    }
                }
                assert_eq!(seen, expected, "{prefix} by {limit} on {shards} shards");
            }
        }
    }
}

#[tokio::test]
async fn a_listing_shows_only_what_the_key_may_read_in_its_project() {
    let stage = Stage::open().await;
    for topic in ["a/b", "a/c", "d"] {
        stage.publish(topic, "x").await;
    }
    let list = |key: &str| stage.anonymous(Method::GET, "/v1/topics").bearer_auth(key);
    let narrow = expect(list(&stage.narrow_key), StatusCode::OK).await;
    assert_eq!(names(&narrow), ["a/b"]);
    let strangers = expect(list(&stage.strangers_key), StatusCode::OK).await;
    assert_eq!(names(&strangers), [""; 0]);
}

#[tokio::test]
async fn a_listing_refuses_what_is_no_cursor_or_prefix() {
    let stage = Stage::open().await;
    refused(stage.get("/v1/topics?cursor=%3F"), "cursor_invalid").await;
    refused(stage.get("/v1/topics?prefix=a/%23"), "invalid_topic").await;
    refused(stage.get("/v1/topics?limit=0"), "invalid_request").await;
}

#[tokio::test]
async fn a_deleted_topic_is_gone_with_its_records() {
    let stage = Stage::open().await;
    stage.publish("a/b", "x").await;
    let delete = || stage.request(Method::DELETE, "/v1/topics/a%2Fb");
    let narrow = stage
        .anonymous(Method::DELETE, "/v1/topics/a/b")
        .bearer_auth(&stage.narrow_key);
    refused(narrow, "forbidden").await;
    expect(delete(), StatusCode::NO_CONTENT).await;
    refused(delete(), "not_found").await;
    let body = expect(stage.get("/v1/topics"), StatusCode::OK).await;
    assert_eq!(names(&body), [""; 0]);
}

#[tokio::test]
async fn if_match_deletes_only_where_the_topic_ends() {
    let stage = Stage::open().await;
    let first = stage.publish("a", "1").await;
    let second = stage.publish("a", "2").await;
    let other = stage.publish("b", "1").await;
    let delete = |tag: &str| {
        let request = stage.request(Method::DELETE, "/v1/topics/a");
        request.header("if-match", tag)
    };
    let cursor = |result: &Value| result["cursor"].as_str().unwrap().to_owned();
    refused(delete(&cursor(&first)), "precondition_failed").await;
    refused(delete(&cursor(&other)), "precondition_failed").await;
    refused(delete("forged"), "cursor_invalid").await;
    refused(delete("*"), "invalid_request").await;
    let quoted = format!("\"{}\"", cursor(&second));
    expect(delete(&quoted), StatusCode::NO_CONTENT).await;
    refused(delete(&quoted), "not_found").await;
    // One that is made anew ends at the same offset, and is another one.
    stage.publish("a", "1").await;
    stage.publish("a", "2").await;
    refused(delete(&quoted), "precondition_failed").await;
}
