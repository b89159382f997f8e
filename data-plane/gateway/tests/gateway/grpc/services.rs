//! Health, reflection, gRPC-web, and what does not exist.

use highwater_proto::client::{
    PublishRequest, PublishResult, PublishStreamRequest, PublishStreamResponse, ReadRequest,
    SubscribeRequest, SubscribeResponse,
    publish_outcome::Outcome,
    subscribe_request::{self, Start},
};
use prost::Message;
use reqwest::{Method, RequestBuilder};
use tokio_stream::{StreamExt, once};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{assert_refused, calls::publish, raw};
use crate::stage::{Stage, within};

async fn channel(stage: &Stage) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", stage.address)).unwrap();
    within(endpoint.connect()).await.unwrap()
}

fn check(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn the_health_service_says_whether_requests_are_taken() {
    let stage = Stage::open().await;
    let mut health = HealthClient::new(channel(&stage).await);
    for service in ["", "highwater.client.v1.Highwater"] {
        for (ready, expected) in [
            (true, ServingStatus::Serving),
            (false, ServingStatus::NotServing),
            (true, ServingStatus::Serving),
        ] {
            stage.gateway.set_ready(ready).await;
            let response = within(health.check(check(service))).await.unwrap();
            assert_eq!(response.into_inner().status(), expected);
        }
    }
    let unknown = within(health.check(check("nothing"))).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn a_watch_of_the_health_sees_the_end_and_does_not_delay_it() {
    let mut stage = Stage::open().await;
    let mut health = HealthClient::new(channel(&stage).await);
    let mut watch = within(health.watch(check(""))).await.unwrap().into_inner();
    let first = within(watch.message()).await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    let watching = async {
        let second = within(watch.message()).await.unwrap().unwrap();
        assert_eq!(second.status(), ServingStatus::NotServing);
        let end = within(watch.message()).await.unwrap_err();
        assert_eq!(end.code(), Code::Unavailable);
    };
    tokio::join!(watching, stage.stopped());
}

/// Asks the reflection service of a version.
macro_rules! reflect {
    ($stage:expr, $version:ident, $request:ident($text:expr)) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let mut client = ServerReflectionClient::new(channel($stage).await);
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::$request($text.to_owned())),
        };
        let responses = within(client.server_reflection_info(once(request)))
            .await
            .unwrap();
        let response = within(responses.into_inner().next()).await.unwrap();
        response.map(|response| match response.message_response.unwrap() {
            MessageResponse::ListServicesResponse(list) => {
                let names = list.service.into_iter().map(|s| s.name.into_bytes());
                names.collect::<Vec<_>>()
            }
            MessageResponse::FileDescriptorResponse(files) => {
                let bytes = files.file_descriptor_proto.into_iter();
                bytes.map(|bytes| bytes.to_vec()).collect()
            }
            other => panic!("{other:?}"),
        })
    }};
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let stage = Stage::open().await;
    for services in [
        reflect!(&stage, v1, ListServices("")),
        reflect!(&stage, v1alpha, ListServices("")),
    ] {
        let services = services.unwrap();
        for name in ["highwater.client.v1.Highwater", "grpc.health.v1.Health"] {
            let listed = services.iter().any(|s| s == name.as_bytes());
            assert!(listed, "{name} in {services:?}");
        }
    }
}

#[tokio::test]
async fn reflection_describes_a_symbol() {
    let stage = Stage::open().await;
    for symbol in [
        "highwater.client.v1.Highwater",
        "highwater.client.v1.Highwater.PublishStream",
        "highwater.client.v1.Record",
    ] {
        for files in [
            reflect!(&stage, v1, FileContainingSymbol(symbol)),
            reflect!(&stage, v1alpha, FileContainingSymbol(symbol)),
        ] {
            let files = files.unwrap();
            let text = String::from_utf8_lossy(&files[0]);
            assert!(text.contains("client/v1/highwater.proto"), "{symbol}");
            assert!(text.contains("published_at_ms"), "{symbol}");
        }
    }
    let unknown = reflect!(&stage, v1, FileContainingSymbol("no.such.Symbol"));
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}

/// The whole frames of a gRPC-web body: flags and content (gRPC-web, "Protocol differences").
fn frames(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = body.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let Some((content, rest)) = rest.split_at_checked(length) else {
            break;
        };
        frames.push((head[0], content.to_vec()));
        body = rest;
    }
    frames
}

/// A unary call as a browser makes it.
fn web_call(stage: &Stage, method: &str, request: &impl Message) -> RequestBuilder {
    web_stream(stage, method, raw::message(0, &request.encode_to_vec()))
}

/// A call of any kind as a browser makes it.
fn web_stream(stage: &Stage, method: &str, body: Vec<u8>) -> RequestBuilder {
    let path = format!("/highwater.client.v1.Highwater/{method}");
    stage
        .request(Method::POST, &path)
        .header("content-type", "application/grpc-web+proto")
        .body(body)
}

#[tokio::test]
async fn a_browser_publishes_with_grpc_web_on_http_1() {
    let stage = Stage::open().await;
    let call = |topic| web_call(&stage, "Publish", &publish(topic, "x"));
    let response = within(call("a").send()).await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_11);
    let body = within(response.bytes()).await.unwrap();
    let [(0, message), (0x80, trailers)] = &frames(&body)[..] else {
        panic!("a message and trailers");
    };
    assert_eq!(PublishResult::decode(&message[..]).unwrap().topic, "a");
    assert!(String::from_utf8_lossy(trailers).contains("grpc-status:0"));
    let refused = within(call("a/+").send()).await.unwrap();
    assert_eq!(refused.headers()["grpc-status"], "3");
}

/// The body of a request that holds these messages.
fn web_body(messages: &[impl Message]) -> Vec<u8> {
    let frame = |request: &_| raw::message(0, &Message::encode_to_vec(request));
    messages.iter().flat_map(frame).collect()
}

#[tokio::test]
async fn a_browser_publishes_a_stream_of_messages() {
    let stage = Stage::open().await;
    let requests = ["x", "y"].map(|payload| PublishStreamRequest {
        publishes: vec![publish("a", payload), publish("a/+", payload)],
    });
    let body = web_body(&requests);
    let response = within(web_stream(&stage, "PublishStream", body).send()).await;
    let body = within(response.unwrap().bytes()).await.unwrap();
    let frames = frames(&body);
    let ((last, trailers), responses) = frames.split_last().unwrap();
    assert_eq!(*last, 0x80);
    assert!(String::from_utf8_lossy(trailers).contains("grpc-status:0"));
    let outcomes = responses.iter().flat_map(|(flag, bytes)| {
        assert_eq!(*flag, 0);
        let response = PublishStreamResponse::decode(&bytes[..]).unwrap();
        response.outcomes.into_iter().map(|o| o.outcome.unwrap())
    });
    let offset = |outcome| match outcome {
        Outcome::Result(result) => Ok(result.offset),
        Outcome::Error(error) => Err(error.code),
    };
    let invalid = || Err("invalid_topic".to_owned());
    let outcomes: Vec<_> = outcomes.map(offset).collect();
    assert_eq!(outcomes, [Ok(0), invalid(), Ok(1), invalid()]);
}

#[tokio::test]
async fn a_browser_subscribes_and_is_sent_records_as_they_come() {
    let stage = Stage::open().await;
    let start = Start {
        topics: vec!["a".into()],
        ..Start::default()
    };
    let request = SubscribeRequest {
        request: Some(subscribe_request::Request::Start(start)),
    };
    // A browser has sent all it will ever say before it sees the first response.
    let call = web_stream(&stage, "Subscribe", web_body(&[request]));
    let mut response = within(call.send()).await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_11);
    let mut body = Vec::new();
    let mut next = async |seen: usize| {
        while frames(&body).len() <= seen {
            body.extend(within(response.chunk()).await.unwrap().unwrap());
        }
        let (flag, bytes) = frames(&body).swap_remove(seen);
        assert_eq!(flag, 0);
        SubscribeResponse::decode(&bytes[..]).unwrap()
    };
    assert!(next(0).await.subscribed.is_some());
    for (number, payload) in ["x", "y"].into_iter().enumerate() {
        stage.publish("a", payload).await;
        assert_eq!(next(1 + number).await.records[0].payload, payload);
    }
    // It goes away without a word.
    drop(response);
    stage.followed(false).await;
}

#[tokio::test]
async fn a_browser_is_told_the_reason_of_a_refusal() {
    let stage = Stage::open().await;
    let body = raw::message(0, &[0xff; 10]);
    let response = within(web_stream(&stage, "Publish", body).send()).await;
    let status = Status::from_header_map(response.unwrap().headers()).unwrap();
    assert_refused(&status, Code::InvalidArgument, "invalid_request");
}

#[tokio::test]
async fn a_deadline_is_honoured() {
    let stage = Stage::open().await;
    stage.shards[0].hold(true);
    let waiting = ReadRequest {
        topics: vec!["a".into()],
        wait_ms: 60_000,
        ..ReadRequest::default()
    };
    for call in [
        web_call(&stage, "Publish", &publish("a", "x")),
        web_call(&stage, "Read", &waiting),
    ] {
        let response = within(call.header("grpc-timeout", "50m").send())
            .await
            .unwrap();
        assert_eq!(response.headers()["grpc-status"], "4");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_unimplemented() {
    let stage = Stage::open().await;
    for path in [
        "/highwater.client.v1.Highwater/Nothing",
        "/no.such.Service/Call",
    ] {
        let mut grpc = tonic::client::Grpc::new(channel(&stage).await);
        within(grpc.ready()).await.unwrap();
        let codec = tonic_prost::ProstCodec::<PublishRequest, PublishResult>::default();
        let path = path.parse().unwrap();
        let status = within(grpc.unary(stage.call(publish("a", "x")), path, codec))
            .await
            .unwrap_err();
        assert_refused(&status, Code::Unimplemented, "unsupported");
    }
}
