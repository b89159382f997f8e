//! What a POST does.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use highwater_broker::Refusal;
use highwater_gateway::Options;
use highwater_proto::{ErrorCode, ids::ShardId, names::TopicName};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stage::{Stage, expect, refused, within};

async fn only_record(stage: &Stage, topic: &str) -> Value {
    let page = expect(stage.get(&format!("/v1/messages/{topic}")), StatusCode::OK).await;
    let records = page["records"].as_array().unwrap();
    assert_eq!(records.len(), 1, "{page}");
    records[0].clone()
}

async fn assert_nothing_was_written(stage: &Stage) {
    let page = expect(stage.get("/v1/messages?topic=%23"), StatusCode::OK).await;
    assert_eq!(page["records"], json!([]));
}

#[tokio::test]
async fn a_raw_post_is_answered_with_the_publish_result() {
    let stage = Stage::open().await;
    for offset in 0..2 {
        let result = stage.publish("orders/eu/42", "hello").await;
        assert_eq!(result["topic"], "orders/eu/42");
        assert_eq!(result["offset"], offset);
        assert_eq!(result["duplicate"], false);
        assert!(result["cursor"].as_str().unwrap().len() <= 64);
        assert_eq!(result.as_object().unwrap().len(), 4);
    }
}

#[tokio::test]
async fn a_share_of_the_posts_without_a_trace_begin_one_and_carry_it() {
    const BEGUN: &str = "00-11111111111111111111111111111111-2222222222222222-01";
    const OWN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let options = Options {
        trace_ratio: 0.5,
        traceparent_of: |_| Some(BEGUN.to_owned()),
        ..Options::default()
    };
    let stage = Stage::with(1, options, None).await;
    for _ in 0..4 {
        stage.publish("a", "hello").await;
    }
    // A context that is there stays, also one that is not sampled.
    for _ in 0..2 {
        let request = stage.post("/v1/messages/a", "hello");
        expect(request.header("traceparent", OWN), StatusCode::CREATED).await;
    }
    let page = expect(stage.get("/v1/messages/a"), StatusCode::OK).await;
    let records = page["records"].as_array().unwrap();
    let traces = records.iter().map(|r| r["traceparent"].as_str());
    let traces: Vec<_> = traces.map(Option::unwrap_or_default).collect();
    assert_eq!(traces, [BEGUN, "", BEGUN, "", OWN, OWN]);
}

#[tokio::test]
async fn headers_of_a_post_become_the_message() {
    let stage = Stage::open().await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = stage
        .post("/v1/messages/a", r#"{"n": 1}"#)
        .header("content-type", "application/json")
        .header("highwater-key", "k")
        .header("highwater-ttl", "30s")
        .header("highwater-header-x", "1")
        .header("highwater-header-x", "2")
        .header("highwater-header-y-z", "drei")
        .header("traceparent", traceparent);
    expect(request, StatusCode::CREATED).await;
    let record = only_record(&stage, "a").await;
    assert_eq!(record["data"], r#"{"n": 1}"#);
    assert_eq!(record["content_type"], "application/json");
    assert_eq!(record["key"], "k");
    assert_eq!(record["ttl_ms"], 30_000);
    assert_eq!(
        record["headers"],
        json!([["x", "1"], ["x", "2"], ["y-z", "drei"]])
    );
    assert_eq!(record["traceparent"], traceparent);
    assert_eq!(record["published_at_ms"], 1_000_000);
}

#[tokio::test]
async fn a_malformed_trace_context_is_ignored() {
    let stage = Stage::open().await;
    let request = stage
        .post("/v1/messages/a", "x")
        .header("traceparent", "nonsense");
    expect(request, StatusCode::CREATED).await;
    assert_eq!(only_record(&stage, "a").await["traceparent"], Value::Null);
}

#[tokio::test]
async fn a_retry_with_the_same_idempotency_key_is_one_message() {
    let stage = Stage::open().await;
    let request = || {
        stage
            .post("/v1/messages/a", "x")
            .header("idempotency-key", "once")
    };
    let first = expect(request(), StatusCode::CREATED).await;
    let again = expect(request(), StatusCode::CREATED).await;
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["cursor"], first["cursor"]);
    assert_eq!(again["offset"], first["offset"]);
    only_record(&stage, "a").await;
}

#[tokio::test]
async fn if_match_appends_only_where_the_topic_ends() {
    let stage = Stage::open().await;
    let first = stage.publish("a", "1").await;
    let cursor = first["cursor"].as_str().unwrap();
    let request = |tag: &str| stage.post("/v1/messages/a", "2").header("if-match", tag);
    let second = expect(request(&format!("\"{cursor}\"")), StatusCode::CREATED).await;
    refused(request(cursor), "precondition_failed").await;
    expect(
        request(second["cursor"].as_str().unwrap()),
        StatusCode::CREATED,
    )
    .await;
    refused(request("forged"), "cursor_invalid").await;
    refused(request("*"), "invalid_request").await;
}

#[tokio::test]
async fn if_match_with_a_cursor_of_a_deleted_topic_fails() {
    let stage = Stage::open().await;
    let old = stage.publish("a", "1").await;
    expect(
        stage.request(Method::DELETE, "/v1/topics/a"),
        StatusCode::NO_CONTENT,
    )
    .await;
    let request = || {
        let cursor = old["cursor"].as_str().unwrap();
        stage.post("/v1/messages/a", "2").header("if-match", cursor)
    };
    refused(request(), "precondition_failed").await;
    // The new topic ends at the same offset, and is another one.
    stage.publish("a", "1").await;
    refused(request(), "precondition_failed").await;
}

#[tokio::test]
async fn a_topic_in_the_path_may_be_percent_encoded() {
    let stage = Stage::open().await;
    for (path, topic) in [
        ("a%2Fb", "a/b"),
        ("a/b", "a/b"),
        ("caf%C3%A9/%20x", "café/ x"),
        ("%2Fa", "/a"),
        ("a%2525", "a%25"),
    ] {
        let result = stage.publish(path, "x").await;
        assert_eq!(result["topic"], topic, "{path}");
    }
}

#[tokio::test]
async fn a_topic_that_is_none_is_refused() {
    let stage = Stage::open().await;
    let long = "x".repeat(1_025);
    let deep = "x/".repeat(128);
    for path in ["a/%23", "a/%2B", "%24SYS/x", "a%00", "a%FF", &long, &deep] {
        let path = format!("/v1/messages/{path}");
        refused(stage.post(&path, "x"), "invalid_topic").await;
    }
}

#[tokio::test]
async fn a_payload_that_is_too_large_is_refused() {
    let stage = Stage::open().await;
    let (largest, larger) = (vec![0; 1 << 20], vec![0; (1 << 20) + 1]);
    expect(stage.post("/v1/messages/a", largest), StatusCode::CREATED).await;
    refused(
        stage.post("/v1/messages/a", larger.clone()),
        "payload_too_large",
    )
    .await;
    // The same without a length beforehand.
    let chunks = futures_util::stream::iter(
        larger
            .chunks(10_000)
            .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
            .collect::<Vec<_>>(),
    );
    let body = reqwest::Body::wrap_stream(chunks);
    refused(stage.post("/v1/messages/a", body), "payload_too_large").await;
}

#[tokio::test]
async fn a_message_beyond_the_limits_is_refused() {
    let stage = Stage::open().await;
    let long = "x".repeat(1_100);
    for (name, value, code) in [
        ("highwater-ttl", "soon", "invalid_request"),
        ("highwater-ttl", "4000d", "invalid_request"),
        ("highwater-key", &long, "invalid_request"),
        ("idempotency-key", &long, "invalid_request"),
        ("content-type", &long, "invalid_request"),
        ("highwater-kye", "misspelt", "invalid_request"),
        ("content-encoding", "gzip", "invalid_request"),
    ] {
        let request = stage.post("/v1/messages/a", "x").header(name, value);
        refused(request, code).await;
    }
    let mut request = stage.post("/v1/messages/a", "x");
    for number in 0..65 {
        request = request.header(format!("highwater-header-{number}"), "x");
    }
    refused(request, "headers_too_large").await;
    refused(stage.post("/v1/messages/made/up", "x"), "not_found").await;
    assert_nothing_was_written(&stage).await;
}

#[tokio::test]
async fn a_full_shard_is_429_with_retry_after() {
    let stage = Stage::open().await;
    let refusal = Refusal::new(ErrorCode::Overloaded, "the queue is full").retry_after_ms(1_500);
    stage.shards[0].refuse(Some(refusal));
    let response = within(stage.post("/v1/messages/a", "x").send())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "2");
    let problem: Value = within(response.json()).await.unwrap();
    assert_eq!(problem["retry_after_ms"], 1_500);
    assert_eq!(
        (&problem["retryable"], &problem["has_no_side_effects"]),
        (&json!(true), &json!(true))
    );
}

#[tokio::test]
async fn a_cloud_event_in_binary_mode_keeps_its_attributes() {
    let stage = Stage::open().await;
    let request = |version: &str| {
        stage
            .post("/v1/messages/a", "<xml/>")
            .header("content-type", "text/xml")
            .header("ce-specversion", version)
            .header("ce-id", "1")
            .header("ce-source", "/here")
            .header("ce-type", "a.thing")
            .header("ce-subject", "Euro%20%E2%82%AC%25")
    };
    expect(request("1.0"), StatusCode::CREATED).await;
    let record = only_record(&stage, "a").await;
    assert_eq!(record["data"], "<xml/>");
    assert_eq!(record["content_type"], "text/xml");
    let headers = record["headers"].as_array().unwrap();
    for header in [
        json!(["ce-id", "1"]),
        json!(["ce-type", "a.thing"]),
        json!(["ce-subject", "Euro €%"]),
    ] {
        assert!(headers.contains(&header), "{header} in {headers:?}");
    }
    refused(request("0.3"), "invalid_request").await;
    let lacking = stage
        .post("/v1/messages/a", "x")
        .header("ce-specversion", "1.0");
    refused(lacking, "invalid_request").await;
}

#[tokio::test]
async fn a_cloud_event_in_structured_mode_is_taken_apart() {
    let stage = Stage::open().await;
    let event = |more: &str| {
        let event = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","n":5,"ok":true{more}}}"#
        );
        stage.post("/v1/messages/a", event).header(
            "content-type",
            "application/cloudevents+json; charset=utf-8",
        )
    };
    for (more, content_type, payload) in [
        (
            r#","data":{"x":  1.50}"#,
            json!("application/json"),
            r#"{"x":  1.50}"#,
        ),
        (
            r#","datacontenttype":"text/plain","data":"hi\n""#,
            json!("text/plain"),
            "hi\n",
        ),
        (
            r#","datacontenttype":"application/json","data":"hi""#,
            json!("application/json"),
            r#""hi""#,
        ),
        (
            r#","datacontenttype":"image/png","data_base64":"AAEC""#,
            json!("image/png"),
            "\0\u{1}\u{2}",
        ),
        ("", json!("application/json"), ""),
    ] {
        let result = expect(event(more), StatusCode::CREATED).await;
        let page = expect(stage.get("/v1/messages/a?from=last:1"), StatusCode::OK).await;
        let record = &page["records"][0];
        assert_eq!(record["cursor"], result["cursor"]);
        assert_eq!(record["content_type"], content_type, "{more}");
        let got = match &record["data_base64"] {
            Value::String(encoded) => STANDARD.decode(encoded).unwrap(),
            _ => record["data"].as_str().unwrap().as_bytes().to_vec(),
        };
        assert_eq!(got, payload.as_bytes(), "{more}");
        let headers = record["headers"].as_array().unwrap();
        assert!(
            headers.contains(&json!(["ce-n", "5"])) && headers.contains(&json!(["ce-ok", "true"]))
        );
    }
    for bad in [
        r#","data":1,"data_base64":"AAEC""#,
        r#","data_base64":"?""#,
        r#","nested":{}"#,
        r#","Upper":"x""#,
        r#","#,
    ] {
        refused(event(bad), "invalid_request").await;
    }
}

#[tokio::test]
async fn a_batch_is_published_in_order() {
    let stage = Stage::with(3, Default::default(), None).await;
    let batch = json!({"messages": [
        {"topic": "a/1", "data": "one"},
        {"topic": "a/2", "data": {"two": 2}},
        {"topic": "a/3", "data_base64": "AAEC", "content_type": "image/png"},
        {"topic": "a/1", "data": "four", "headers": [["h", "v"]], "key": "k", "ttl_ms": 5000},
        {"topic": "a/1", "data": "four", "idempotency_key": "x"},
        {"topic": "a/1", "data": "four", "idempotency_key": "x"},
    ]});
    let answer = expect(
        stage.post("/v1/messages", batch.to_string()),
        StatusCode::CREATED,
    )
    .await;
    let results = answer["results"].as_array().unwrap();
    let places: Vec<_> = results
        .iter()
        .map(|r| (r["topic"].as_str().unwrap(), r["offset"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        places,
        [
            ("a/1", 0),
            ("a/2", 0),
            ("a/3", 0),
            ("a/1", 1),
            ("a/1", 2),
            ("a/1", 2)
        ]
    );
    assert_eq!(results[5]["duplicate"], true);
    let record = only_record(&stage, "a/2").await;
    assert_eq!(
        (&record["data"], &record["content_type"]),
        (&json!(r#"{"two":2}"#), &json!("application/json"))
    );
    assert_eq!(only_record(&stage, "a/3").await["data_base64"], "AAEC");
}

#[tokio::test]
async fn a_batch_with_one_bad_message_writes_nothing() {
    let stage = Stage::open().await;
    let many = vec![json!({"topic": "a"}); 1_001];
    for (messages, code) in [
        (
            json!([{"topic": "a", "data": "x"}, {"topic": "a/+"}]),
            "invalid_topic",
        ),
        (
            json!([{"topic": "a"}, {"topic": "a", "ttl": 5}]),
            "invalid_request",
        ),
        (
            json!([{"topic": "a"}, {"topic": "a", "data": "x", "data_base64": "eA=="}]),
            "invalid_request",
        ),
        (
            json!([{"topic": "a"}, {"topic": "a", "data_base64": "?"}]),
            "invalid_request",
        ),
        (
            json!([{"topic": "a"}, {"topic": "a", "if_cursor": "any"}]),
            "invalid_request",
        ),
        (
            json!([{"topic": "a"}, {"topic": "b", "if_cursor": "forged"}]),
            "cursor_invalid",
        ),
        (json!([]), "invalid_request"),
        (json!(many), "invalid_request"),
    ] {
        let body = json!({ "messages": messages });
        refused(stage.post("/v1/messages", body.to_string()), code).await;
    }
    refused(
        stage.post("/v1/messages", r#"{"messages": [], "x": 1}"#),
        "invalid_request",
    )
    .await;
    refused(stage.post("/v1/messages", "not json"), "invalid_request").await;
    refused(
        stage.post("/v1/messages", vec![b' '; (4 << 20) + 1]),
        "payload_too_large",
    )
    .await;
    assert_nothing_was_written(&stage).await;
}

#[tokio::test]
async fn a_batch_waits_no_longer_for_many_shards_than_for_one() {
    const SHARDS: u32 = 8;
    let options = Options {
        publish_timeout: Duration::from_secs(1),
        ..Options::default()
    };
    let stage = Stage::with(SHARDS, options, None).await;
    for shard in &stage.shards {
        shard.hold(true);
    }
    let lies_in = |topic: &String, shard| {
        let topic = TopicName::try_from(topic.as_str()).unwrap();
        stage.project.shard_of(&topic) == ShardId(shard)
    };
    let topics = (0..SHARDS).map(|shard| {
        let mut topics = (0..).map(|number| format!("a/{number}"));
        topics.find(|topic| lies_in(topic, shard)).unwrap()
    });
    let messages: Vec<Value> = topics
        .map(|topic| json!({"topic": topic, "data": "x"}))
        .collect();
    let batch = json!({ "messages": messages }).to_string();
    let began = Instant::now();
    let problem = refused(stage.post("/v1/messages", batch), "unavailable").await;
    assert_eq!(
        problem["results"].as_array().unwrap().len(),
        SHARDS as usize
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}
