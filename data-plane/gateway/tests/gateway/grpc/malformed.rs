//! Requests that cannot be read: unary calls and streams say the same of them.

use futures_util::stream;
use highwater_proto::{
    client::{PublishStreamRequest, SubscribeRequest, subscribe_request},
    limits::{PUBLIC_REQUEST_BYTES_MAX, REQUEST_BYTES_MAX, REQUEST_FIELDS_MAX},
};
use prost::Message;
use tonic::{Code, codec::CompressionEncoding};

use super::{
    assert_refused,
    calls::publish,
    raw::{Raw, message, prefix, status},
};
use crate::stage::{Stage, within};

const METHODS: [&str; 5] = ["Publish", "Read", "GetTopic", "PublishStream", "Subscribe"];

type Headers = &'static [(&'static str, &'static str)];

#[tokio::test]
async fn a_request_that_cannot_be_read_is_refused_from_the_error_table() {
    let stage = Stage::open().await;
    let raw = Raw::connect(&stage).await;
    let whole = message(0, &publish("a", "x").encode_to_vec());
    // Field 2, empty, again and again.
    let many = [0x12, 0].repeat(REQUEST_FIELDS_MAX + 1);
    let gzip: Headers = &[("grpc-encoding", "gzip")];
    let cases: [(&str, Headers, Vec<u8>, &str); 8] = [
        (
            "no protobuf",
            &[],
            message(0, &[0xff; 10]),
            "invalid_request",
        ),
        (
            "no text",
            &[],
            message(0, b"\x0a\x01\xff"),
            "invalid_request",
        ),
        (
            "cut off",
            &[],
            whole[..whole.len() - 1].into(),
            "invalid_request",
        ),
        ("unknown flag", &[], message(7, b""), "invalid_request"),
        (
            "compressed somehow",
            &[],
            message(1, b"x"),
            "invalid_request",
        ),
        ("no gzip", gzip, message(1, b"nothing"), "invalid_request"),
        (
            "too large",
            &[],
            prefix(0, REQUEST_BYTES_MAX + 1),
            "payload_too_large",
        ),
        (
            "too many fields",
            &[],
            message(0, &many),
            "payload_too_large",
        ),
    ];
    for method in METHODS {
        for (what, headers, body, code) in &cases {
            let status = raw.call(method, headers, body).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{method}, {what}");
            assert_refused(&status, Code::InvalidArgument, code);
        }
        let brotli = [("grpc-encoding", "br")];
        let status = raw.call(method, &brotli, &message(1, b"x")).await;
        assert_refused(&status, Code::Unimplemented, "unsupported");
        if method != "PublishStream" {
            let status = raw.call(method, &[], b"").await;
            assert_refused(&status, Code::InvalidArgument, "invalid_request");
        }
    }
    let status = raw.call("Nothing", &[], &whole).await;
    assert_refused(&status, Code::Unimplemented, "unsupported");
}

#[tokio::test]
async fn a_request_that_unfolds_is_refused_from_the_error_table() {
    let stage = Stage::open().await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = stage.grpc().await.send_compressed(encoding);
        let large = || publish("a", &"x".repeat(16 << 20));
        let unary = within(client.publish(stage.call(large()))).await;
        let frames = stream::iter([PublishStreamRequest {
            publishes: vec![large()],
        }]);
        let publishing = within(client.publish_stream(stage.call(frames))).await;
        let publishing = within(publishing.unwrap().into_inner().message()).await;
        let start = subscribe_request::Start {
            topics: vec!["x".repeat(16 << 20)],
            ..Default::default()
        };
        let start = SubscribeRequest {
            request: Some(subscribe_request::Request::Start(start)),
        };
        let subscribing = client.subscribe(stage.call(stream::iter([start])));
        let mut deliveries = within(subscribing).await.unwrap().into_inner();
        for status in [
            unary.unwrap_err(),
            publishing.unwrap_err(),
            within(deliveries.message()).await.unwrap_err(),
        ] {
            assert_refused(&status, Code::InvalidArgument, "payload_too_large");
        }
        within(client.publish(stage.call(publish("a", "x"))))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn services_without_a_credential_take_small_requests_only() {
    let stage = Stage::open().await;
    let raw = Raw::connect(&stage).await;
    let body = prefix(0, PUBLIC_REQUEST_BYTES_MAX + 1);
    let health = "/grpc.health.v1.Health/Check";
    let (response, _sender) = raw.begin(health, &[], body.clone(), false).await;
    let refused = status(response).await;
    assert_refused(&refused, Code::InvalidArgument, "payload_too_large");
    // Another's service: it ends the stream and gives no reason.
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let (response, _sender) = raw.begin(reflection, &[], body, false).await;
    assert_eq!(status(response).await.code(), Code::Ok);
}
