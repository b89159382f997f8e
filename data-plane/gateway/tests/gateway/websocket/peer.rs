//! A client that speaks the JSON subprotocol.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::Request},
};

use crate::stage::{Stage, within};

/// Over a connection of its own, unless it says otherwise.
pub struct Peer<Io = MaybeTlsStream<TcpStream>>(pub WebSocketStream<Io>);

pub fn request(stage: &Stage) -> Request<()> {
    let url = format!("ws://{}/v1/ws", stage.address);
    url.into_client_request().unwrap()
}

pub fn with_key(stage: &Stage, key: &str) -> Request<()> {
    let mut request = request(stage);
    let bearer = format!("Bearer {key}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    request
}

/// The same for the binary subprotocol.
pub fn in_proto(stage: &Stage) -> Request<()> {
    let mut request = with_key(stage, &stage.key);
    let subprotocol = "highwater.v1.proto".parse().unwrap();
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", subprotocol);
    request
}

/// The status with which an opening handshake is refused.
pub async fn refused_with(request: Request<()>) -> u16 {
    match within(connect_async(request)).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

impl Peer {
    /// A connection with the key that may do everything.
    pub async fn open(stage: &Stage) -> Peer {
        Peer::with(with_key(stage, &stage.key)).await
    }

    pub async fn with(request: Request<()>) -> Peer {
        let (socket, _) = within(connect_async(request)).await.unwrap();
        Peer::greeted(socket).await
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Peer<Io> {
    /// A client of this socket, once the server has said hello.
    pub async fn greeted(socket: WebSocketStream<Io>) -> Peer<Io> {
        let mut peer = Peer(socket);
        let hello = peer.next().await;
        assert_eq!(hello["type"], "hello");
        assert!(hello["connection"].is_string());
        peer
    }

    pub async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        within(self.0.send(Message::text(text))).await.unwrap();
    }

    /// The next message, which is JSON.
    pub async fn next(&mut self) -> Value {
        loop {
            match within(self.0.next()).await.expect("a message").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} is no JSON"),
            }
        }
    }

    /// Asks, and gives the answer.
    pub async fn ask(&mut self, message: Value) -> Value {
        self.send(message).await;
        self.next().await
    }

    /// Opens a subscription, and gives the cursor of its receipt.
    pub async fn subscribe(&mut self, id: impl Into<Value>, topics: &[&str], from: &str) -> String {
        let id = id.into();
        let subscribe = json!({"type": "subscribe", "id": id, "topics": topics, "from": from});
        let receipt = self.ask(subscribe).await;
        assert_eq!(
            (&receipt["type"], &receipt["id"]),
            (&json!("subscribed"), &id)
        );
        receipt["cursor"].as_str().unwrap().to_owned()
    }

    /// The next so many records of a subscription.
    pub async fn records(&mut self, sub: impl Into<Value>, count: usize) -> Vec<Value> {
        let sub = sub.into();
        let mut records = Vec::new();
        while records.len() < count {
            let message = self.next().await;
            assert_eq!(message["type"], "message", "{message}");
            assert_eq!(message["sub"], sub);
            records.extend(message["records"].as_array().unwrap().iter().cloned());
        }
        assert_eq!(records.len(), count);
        records
    }

    /// The code with which the server closes the connection, after the messages that come before.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match within(self.0.next()).await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("{other:?} is no close frame"),
            }
        }
    }

    /// Takes nothing of 10 MB that are published while another socket takes each record as it comes, and then all
    /// of it in order.
    pub async fn reads_later_than(&mut self, quick: &mut Peer<Io>, stage: &Stage) {
        self.subscribe(1, &["a"], "latest").await;
        quick.subscribe(1, &["a"], "latest").await;
        let payload = "x".repeat(100_000);
        for _ in 0..100 {
            stage.publish("a", &payload).await;
            assert_eq!(quick.records(1, 1).await.len(), 1);
        }
        for (offset, record) in self.records(1, 100).await.iter().enumerate() {
            assert_eq!(record["offset"], offset);
        }
    }
}
