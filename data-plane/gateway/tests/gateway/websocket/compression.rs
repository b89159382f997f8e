//! permessage-deflate (RFC 7692): agreed on in the handshake, and used in both directions.

use bytes::BytesMut;
use highwater_websocket::{Agreement, Decoder, Deflater, Event, Opcode, Role, negotiation::OFFER};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::stage::{Stage, within};

const KEY: [u8; 4] = [1, 2, 3, 4];

/// A client that counts what comes over the wire.
struct Peer {
    socket: TcpStream,
    decoder: Decoder,
    buf: BytesMut,
    received_bytes: usize,
}

impl Peer {
    /// Opens a connection with this offer, and gives what the server agreed to.
    async fn open(stage: &Stage, offer: &str) -> (Peer, Option<Agreement>) {
        let mut socket = within(TcpStream::connect(stage.address)).await.unwrap();
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             Authorization: Bearer {}\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n",
            stage.key
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut buf = BytesMut::new();
        let end = loop {
            if let Some(at) = buf.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            within(socket.read_buf(&mut buf)).await.unwrap();
        };
        let head = String::from_utf8(buf.split_to(end).to_vec()).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let header = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("sec-websocket-extensions")
                .then_some(value)
        });
        let agreement = header.and_then(|header| Agreement::from_response(header).unwrap());
        let mut peer = Peer {
            socket,
            decoder: Decoder::new(Role::Client, 1 << 20, agreement),
            buf,
            received_bytes: 0,
        };
        assert_eq!(peer.next().await["type"], "hello");
        (peer, agreement)
    }

    async fn next(&mut self) -> Value {
        loop {
            match self.decoder.feed(&mut self.buf).unwrap() {
                Some(Event::Text(text)) => return serde_json::from_str(text.as_str()).unwrap(),
                Some(other) => panic!("{other:?} is no message"),
                None => {
                    let read = within(self.socket.read_buf(&mut self.buf)).await.unwrap();
                    assert!(read > 0, "the connection ended");
                    self.received_bytes += read;
                }
            }
        }
    }

    async fn send(&mut self, frame: &[u8]) {
        within(self.socket.write_all(frame)).await.unwrap();
    }
}

#[tokio::test]
async fn messages_are_compressed_in_both_directions_where_it_was_agreed() {
    let stage = Stage::open().await;
    let payload = "so many words ".repeat(2_000);
    for (offer, is_agreed) in [(OFFER, true), ("x-other", false)] {
        let (mut peer, agreement) = Peer::open(&stage, offer).await;
        assert_eq!(agreement.is_some(), is_agreed, "{offer}");
        let ask = |message: Value| {
            let text = message.to_string();
            match is_agreed {
                true => Deflater::new(15, 6, 0).masked(Opcode::Text, text.as_bytes(), KEY),
                false => highwater_websocket::frame::masked(Opcode::Text, text.as_bytes(), KEY),
            }
        };
        let subscribe = json!({"type": "subscribe", "id": 1, "topics": [offer]});
        peer.send(&ask(subscribe)).await;
        assert_eq!(peer.next().await["type"], "subscribed");
        let publish = ask(json!({"type": "publish", "id": 2, "topic": offer, "data": payload}));
        assert_eq!(publish.len() < payload.len() / 10, is_agreed);
        peer.send(&publish).await;
        for _ in 0..2 {
            let message = peer.next().await;
            match message["type"].as_str() {
                Some("published") => assert_eq!(message["offset"], 0),
                Some("message") => assert_eq!(message["records"][0]["data"], payload.as_str()),
                _ => panic!("{message}"),
            }
        }
        let is_small = peer.received_bytes < payload.len() / 10;
        assert_eq!(is_small, is_agreed, "{} bytes came", peer.received_bytes);
    }
}
