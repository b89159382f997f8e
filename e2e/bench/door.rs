//! Subscribers that take nothing but bytes: what it costs to have many of them is the servers', not theirs.

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A protocol with subscribers on sockets of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Mqtt,
    WebSocket,
    Sse,
}

impl Door {
    pub const ALL: [Door; 3] = [Door::Mqtt, Door::WebSocket, Door::Sse];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Door::Mqtt => "MQTT",
            Door::WebSocket => "WebSocket",
            Door::Sse => "event stream",
        }
    }

    /// Most memory that an idle connection may take, in KiB.
    pub fn idle_kib_max(self) -> f64 {
        match self {
            Door::Mqtt | Door::WebSocket => 5.0,
            Door::Sse => 12.0,
        }
    }

    /// A connection with a subscription that is live.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn subscribe(self, address: &str, key: &str, topic: &str) -> Result<TcpStream> {
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        match self {
            Door::Mqtt => {
                socket.write_all(&connect(key)).await?;
                expect(&mut socket, &[0x20]).await?;
                socket.write_all(&subscribe(topic)).await?;
                expect(&mut socket, &[0x90]).await?;
            }
            Door::WebSocket => {
                let upgrade = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
                               sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
                request(&mut socket, "/v1/ws", address, key, upgrade).await?;
                expect(&mut socket, b"hello").await?;
                let text = format!(r#"{{"type":"subscribe","id":1,"topics":["{topic}"]}}"#);
                // A mask of zeroes leaves the payload as it is.
                let mut frame = vec![0x81, 0x80 | u8::try_from(text.len())?, 0, 0, 0, 0];
                frame.extend(text.as_bytes());
                socket.write_all(&frame).await?;
                expect(&mut socket, b"subscribed").await?;
            }
            Door::Sse => {
                let path = format!("/v1/sse?topic={topic}");
                request(&mut socket, &path, address, key, "").await?;
                expect(&mut socket, b"subscribed").await?;
            }
        }
        Ok(socket)
    }
}

async fn request(
    socket: &mut TcpStream,
    path: &str,
    host: &str,
    key: &str,
    more: &str,
) -> Result<()> {
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n{more}\r\n");
    Ok(socket.write_all(head.as_bytes()).await?)
}

/// Reads until these bytes came.
async fn expect(socket: &mut TcpStream, wanted: &[u8]) -> Result<()> {
    let mut got = Vec::new();
    loop {
        if got.windows(wanted.len()).any(|window| window == wanted) {
            return Ok(());
        }
        ensure!(got.len() < 16 << 10, "an answer of another kind");
        if socket.read_buf(&mut got).await? == 0 {
            bail!("refused: {}", String::from_utf8_lossy(&got));
        }
    }
}

/// CONNECT of MQTT 5.0, with a clean start and without a client identifier.
fn connect(key: &str) -> Vec<u8> {
    let mut body = field("MQTT");
    // Version, flags of user name, password and clean start, no keep alive, no properties.
    body.extend([5, 0xC2, 0, 0, 0]);
    body.extend(field(""));
    body.extend(field("bench"));
    body.extend(field(key));
    packet(0x10, &body)
}

/// SUBSCRIBE with QoS 0.
fn subscribe(topic: &str) -> Vec<u8> {
    let mut body = vec![0, 1, 0];
    body.extend(field(topic));
    body.push(0);
    packet(0x82, &body)
}

fn field(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut left = body.len();
    loop {
        let low = (left % 128) as u8;
        left /= 128;
        packet.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// Counts how often a byte that is in every message once, and nowhere else, comes on a socket.
///
/// # Errors
/// When the connection ends.
pub async fn count(
    socket: &mut TcpStream,
    marker: u8,
    mut on_messages: impl FnMut(u64),
) -> Result<()> {
    let mut buf = vec![0; 64 << 10];
    loop {
        let read = socket.read(&mut buf).await?;
        ensure!(read > 0, "the connection has ended");
        let messages = buf[..read].iter().filter(|byte| **byte == marker).count();
        on_messages(u64::try_from(messages).context("a count")?);
    }
}
