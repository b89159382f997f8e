//! The unary calls.

use std::time::{Duration, Instant};

use bytes::Bytes;
use highwater_broker::Refusal;
use highwater_proto::{
    ErrorCode,
    client::{GetTopicRequest, Header, Message, PublishRequest, ReadRequest, Record},
};
use reqwest::StatusCode;
use tonic::{Code, Request, codec::CompressionEncoding};
use tonic_types::StatusExt;

use super::assert_refused;
use crate::stage::{Stage, expect, with_key, within};

pub fn publish(topic: &str, payload: &str) -> PublishRequest {
    PublishRequest {
        topic: topic.to_owned(),
        message: Some(Message {
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            ..Message::default()
        }),
        ..PublishRequest::default()
    }
}

fn read(topic: &str, from: &str) -> ReadRequest {
    ReadRequest {
        topics: vec![topic.to_owned()],
        from: from.to_owned(),
        ..ReadRequest::default()
    }
}

#[tokio::test]
async fn a_publish_is_answered_with_its_place_and_read_back_as_it_was() {
    let stage = Stage::open().await;
    let mut client = stage.grpc().await;
    let header = |name: &str, value: &str| Header {
        name: name.into(),
        value: value.into(),
    };
    let message = Message {
        payload: Bytes::from_static(b"\0payload"),
        content_type: "application/octet-stream".into(),
        headers: vec![header("B", "1"), header("a", ""), header("B", "2")],
        key: "k".into(),
        ttl_ms: 60_000,
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        ..Message::default()
    };
    let request = PublishRequest {
        message: Some(message.clone()),
        ..publish("a/b", "")
    };
    let result = within(client.publish(stage.call(request)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (result.topic.as_str(), result.offset, result.duplicate),
        ("a/b", 0, false)
    );
    let page = within(client.read(stage.call(read("a/b", ""))))
        .await
        .unwrap()
        .into_inner();
    let expected = Record {
        payload: message.payload,
        content_type: message.content_type,
        headers: message.headers,
        key: message.key,
        ttl_ms: message.ttl_ms,
        traceparent: message.traceparent,
        topic: "a/b".into(),
        offset: 0,
        published_at_ms: 1_000_000,
        cursor: result.cursor.clone(),
        ..Record::default()
    };
    assert_eq!(page.records, [expected]);
    assert_eq!(page.next, result.cursor);
}

#[tokio::test]
async fn a_cursor_of_one_protocol_is_valid_on_the_other() {
    let stage = Stage::open().await;
    let mut client = stage.grpc().await;
    let first = stage.publish("a", "1").await;
    let second = within(client.publish(stage.call(publish("a", "2"))))
        .await
        .unwrap()
        .into_inner();
    stage.publish("a", "3").await;
    let from = format!("cursor:{}", first["cursor"].as_str().unwrap());
    let page = within(client.read(stage.call(read("a", &from))))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page.records[0].payload, "2");
    assert_eq!(page.records[0].cursor, second.cursor);
    let path = format!("/v1/messages/a?from=cursor:{}", second.cursor);
    let page = expect(stage.get(&path), StatusCode::OK).await;
    assert_eq!(page["records"][0]["offset"], 2);
}

#[tokio::test]
async fn refusals_carry_the_canonical_code_and_the_reason() {
    let stage = Stage::open().await;
    let mut client = stage.grpc().await;
    let large = "x".repeat((1 << 20) + 1);
    let conditional = |cursor: &str| PublishRequest {
        if_cursor: cursor.into(),
        ..publish("a", "x")
    };
    let first = within(client.publish(stage.call(publish("a", "x"))))
        .await
        .unwrap()
        .into_inner();
    within(client.publish(stage.call(publish("a", "x"))))
        .await
        .unwrap();
    for (request, grpc_code, code) in [
        (publish("a/+", "x"), Code::InvalidArgument, "invalid_topic"),
        (publish("$SYS", "x"), Code::InvalidArgument, "invalid_topic"),
        (publish("", "x"), Code::InvalidArgument, "invalid_topic"),
        (publish("made/up", "x"), Code::NotFound, "not_found"),
        (
            publish("a", &large),
            Code::InvalidArgument,
            "payload_too_large",
        ),
        (
            PublishRequest {
                message: None,
                ..publish("a", "")
            },
            Code::InvalidArgument,
            "invalid_request",
        ),
        (
            conditional("forged"),
            Code::InvalidArgument,
            "cursor_invalid",
        ),
        (
            conditional(&first.cursor),
            Code::FailedPrecondition,
            "precondition_failed",
        ),
    ] {
        let status = within(client.publish(stage.call(request)))
            .await
            .unwrap_err();
        assert_refused(&status, grpc_code, code);
    }
    let status = within(client.publish(Request::new(publish("a", "x"))))
        .await
        .unwrap_err();
    assert_refused(&status, Code::Unauthenticated, "unauthenticated");
    let request = with_key(publish("b", "x"), &stage.narrow_key);
    let status = within(client.publish(request)).await.unwrap_err();
    assert_refused(&status, Code::PermissionDenied, "forbidden");
}

#[tokio::test]
async fn a_full_shard_says_when_to_retry() {
    let stage = Stage::open().await;
    let mut client = stage.grpc().await;
    let refusal = Refusal::new(ErrorCode::Overloaded, "the queue is full").retry_after_ms(250);
    stage.shards[0].refuse(Some(refusal));
    let status = within(client.publish(stage.call(publish("a", "x"))))
        .await
        .unwrap_err();
    assert_refused(&status, Code::ResourceExhausted, "overloaded");
    let retry = status.get_details_retry_info().unwrap();
    assert_eq!(retry.retry_delay, Some(Duration::from_millis(250)));
}

#[tokio::test]
async fn a_read_waits_for_a_record_as_long_as_it_is_told_to() {
    let stage = Stage::open().await;
    let mut client = stage.grpc().await;
    let began = Instant::now();
    let request = ReadRequest {
        wait_ms: 50,
        ..read("a", "latest")
    };
    let page = within(client.read(stage.call(request)))
        .await
        .unwrap()
        .into_inner();
    assert!(page.records.is_empty() && began.elapsed() >= Duration::from_millis(50));
    let from = format!("cursor:{}", page.next);
    let request = ReadRequest {
        wait_ms: 20_000,
        ..read("a", &from)
    };
    let mut other = client.clone();
    let (page, published) = tokio::join!(
        within(client.read(stage.call(request))),
        within(other.publish(stage.call(publish("a", "x")))),
    );
    assert_eq!(
        page.unwrap().into_inner().next,
        published.unwrap().into_inner().cursor
    );
}

#[tokio::test]
async fn a_waiting_read_ends_when_its_key_is_revoked() {
    let stage = Stage::open().await;
    let mut client = stage.grpc().await;
    let request = ReadRequest {
        wait_ms: 60_000,
        ..read("a", "latest")
    };
    let revoking = async {
        stage.followed(true).await;
        stage.revoke_keys();
    };
    let (read, ()) = tokio::join!(within(client.read(stage.call(request))), revoking);
    assert_refused(&read.unwrap_err(), Code::Unauthenticated, "unauthenticated");
}

#[tokio::test]
async fn a_call_that_is_cancelled_is_given_up_on_the_server() {
    let stage = Stage::open().await;
    let mut client = stage.grpc().await;
    let request = ReadRequest {
        wait_ms: 60_000,
        ..read("a", "latest")
    };
    tokio::select! {
        page = client.read(stage.call(request)) => panic!("{page:?}"),
        () = stage.followed(true) => {}
    }
    stage.followed(false).await;
    within(client.publish(stage.call(publish("a", "x"))))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_page_of_records_larger_than_one_response_is_cut() {
    let stage = Stage::open().await;
    let mut client = stage.grpc().await;
    let large = "x".repeat(600_000);
    for _ in 0..4 {
        within(client.publish(stage.call(publish("a", &large))))
            .await
            .unwrap();
    }
    let (mut from, mut offsets) = ("earliest".to_owned(), Vec::new());
    loop {
        let page = within(client.read(stage.call(read("a", &from))))
            .await
            .unwrap()
            .into_inner();
        if page.records.is_empty() {
            break;
        }
        assert!(page.records.len() < 4);
        offsets.extend(page.records.iter().map(|r| r.offset));
        from = format!("cursor:{}", page.next);
    }
    assert_eq!(offsets, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_topic_is_described() {
    let stage = Stage::open().await;
    let mut client = stage.grpc().await;
    let result = stage.publish("a", "x").await;
    let get = |topic: &str| {
        stage.call(GetTopicRequest {
            topic: topic.into(),
        })
    };
    let topic = within(client.get_topic(get("a")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((topic.first_offset, topic.next_offset), (0, 1));
    assert_eq!(topic.cursor, result["cursor"].as_str().unwrap());
    let status = within(client.get_topic(get("b"))).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "not_found");
}

#[tokio::test]
async fn messages_may_be_compressed() {
    let stage = Stage::open().await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let client = stage.grpc().await;
        let mut client = client.send_compressed(encoding).accept_compressed(encoding);
        let text = "x".repeat(10_000);
        within(client.publish(stage.call(publish("a", &text))))
            .await
            .unwrap();
        let page = within(client.read(stage.call(read("a", "last:1"))))
            .await
            .unwrap();
        assert!(page.metadata().contains_key("grpc-encoding"));
        assert_eq!(page.into_inner().records[0].payload, text);
    }
}

#[tokio::test]
async fn a_request_that_is_too_large_after_decompression_is_refused() {
    let stage = Stage::open().await;
    let mut client = stage
        .grpc()
        .await
        .send_compressed(CompressionEncoding::Zstd);
    let request = publish("a", &"x".repeat(64 << 20));
    let status = within(client.publish(stage.call(request)))
        .await
        .unwrap_err();
    assert_refused(&status, Code::InvalidArgument, "payload_too_large");
    within(client.publish(stage.call(publish("a", "x"))))
        .await
        .unwrap();
}
