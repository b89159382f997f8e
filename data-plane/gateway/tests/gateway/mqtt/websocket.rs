//! MQTT in a WebSocket (section 6): packets in binary messages, cut anywhere.

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use highwater_broker::Refusal;
use highwater_mqtt::{
    Decoder, Limits, Packet, Qos, ReasonCode, Version,
    packet::{Disconnect, Subscribe},
};
use highwater_proto::ErrorCode;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::Request},
};

use super::peer::{VERSIONS, at_least_once, connect, id, message, subscription, topic_and_payload};
use crate::stage::{Stage, within};

const LIMITS: Limits = Limits {
    packet_bytes_max: 1 << 20,
    user_properties_max: 100,
    filters_max: 100,
};

fn request(stage: &Stage, subprotocol: Option<&str>) -> Request<()> {
    let url = format!("ws://{}/mqtt", stage.address);
    let mut request = url.into_client_request().unwrap();
    if let Some(subprotocol) = subprotocol {
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", subprotocol.parse().unwrap());
    }
    request
}

struct Peer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    version: Version,
    decoder: Decoder,
    buf: BytesMut,
}

impl Peer {
    /// A client of this version and name, whose CONNECT was answered.
    async fn connected(stage: &Stage, version: Version, name: &str) -> Peer {
        let mut peer = Peer::of(version, request(stage, Some("mqtt"))).await;
        peer.send(&[connect(stage, version, name).into()], 1_000)
            .await;
        let answer = peer.next().await;
        assert!(matches!(answer, Packet::ConnAck(_)), "{answer:?}");
        peer
    }

    async fn dial(request: Request<()>) -> Peer {
        Peer::of(Version::V5, request).await
    }

    async fn of(version: Version, request: Request<()>) -> Peer {
        let (socket, response) = within(connect_async(request)).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
        assert!(!response.headers().contains_key("sec-websocket-extensions"));
        Peer {
            socket,
            version,
            decoder: Decoder::of_server(version, LIMITS),
            buf: BytesMut::new(),
        }
    }

    /// Sends packets in messages of so many bytes.
    async fn send(&mut self, packets: &[Packet], bytes: usize) {
        let mut all = BytesMut::new();
        for packet in packets {
            packet.encode(self.version, &mut all).unwrap();
        }
        for piece in all.chunks(bytes) {
            let message = Message::binary(piece.to_vec());
            within(self.socket.send(message)).await.unwrap();
        }
    }

    async fn next(&mut self) -> Packet {
        loop {
            if let Some(packet) = self.decoder.next(&mut self.buf).unwrap() {
                return packet;
            }
            match within(self.socket.next()).await.unwrap().unwrap() {
                Message::Binary(piece) => self.buf.extend_from_slice(&piece),
                Message::Pong(_) => {}
                other => panic!("{other:?} is no binary message"),
            }
        }
    }

    async fn closed(&mut self) -> u16 {
        loop {
            match within(self.socket.next()).await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("{other:?} is no close frame"),
            }
        }
    }
}

#[tokio::test]
async fn packets_come_in_messages_that_are_cut_anywhere() {
    let stage = Stage::open().await;
    for bytes in [1, 7, 100_000] {
        let mut peer = Peer::dial(request(&stage, Some("mqtt"))).await;
        let subscribe = Subscribe::new(id(1), vec![subscription("a/+", Qos::AtMostOnce)]);
        let packets = [
            connect(&stage, Version::V5, "").into(),
            Packet::Subscribe(subscribe),
        ];
        peer.send(&packets, bytes).await;
        let answer = peer.next().await;
        assert!(
            matches!(&answer, Packet::ConnAck(answer) if answer.reason == ReasonCode::Success),
            "{answer:?}"
        );
        let answer = peer.next().await;
        assert!(matches!(answer, Packet::SubAck(_)), "{answer:?}");
        within(
            peer.socket
                .send(Message::Ping(b"still there?".to_vec().into())),
        )
        .await
        .unwrap();
        stage.publish("a/b", "hello").await;
        let Packet::Publish(got) = peer.next().await else {
            panic!("no PUBLISH");
        };
        assert_eq!(topic_and_payload(&got), ("a/b".into(), "hello".into()));
        // More than a client may send before it is known.
        let large = "x".repeat(300_000);
        stage.publish("a/b", &large).await;
        let Packet::Publish(got) = peer.next().await else {
            panic!("no PUBLISH");
        };
        assert_eq!(topic_and_payload(&got).1, large);
        peer.socket.close(None).await.unwrap();
    }
}

#[tokio::test]
async fn the_connection_ends_with_the_one_inside() {
    let stage = Stage::open().await;
    let mut peer = Peer::dial(request(&stage, Some("mqtt"))).await;
    let mut refused = connect(&stage, Version::V5, "");
    refused.password = Some(bytes::Bytes::from("wrong").try_into().unwrap());
    peer.send(&[refused.into()], 100).await;
    let answer = peer.next().await;
    assert!(
        matches!(&answer, Packet::ConnAck(answer) if answer.reason == ReasonCode::BadUserNameOrPassword),
        "{answer:?}"
    );
    assert_eq!(peer.closed().await, 4401);
    let mut peer = Peer::connected(&stage, Version::V5, "").await;
    let goodbye = Packet::Disconnect(Disconnect::new(ReasonCode::Success));
    peer.send(&[goodbye], 100).await;
    assert_eq!(peer.closed().await, 1000);
}

/// MQTT 3.1.1 has no other way to say it.
#[tokio::test]
async fn a_connection_is_closed_with_the_code_of_the_refusal_that_ends_it() {
    let stage = Stage::open().await;
    for (error, code) in [
        (ErrorCode::Overloaded, 4429),
        (ErrorCode::QuotaExceeded, 4429),
        (ErrorCode::Unavailable, 1013),
        (ErrorCode::NoLeader, 1013),
        (ErrorCode::Internal, 1011),
    ] {
        let mut peer = Peer::connected(&stage, Version::V3_1_1, "").await;
        stage.shards[0].refuse(Some(Refusal::new(error, "not now")));
        let publish = message("a", "x", at_least_once(1));
        peer.send(&[Packet::Publish(publish)], 100).await;
        assert_eq!(peer.closed().await, code, "{error}");
        stage.shards[0].refuse(None);
    }
    let payload = "x".repeat(stage.project.payload_bytes_max + 1);
    for (packet, code) in [
        (message("a", &payload, at_least_once(1)), 4413),
        (message("$forbidden", "x", at_least_once(1)), 1008),
    ] {
        let mut peer = Peer::connected(&stage, Version::V3_1_1, "").await;
        peer.send(&[Packet::Publish(packet)], 1 << 20).await;
        assert_eq!(peer.closed().await, code);
    }
}

#[tokio::test]
async fn a_connection_whose_session_has_another_one_is_closed_as_taken_over() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let mut first = Peer::connected(&stage, version, "the same").await;
        let _second = Peer::connected(&stage, version, "the same").await;
        assert_eq!(first.closed().await, 4409, "{version}");
    }
}

#[tokio::test]
async fn a_node_that_stops_says_so_in_the_code() {
    let mut stage = Stage::open().await;
    let mut peer = Peer::connected(&stage, Version::V3_1_1, "").await;
    let told = async {
        assert_eq!(peer.closed().await, 1012);
        // The library answers the close frame when it is asked for more.
        let _ = within(peer.socket.next()).await;
    };
    tokio::join!(stage.stopped(), told);
}

#[tokio::test]
async fn text_is_refused_and_so_is_a_handshake_without_the_subprotocol() {
    let stage = Stage::open().await;
    let mut peer = Peer::dial(request(&stage, Some("mqtt"))).await;
    within(peer.socket.send(Message::text("CONNECT")))
        .await
        .unwrap();
    assert_eq!(peer.closed().await, 1003);
    for subprotocol in [None, Some("highwater.v1.json")] {
        match within(connect_async(request(&stage, subprotocol))).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 400),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_page_of_an_origin_that_the_project_does_not_allow_is_turned_away() {
    let stage = Stage::open().await;
    let mut from_elsewhere = request(&stage, Some("mqtt"));
    let origin = "https://elsewhere.example".parse().unwrap();
    from_elsewhere.headers_mut().insert("origin", origin);
    let mut peer = Peer::dial(from_elsewhere).await;
    peer.send(&[connect(&stage, Version::V5, "").into()], 100)
        .await;
    let answer = peer.next().await;
    assert!(
        matches!(&answer, Packet::ConnAck(answer) if answer.reason == ReasonCode::NotAuthorized),
        "{answer:?}"
    );
}
