//! A credential that expires: its streams are warned, can be renewed in place, and end otherwise.

use futures_util::StreamExt;
use highwater_proto::client::{
    AuthExpiring, SocketResponse, SubscribeRequest,
    socket_request::Auth,
    socket_response::Response,
    subscribe_request::{Request, Start},
};
use prost::Message;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::connect_async;
use tonic::{Code, Streaming};

use crate::{
    sse::Events,
    stage::{Stage, refused, within},
    websocket::{Peer, in_proto, refused_with, with_key},
};

/// Long enough to open something, and short enough to wait for.
const SOON_MS: u64 = 1_500;
const EXPIRED: &str = "the credential has expired; send a valid key or token";

#[tokio::test]
async fn a_request_with_an_expired_key_is_refused() {
    let stage = Stage::open().await;
    stage.publish("a", "x").await;
    stage.expire_key_in(0);
    let problem = refused(stage.get("/v1/topics"), "unauthenticated").await;
    assert_eq!(problem["detail"], EXPIRED);
    assert_eq!(refused_with(with_key(&stage, &stage.key)).await, 401);
}

#[tokio::test]
async fn an_event_stream_is_warned_and_ends_with_its_key() {
    let stage = Stage::ticking().await;
    let end_ms = stage.expire_key_in(SOON_MS);
    let mut events = Events::open(&stage, "topic=a").await;
    let address = events.refresh.clone();
    let warning = events.next().await.unwrap();
    assert_eq!(warning.name, "auth-expiring");
    assert_eq!(
        warning.json(),
        json!({"expires_at_ms": end_ms, "refresh": address})
    );
    let error = events.next().await.unwrap();
    assert_eq!(error.name, "error");
    assert_eq!(error.json()["code"], "unauthenticated");
    assert_eq!(events.next().await, None);
    assert!((stage.clock)() >= end_ms);
    let closed = stage
        .anonymous(Method::POST, &address)
        .bearer_auth(&stage.narrow_key);
    refused(closed, "not_found").await;
}

#[tokio::test]
async fn an_event_stream_goes_on_with_another_key() {
    let stage = Stage::ticking().await;
    let end_ms = stage.expire_key_in(SOON_MS);
    let mut events = Events::open(&stage, "topic=a/b").await;
    let mut other = Events::open(&stage, "topic=a/%23").await;
    let renew = |address: &str, key: &str| {
        let request = stage.anonymous(Method::POST, address);
        request.bearer_auth(key)
    };
    let address = events.refresh.clone();
    refused(renew(&address, &stage.strangers_key), "not_found").await;
    refused(renew(&address, "hw_no_key"), "unauthenticated").await;
    refused(renew(&other.refresh, &stage.narrow_key), "forbidden").await;
    let renewed = within(renew(&address, &stage.narrow_key).send())
        .await
        .unwrap();
    assert_eq!(renewed.status(), StatusCode::NO_CONTENT);
    assert_eq!(other.next().await.unwrap().name, "auth-expiring");
    assert_eq!(other.next().await.unwrap().name, "error");
    assert!((stage.clock)() >= end_ms);
    let publish = stage
        .anonymous(Method::POST, "/v1/messages/a/b")
        .bearer_auth(&stage.narrow_key)
        .header("content-type", "text/plain")
        .body("x");
    within(publish.send()).await.unwrap();
    loop {
        let event = events.next().await.unwrap();
        // The warning may have come before the new key.
        if event.name != "auth-expiring" {
            assert_eq!(event.json()["data"], "x");
            break;
        }
    }
}

#[tokio::test]
async fn a_websocket_is_warned_and_closed_with_its_key() {
    let stage = Stage::ticking().await;
    let end_ms = stage.expire_key_in(SOON_MS);
    let mut peer = Peer::open(&stage).await;
    let warning = peer.next().await;
    assert_eq!(
        warning,
        json!({"type": "auth_expiring", "expires_at_ms": end_ms})
    );
    let error = peer.next().await;
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("error"), &json!("unauthenticated"))
    );
    assert_eq!(peer.closed().await, 4401);
    assert!((stage.clock)() >= end_ms);
}

#[tokio::test]
async fn a_websocket_of_the_binary_subprotocol_is_warned_too() {
    let stage = Stage::ticking().await;
    let end_ms = stage.expire_key_in(SOON_MS);
    let (mut socket, _) = within(connect_async(in_proto(&stage))).await.unwrap();
    let mut next = async || {
        let message = within(socket.next()).await.unwrap().unwrap();
        let response = SocketResponse::decode(message.into_data()).unwrap();
        response.response.unwrap()
    };
    assert!(matches!(next().await, Response::Hello(_)));
    let expires_at_ms = end_ms;
    let warning = Response::AuthExpiring(AuthExpiring { expires_at_ms });
    assert_eq!(next().await, warning);
    assert!(matches!(next().await, Response::Error(_)));
}

#[tokio::test]
async fn a_websocket_goes_on_with_another_key() {
    let stage = Stage::ticking().await;
    let end_ms = stage.expire_key_in(SOON_MS);
    let mut peer = Peer::open(&stage).await;
    peer.next().await;
    let auth = json!({"type": "auth", "id": 1, "credential": stage.narrow_key});
    assert_eq!(peer.ask(auth).await["type"], "authenticated");
    while (stage.clock)() <= end_ms {
        assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong");
    }
}

/// A subscription to `a/b` with the key that expires, which has its receipt.
async fn subscribe(
    stage: &Stage,
) -> (
    mpsc::Sender<SubscribeRequest>,
    Streaming<highwater_proto::client::SubscribeResponse>,
) {
    let (sender, requests) = mpsc::channel(4);
    let start = Request::Start(Start {
        topics: vec!["a/b".into()],
        ..Start::default()
    });
    sender.send(request(start)).await.unwrap();
    let call = stage.call(ReceiverStream::new(requests));
    let response = within(stage.grpc().await.subscribe(call)).await.unwrap();
    let mut responses = response.into_inner();
    let receipt = within(responses.message()).await.unwrap().unwrap();
    assert!(receipt.subscribed.is_some());
    (sender, responses)
}

fn request(request: Request) -> SubscribeRequest {
    SubscribeRequest {
        request: Some(request),
    }
}

#[tokio::test]
async fn a_grpc_subscription_is_warned_and_ends_with_its_key() {
    let stage = Stage::ticking().await;
    let end_ms = stage.expire_key_in(SOON_MS);
    let (_sender, mut responses) = subscribe(&stage).await;
    let warning = within(responses.message()).await.unwrap().unwrap();
    assert_eq!(warning.auth_expiring.unwrap().expires_at_ms, end_ms);
    let end = within(responses.message()).await.unwrap_err();
    assert_eq!(end.code(), Code::Unauthenticated);
    assert!((stage.clock)() >= end_ms);
}

#[tokio::test]
async fn a_grpc_subscription_goes_on_with_another_key() {
    let stage = Stage::ticking().await;
    let end_ms = stage.expire_key_in(SOON_MS);
    let (sender, mut responses) = subscribe(&stage).await;
    within(responses.message()).await.unwrap();
    let credential = stage.narrow_key.clone();
    let auth = Request::Auth(Auth { credential });
    sender.send(request(auth)).await.unwrap();
    let (_other, mut others) = subscribe(&stage).await;
    while within(others.message()).await.is_ok() {}
    assert!((stage.clock)() >= end_ms);
    let publish = stage
        .anonymous(Method::POST, "/v1/messages/a/b")
        .bearer_auth(&stage.narrow_key)
        .body("x");
    within(publish.send()).await.unwrap();
    let record = within(responses.message()).await.unwrap().unwrap();
    assert_eq!(&record.records[0].payload[..], b"x");
}

#[tokio::test]
async fn a_long_poll_ends_with_its_key() {
    let stage = Stage::ticking().await;
    let end_ms = stage.expire_key_in(SOON_MS);
    let poll = stage.get("/v1/messages?topic=a&from=latest&wait=30s");
    let problem = refused(poll, "unauthenticated").await;
    assert_eq!(problem["detail"], EXPIRED);
    assert!((stage.clock)() >= end_ms);
}
