//! What a message carries comes out of every protocol as it went into any other.

use bytes::Bytes;
use highwater_proto::{
    ErrorCode,
    client::{Message, PublishRequest, ReadRequest, Record},
    limits::{CORRELATION_BYTES_MAX, HEADERS_BYTES_MAX},
};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::{
    grpc::assert_refused,
    sse::events::Events,
    stage::{Stage, expect, refused, within},
    websocket::peer::Peer,
};

const CORRELATION: &[u8] = b"\0which\xff";
const CORRELATION_BASE64: &str = "AHdoaWNo/w==";

/// What all of them carry, in gRPC's words.
fn message() -> Message {
    Message {
        payload: Bytes::from_static(b"text"),
        content_type: "text/x-thing".into(),
        retain: true,
        reply_to: "answers/7".into(),
        correlation: Bytes::from_static(CORRELATION),
        is_text: true,
        ..Message::default()
    }
}

/// The same in JSON.
fn body(topic: &str) -> Value {
    json!({
        "topic": topic, "data": "text", "content_type": "text/x-thing", "retain": true,
        "reply_to": "answers/7", "correlation_base64": CORRELATION_BASE64, "is_text": true,
    })
}

fn with_headers(request: RequestBuilder) -> RequestBuilder {
    request
        .header("content-type", "text/x-thing")
        .header("highwater-retain", "true")
        .header("highwater-reply-to", "answers/7")
        .header("highwater-correlation", CORRELATION_BASE64)
        .header("highwater-payload-format", "text")
}

fn publish(topic: &str, message: Message) -> PublishRequest {
    PublishRequest {
        topic: topic.into(),
        message: Some(message),
        ..PublishRequest::default()
    }
}

async fn read(stage: &Stage, topic: &str) -> Record {
    let request = ReadRequest {
        topics: vec![topic.into()],
        ..ReadRequest::default()
    };
    let page = within(stage.grpc().await.read(stage.call(request))).await;
    page.unwrap().into_inner().records.remove(0)
}

#[tokio::test]
async fn every_field_goes_in_and_out_on_every_protocol() {
    let stage = Stage::open().await;
    let request = with_headers(stage.post("/v1/messages/a/http", "text"));
    expect(request, StatusCode::CREATED).await;
    let batch = json!({"messages": [body("a/batch")]}).to_string();
    expect(stage.post("/v1/messages", batch), StatusCode::CREATED).await;
    let mut peer = Peer::open(&stage).await;
    let mut frame = body("a/socket");
    frame["type"] = "publish".into();
    assert_eq!(peer.ask(frame).await["type"], "published");
    let mut client = stage.grpc().await;
    let call = stage.call(publish("a/grpc", message()));
    within(client.publish(call)).await.unwrap();

    for topic in ["a/http", "a/batch", "a/socket", "a/grpc"] {
        let record = read(&stage, topic).await;
        let expected = Record {
            topic: topic.into(),
            payload: message().payload,
            content_type: message().content_type,
            retain: true,
            reply_to: message().reply_to,
            correlation: message().correlation,
            is_text: true,
            published_at_ms: record.published_at_ms,
            cursor: record.cursor.clone(),
            ..Record::default()
        };
        assert_eq!(record, expected);

        let mut expected = body(topic);
        for (name, value) in [
            ("offset", json!(0)),
            ("cursor", record.cursor.into()),
            ("published_at_ms", record.published_at_ms.into()),
        ] {
            expected[name] = value;
        }
        let page = expect(stage.get(&format!("/v1/messages/{topic}")), StatusCode::OK).await;
        assert_eq!(page["records"], json!([expected]));
        let mut events = Events::open(&stage, &format!("topic={topic}&from=earliest")).await;
        assert_eq!(events.next().await.unwrap().json(), expected);
        peer.subscribe(topic, &[topic], "earliest").await;
        assert_eq!(peer.records(topic, 1).await, [expected]);
    }
}

#[tokio::test]
async fn a_field_that_was_not_given_is_not_shown() {
    let stage = Stage::open().await;
    let request = stage.post("/v1/messages/a", "x");
    let request = request
        .header("highwater-retain", "false")
        .header("highwater-payload-format", "bytes");
    expect(request, StatusCode::CREATED).await;
    let page = expect(stage.get("/v1/messages/a"), StatusCode::OK).await;
    let record = page["records"][0].as_object().unwrap();
    let names: Vec<&str> = record.keys().map(String::as_str).collect();
    let expected = [
        "topic",
        "offset",
        "cursor",
        "published_at_ms",
        "data_base64",
    ];
    assert!(
        names.len() == 5 && expected.iter().all(|n| names.contains(n)),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_payload_that_is_said_to_be_text_is_shown_as_text() {
    let stage = Stage::open().await;
    for (payload, is_text) in [("hello".as_bytes(), true), (b"\xff", false)] {
        let request = stage.post("/v1/messages/a", payload);
        let request = request.header("highwater-payload-format", "text");
        expect(request, StatusCode::CREATED).await;
        let page = expect(stage.get("/v1/messages/a?from=last:1"), StatusCode::OK).await;
        assert_eq!(page["records"][0]["data"].is_string(), is_text);
    }
}

#[tokio::test]
async fn only_mqtt_says_who_published_and_with_which_qos() {
    let stage = Stage::open().await;
    let told = Message {
        origin: Bytes::from_static(b"somebody else"),
        qos_plus_one: 3,
        ..message()
    };
    let mut client = stage.grpc().await;
    within(client.publish(stage.call(publish("a", told))))
        .await
        .unwrap();
    let record = read(&stage, "a").await;
    assert_eq!((record.origin, record.qos_plus_one), (Bytes::new(), 0));
    for name in ["origin", "qos_plus_one"] {
        let mut unknown = body("a");
        unknown[name] = "x".into();
        let batch = json!({"messages": [unknown]}).to_string();
        refused(stage.post("/v1/messages", batch), "invalid_request").await;
    }
}

#[tokio::test]
async fn what_a_field_cannot_be_is_refused() {
    let stage = Stage::open().await;
    let mut client = stage.grpc().await;
    let long = vec![0; CORRELATION_BYTES_MAX];
    let one_header = |bytes| highwater_proto::client::Header {
        name: "n".into(),
        value: "v".repeat(bytes),
    };
    let full = Message {
        correlation: long.clone().into(),
        headers: vec![one_header(HEADERS_BYTES_MAX - CORRELATION_BYTES_MAX - 1)],
        ..message()
    };
    let call = stage.call(publish("a", full.clone()));
    within(client.publish(call)).await.unwrap();
    for (message, code) in [
        (
            Message {
                correlation: [&long[..], b"x"].concat().into(),
                ..message()
            },
            ErrorCode::HeadersTooLarge,
        ),
        (
            Message {
                headers: vec![one_header(HEADERS_BYTES_MAX - CORRELATION_BYTES_MAX)],
                ..full
            },
            ErrorCode::HeadersTooLarge,
        ),
        (
            Message {
                reply_to: "answers/#".into(),
                ..message()
            },
            ErrorCode::InvalidRequest,
        ),
    ] {
        let refusal = within(client.publish(stage.call(publish("a", message)))).await;
        assert_refused(&refusal.unwrap_err(), code.grpc_code().into(), code.name());
    }
    for (name, value) in [
        ("highwater-retain", "yes"),
        ("highwater-reply-to", "a/+"),
        ("highwater-correlation", "no base64!"),
        ("highwater-payload-format", "utf8"),
        ("highwater-reply", "a"),
    ] {
        let request = stage.post("/v1/messages/a", "x").header(name, value);
        refused(request, "invalid_request").await;
    }
    let request = stage.post("/v1/messages/a", "x");
    let request = request
        .header("highwater-retain", "true")
        .header("highwater-retain", "true");
    refused(request, "invalid_request").await;
}
