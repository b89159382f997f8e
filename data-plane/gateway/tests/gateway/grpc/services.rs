//! Health, reflection, gRPC-web, and what does not exist.

use highwater_proto::client::{PublishRequest, PublishResult, ReadRequest};
use prost::Message;
use reqwest::{Method, RequestBuilder};
use tokio_stream::{StreamExt, once};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{assert_refused, calls::publish};
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

#[tokio::test]
async fn reflection_lists_the_services() {
    let stage = Stage::open().await;
    macro_rules! services {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
            };
            let mut client = ServerReflectionClient::new(channel(&stage).await);
            let request = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let responses = within(client.server_reflection_info(once(request)))
                .await
                .unwrap();
            let response = within(responses.into_inner().next())
                .await
                .unwrap()
                .unwrap();
            match response.message_response.unwrap() {
                MessageResponse::ListServicesResponse(list) => {
                    list.service.into_iter().map(|s| s.name).collect::<Vec<_>>()
                }
                other => panic!("{other:?}"),
            }
        }};
    }
    for services in [services!(v1), services!(v1alpha)] {
        for name in ["highwater.client.v1.Highwater", "grpc.health.v1.Health"] {
            assert!(services.iter().any(|s| s == name), "{name} in {services:?}");
        }
    }
}

/// The frames of a gRPC-web body: flags, length and content of each (gRPC-web, "Protocol differences").
fn frames(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = body.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        frames.push((head[0], rest[..length].to_vec()));
        body = &rest[length..];
    }
    frames
}

/// A unary call as a browser makes it.
fn web_call(stage: &Stage, method: &str, request: &impl Message) -> RequestBuilder {
    let message = request.encode_to_vec();
    let mut body = vec![0];
    body.extend((message.len() as u32).to_be_bytes());
    body.extend(message);
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
