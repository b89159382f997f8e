//! The end, in good order.

use std::time::Duration;

use bytes::Bytes;
use highwater_gateway::Options;
use highwater_proto::client::{
    SubscribeRequest,
    subscribe_request::{Request as Kind, Start},
};
use hyper::Request;
use prometheus_client::{encoding::text::encode, registry::Registry};
use reqwest::StatusCode;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::stage::{Stage, expect, refused, with_key, within};

#[tokio::test]
async fn a_request_that_was_taken_is_answered_before_the_end() {
    let mut stage = Stage::open().await;
    stage.shards[0].hold(true);
    let shard = stage.shards[0].clone();
    let publish = stage.post("/v1/messages/a", "x");
    let shutdown = stage.shutdown.clone();
    let ending = async {
        // The request has arrived once the shard has it.
        within(async {
            while shard.waiting() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        shutdown.cancel();
        shard.hold(false);
    };
    tokio::join!(expect(publish, StatusCode::CREATED), ending);
    stage.stopped().await;
    assert!(
        TcpStream::connect(stage.address).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn an_idle_connection_does_not_delay_the_end() {
    let mut stage = Stage::open().await;
    expect(stage.get("/v1/messages/a"), StatusCode::OK).await;
    stage.stopped().await;
}

#[tokio::test]
async fn a_long_poll_is_answered_at_the_end() {
    let mut stage = Stage::open().await;
    let poll = stage.get("/v1/messages/a?wait=60s");
    let shutdown = stage.shutdown.clone();
    let tail = stage.shards[0].handle().tail().clone();
    let ending = async {
        // The request waits once it follows the topic.
        while tail.usage().0 == 0 {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
    };
    tokio::join!(expect(poll, StatusCode::OK), within(ending));
    stage.stopped().await;
}

#[tokio::test]
async fn what_does_not_end_is_dropped_after_the_drain_timeout() {
    let options = Options {
        drain_timeout: Duration::from_secs(1),
        ..Options::default()
    };
    let mut stage = Stage::with(1, options, None).await;
    let mut stuck = TcpStream::connect(stage.address).await.unwrap();
    let head = format!(
        "POST /v1/messages/a HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-length: 10\r\n\r\nhalf",
        stage.key
    );
    stuck.write_all(head.as_bytes()).await.unwrap();
    stage.stopped().await;
}

#[tokio::test]
async fn an_old_connection_is_asked_to_go_elsewhere() {
    let options = Options {
        connection_age_max: Some(Duration::from_secs(2)),
        ..Options::default()
    };
    let stage = Stage::with(1, options, None).await;
    let start = Start {
        topics: vec!["a".into()],
        ..Start::default()
    };
    let (send, requests) = mpsc::channel(1);
    let start = SubscribeRequest {
        request: Some(Kind::Start(start)),
    };
    send.send(start).await.unwrap();
    let request = with_key(ReceiverStream::new(requests), &stage.key);
    let mut client = stage.grpc().await;
    let mut responses = within(client.subscribe(request))
        .await
        .unwrap()
        .into_inner();
    let receipt = within(responses.message()).await.unwrap().unwrap();
    assert!(receipt.subscribed.is_some());
    let told = within(responses.message()).await.unwrap().unwrap();
    assert!(told.draining.is_some());
    assert!(within(responses.message()).await.unwrap().is_none());
    expect(stage.get("/v1/messages/a"), StatusCode::OK).await;
}

#[tokio::test]
async fn an_old_connection_takes_no_more_requests_and_answers_those_it_has() {
    let options = Options {
        connection_age_max: Some(Duration::from_secs(2)),
        ..Options::default()
    };
    let stage = Stage::with(1, options, None).await;
    stage.shards[0].hold(true);
    let socket = TcpStream::connect(stage.address).await.unwrap();
    let (client, connection) = within(h2::client::handshake(socket)).await.unwrap();
    let post = Request::post(stage.url("/v1/messages/a"))
        .header("authorization", format!("Bearer {}", stage.key))
        .body(())
        .unwrap();
    let requesting = async move {
        let mut ready = within(client.clone().ready()).await.unwrap();
        let (response, mut body) = ready.send_request(post, false).unwrap();
        body.send_data(Bytes::from_static(b"x"), true).unwrap();
        let goodbye = within(async {
            loop {
                match client.clone().ready().await {
                    Ok(_) => tokio::task::yield_now().await,
                    Err(goodbye) => break goodbye,
                }
            }
        });
        let goodbye = goodbye.await;
        assert!(goodbye.is_go_away() && goodbye.is_remote());
        assert_eq!(goodbye.reason(), Some(h2::Reason::NO_ERROR));
        stage.shards[0].hold(false);
        assert_eq!(
            within(response).await.unwrap().status(),
            StatusCode::CREATED
        );
        drop((client, ready));
        stage
    };
    let (stage, ended) = tokio::join!(requesting, within(connection));
    ended.unwrap();
    expect(stage.get("/v1/messages/a"), StatusCode::OK).await;
}

#[tokio::test]
async fn what_was_done_is_counted() {
    let stage = Stage::open().await;
    let mut registry = Registry::default();
    stage.gateway.metrics().register(&mut registry);
    stage.publish("a", "x").await;
    refused(stage.post("/v1/messages/a%00", "x"), "invalid_topic").await;
    refused(stage.post("/v1/messages/made/up", "x"), "not_found").await;
    expect(stage.get("/v1/messages/a"), StatusCode::OK).await;
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for line in [
        r#"highwater_publish_messages_total{protocol="http"} 1"#,
        r#"highwater_publish_messages_total{protocol="grpc"} 0"#,
        r#"highwater_delivery_records_total{protocol="http"} 1"#,
        r#"highwater_refusals_total{protocol="http",code="invalid_topic"} 1"#,
        r#"highwater_refusals_total{protocol="http",code="not_found"} 1"#,
        "highwater_connections 1",
        "highwater_delivery_encoded_records_total",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}
