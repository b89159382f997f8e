//! How a subscriber comes in: what it sends until its subscription is live, and nothing but bytes from then on.
//!
//! What it costs to have many of them is the servers', not theirs, and the same for every contender.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

mod grpc;
mod mqtt;
mod nats;
mod web_socket;

pub use grpc::pong;

/// How long a receipt may take: a rival that replicates its subscribers takes them one after the other.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(120);

/// A protocol with subscribers on sockets of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// MQTT with QoS 0, at whoever speaks it.
    Mqtt,
    /// Highwater's WebSocket.
    WebSocket,
    /// Highwater's event stream.
    Sse,
    /// A stream of gRPC.
    Grpc,
    /// A subject of NATS, in a WebSocket.
    NatsWebSocket,
    /// A push consumer of a stream of NATS, in a WebSocket.
    JetStream,
}

impl Door {
    /// Those of Highwater that have sockets of their own.
    pub const ALL: [Door; 4] = [Door::Mqtt, Door::WebSocket, Door::Sse, Door::Grpc];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Door::Mqtt => "MQTT",
            Door::WebSocket | Door::NatsWebSocket => "WebSocket",
            Door::Sse => "event stream",
            Door::Grpc => "gRPC",
            Door::JetStream => "push consumer",
        }
    }

    /// Most memory that an idle connection may take, in KiB.
    pub fn idle_kib_max(self) -> f64 {
        match self {
            Door::Sse => 12.0,
            Door::Grpc => 16.0,
            _ => 5.0,
        }
    }

    /// Subscribes to a topic on a new connection to this host, and returns when that is live.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn subscribe(
        self,
        socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
        (host, key): (&str, &str),
        topic: &str,
    ) -> Result<()> {
        let subscribed = async {
            match self {
                Door::Mqtt => mqtt::subscribe(socket, key, topic).await,
                Door::WebSocket => web_socket::subscribe(socket, (host, key), topic).await,
                Door::Sse => {
                    let path = format!("/v1/sse?topic={topic}");
                    send(socket, &get(&path, host, key, "")).await?;
                    expect(socket, b"subscribed").await
                }
                Door::Grpc => grpc::subscribe(socket, (host, key), topic).await,
                Door::NatsWebSocket => nats::subscribe(socket, host, topic).await,
                Door::JetStream => nats::consume(socket, host, topic).await,
            }
        };
        let subscribed = timeout(RECEIPT_TIMEOUT, subscribed).await;
        subscribed.context("no receipt of a subscription")?
    }
}

/// Sends bytes, at once: TLS keeps some back.
///
/// # Errors
/// When the connection is lost.
pub async fn send(socket: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<()> {
    socket.write_all(bytes).await?;
    Ok(socket.flush().await?)
}

/// A request of HTTP without a body.
fn get(path: &str, host: &str, key: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n{more}\r\n")
        .into()
}

/// Reads until these bytes came.
async fn expect(socket: &mut (impl AsyncRead + Unpin), wanted: &[u8]) -> Result<()> {
    let mut got = Vec::new();
    let has = |got: &[u8], part: &[u8]| got.windows(part.len()).any(|window| window == part);
    while !has(&got, wanted) {
        let is_refused = has(&got, b"\"error\"")
            || got.len() > 16 << 10
            || socket.read_buf(&mut got).await? == 0;
        ensure!(!is_refused, "refused: {}", String::from_utf8_lossy(&got));
    }
    Ok(())
}
