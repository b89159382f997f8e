//! How a connection is opened, and who may.

use std::{collections::BTreeSet, time::Duration};

use highwater_gateway::Options;
use highwater_proto::limits::{SOCKET_MESSAGE_BYTES_MAX, SOCKET_SUBSCRIPTIONS_MAX};
use http::StatusCode;
use reqwest::Method;
use serde_json::json;
use tokio_tungstenite::connect_async;

use super::peer::{Peer, refused_with, request, with_key};
use crate::stage::{Stage, within};

#[tokio::test]
async fn the_subprotocol_is_the_first_that_is_spoken() {
    let stage = Stage::open().await;
    for (asked, chosen) in [
        (None, None),
        (Some("highwater.v1.json"), Some("highwater.v1.json")),
        (
            Some("other, highwater.v1.proto, highwater.v1.json"),
            Some("highwater.v1.proto"),
        ),
    ] {
        let mut request = with_key(&stage, &stage.key);
        if let Some(asked) = asked {
            let headers = request.headers_mut();
            headers.insert("sec-websocket-protocol", asked.parse().unwrap());
        }
        let (_, response) = within(connect_async(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let answered = response.headers().get("sec-websocket-protocol");
        assert_eq!(answered.map(|v| v.to_str().unwrap()), chosen);
    }
}

#[tokio::test]
async fn a_wrong_credential_is_refused_before_the_upgrade() {
    let stage = Stage::open().await;
    assert_eq!(refused_with(with_key(&stage, "hw_no_key")).await, 401);
    let mut in_address = request(&stage);
    *in_address.uri_mut() = format!("ws://{}/v1/ws?token={}", stage.address, stage.key)
        .parse()
        .unwrap();
    assert_eq!(refused_with(in_address).await, 401);
}

#[tokio::test]
async fn what_asks_for_no_websocket_is_told_what_to_ask_for() {
    let stage = Stage::open().await;
    let plain = within(stage.get("/v1/ws").send()).await.unwrap();
    assert_eq!(plain.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(plain.headers()["upgrade"], "websocket");
    assert_eq!(plain.headers()["sec-websocket-version"], "13");
    let posted = stage
        .request(Method::POST, "/v1/ws")
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    assert_eq!(
        within(posted.send()).await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    let mut old = with_key(&stage, &stage.key);
    let headers = old.headers_mut();
    headers.insert("sec-websocket-version", "8".parse().unwrap());
    assert_eq!(refused_with(old).await, 426);
}

#[tokio::test]
async fn a_credential_may_come_in_the_first_message() {
    let stage = Stage::open().await;
    let mut peer = Peer::with(request(&stage)).await;
    let answer = peer
        .ask(json!({"type": "auth", "id": "a", "credential": stage.key}))
        .await;
    assert_eq!(answer, json!({"type": "authenticated", "id": "a"}));
    let published = peer
        .ask(json!({"type": "publish", "id": 1, "topic": "a", "data": "x"}))
        .await;
    assert_eq!(published["type"], "published");
}

#[tokio::test]
async fn whoever_says_nothing_else_first_is_sent_away() {
    let stage = Stage::open().await;
    for first in [
        json!({"type": "auth", "id": 1, "credential": "hw_no_key"}),
        json!({"type": "publish", "id": 1, "topic": "a", "data": "x"}),
        json!({"type": "ping", "id": 1}),
    ] {
        let mut peer = Peer::with(request(&stage)).await;
        let error = peer.ask(first).await;
        assert_eq!(
            (&error["type"], &error["id"], &error["code"]),
            (&json!("error"), &json!(1), &json!("unauthenticated"))
        );
        assert_eq!(peer.closed().await, 4401);
    }
    // Before that, a message may be no longer than a credential needs.
    let mut peer = Peer::with(request(&stage)).await;
    peer.send_text(&"x".repeat(20_000)).await;
    assert_eq!(peer.closed().await, 1009);
}

#[tokio::test]
async fn a_client_is_told_what_it_may_send_and_how_often_it_hears_of_the_server() {
    let options = Options {
        heartbeat_interval: Duration::from_secs(7),
        ..Options::default()
    };
    let stage = Stage::with(1, options, None).await;
    let mut names = BTreeSet::new();
    for _ in 0..2 {
        let (socket, _) = within(connect_async(with_key(&stage, &stage.key)))
            .await
            .unwrap();
        let hello = Peer(socket).next().await;
        let limits = json!({
            "message_bytes": SOCKET_MESSAGE_BYTES_MAX, "subscriptions": SOCKET_SUBSCRIPTIONS_MAX,
        });
        assert_eq!(
            (&hello["heartbeat_ms"], &hello["limits"]),
            (&json!(7_000), &limits)
        );
        names.insert(hello["connection"].as_str().unwrap().to_owned());
    }
    assert_eq!(names.len(), 2, "each connection has a name of its own");
    // What nobody has configured is what the contract says.
    assert_eq!(
        Options::default().heartbeat_interval,
        Duration::from_secs(15)
    );
}
