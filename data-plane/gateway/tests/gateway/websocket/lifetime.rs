//! How a connection lives and ends.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use highwater_gateway::Options;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, protocol::CloseFrame},
};

use super::peer::{Peer, request};
use crate::stage::{Stage, within};

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage).await;
    let close = CloseFrame {
        code: 4000.into(),
        reason: "enough".into(),
    };
    within(peer.0.send(Message::Close(Some(close))))
        .await
        .unwrap();
    assert_eq!(peer.closed().await, 4000);
    // Then the server closes the socket (RFC 6455, section 7.1.1).
    let mut rest = Vec::new();
    within(peer.0.get_mut().read_to_end(&mut rest))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage).await;
    within(peer.0.send(Message::Ping(b"payload".to_vec().into())))
        .await
        .unwrap();
    let pong = within(peer.0.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong(b"payload".to_vec().into()));
}

#[tokio::test]
async fn a_frame_without_a_mask_ends_the_connection() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage).await;
    let unmasked = [0x81, 0x02, b'{', b'}'];
    within(peer.0.get_mut().write_all(&unmasked)).await.unwrap();
    assert_eq!(peer.closed().await, 1002);
}

#[tokio::test]
async fn text_that_is_not_utf_8_ends_the_connection() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage).await;
    // Masked with zeros: a quotation mark, and a byte that begins nothing.
    let frame = [0x81, 0x82, 0, 0, 0, 0, b'"', 0xFF];
    within(peer.0.get_mut().write_all(&frame)).await.unwrap();
    assert_eq!(peer.closed().await, 1007);
}

#[tokio::test]
async fn a_connection_ends_with_its_credential() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage).await;
    peer.subscribe(1, &["a"], "latest").await;
    stage.revoke_keys();
    let error = peer.next().await;
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("error"), &json!("unauthenticated"))
    );
    assert_eq!(peer.closed().await, 4401);
}

#[tokio::test]
async fn another_credential_takes_the_place_of_the_first() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage).await;
    peer.subscribe("allowed", &["a/b"], "latest").await;
    peer.subscribe("not", &["c"], "latest").await;
    peer.send(json!({"type": "auth", "id": 1, "credential": stage.narrow_key}))
        .await;
    let ended = peer.next().await;
    assert_eq!(
        (&ended["id"], &ended["code"]),
        (&json!("not"), &json!("forbidden"))
    );
    let done = peer.next().await;
    assert_eq!(done, json!({"type": "authenticated", "id": 1}));
    stage.publish("a/b", "x").await;
    assert_eq!(peer.records("allowed", 1).await[0]["data"], "x");
}

#[tokio::test]
async fn a_node_that_stops_answers_what_it_took_and_says_when_to_come_back() {
    let mut stage = Stage::open().await;
    let mut peer = Peer::open(&stage).await;
    peer.subscribe(1, &["a"], "latest").await;
    let stopping = stage.stopped();
    let told = async {
        let draining = peer.next().await;
        assert_eq!(draining["type"], "draining");
        assert!(draining["reconnect_after_ms"].is_u64());
        assert_eq!(peer.closed().await, 1012);
        // The library answers the close frame when it is asked for more.
        let _ = within(peer.0.next()).await;
    };
    tokio::join!(stopping, told);
}

#[tokio::test]
async fn silence_is_broken_by_pings_and_a_peer_that_answers_none_is_given_up() {
    let options = Options {
        heartbeat_interval: Duration::from_millis(50),
        ..Options::default()
    };
    let stage = Stage::with(1, options, None).await;
    let mut peer = Peer::open(&stage).await;
    // Reading answers pings, so this goes on beyond the time for which a silent one is kept.
    for _ in 0..5 {
        let ping = within(peer.0.next()).await.unwrap().unwrap();
        assert!(matches!(ping, Message::Ping(_)), "{ping:?}");
    }
    let mut silent = Peer::open(&stage).await;
    let mut bytes = Vec::new();
    // Not through the library, which would answer.
    within(silent.0.get_mut().read_to_end(&mut bytes))
        .await
        .unwrap();
    let close = [0x88, 9, 0x11, 0x38];
    assert!(
        bytes.windows(4).any(|seen| seen == close),
        "4408 in {bytes:?}"
    );
}

#[tokio::test]
async fn a_connection_that_brings_no_credential_in_time_is_closed() {
    let options = Options {
        header_timeout: Duration::from_millis(100),
        ..Options::default()
    };
    let stage = Stage::with(1, options, None).await;
    let mut peer = Peer::with(request(&stage)).await;
    let error = peer.next().await;
    assert_eq!(error["code"], "unauthenticated");
    assert_eq!(peer.closed().await, 4401);
}

#[tokio::test]
async fn a_connection_that_was_used_before_has_its_time_from_the_upgrade_on() {
    let options = Options {
        header_timeout: Duration::from_secs(2),
        ..Options::default()
    };
    let stage = Stage::with(1, options, None).await;
    let mut socket = TcpStream::connect(stage.address).await.unwrap();
    let other = b"GET /v1/topics HTTP/1.1\r\nhost: x\r\n\r\n";
    socket.write_all(other).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert_ne!(within(socket.read_buf(&mut answer)).await.unwrap(), 0);
    }
    // Most of the time of a new connection, and then most of that of an upgrade.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let (socket, _) = within(client_async(request(&stage), socket)).await.unwrap();
    let mut peer = Peer::greeted(socket).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let auth = json!({"type": "auth", "credential": stage.key});
    assert_eq!(peer.ask(auth).await["type"], "authenticated");
}

#[tokio::test]
async fn a_slow_reader_holds_up_nobody_and_misses_nothing() {
    let stage = Stage::open().await;
    let mut slow = Peer::open(&stage).await;
    let mut quick = Peer::open(&stage).await;
    slow.reads_later_than(&mut quick, &stage).await;
}
