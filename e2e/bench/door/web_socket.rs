//! WebSockets by hand: the upgrade, frames of a client, and a subscriber of Highwater's JSON.

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{expect, get, send};

const UPGRADE: &str = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub async fn subscribe(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    (host, key): (&str, &str),
    topic: &str,
) -> Result<()> {
    upgrade(socket, "/v1/ws", (host, key)).await?;
    expect(socket, b"hello").await?;
    let text = format!(r#"{{"type":"subscribe","id":1,"topics":["{topic}"]}}"#);
    send(socket, &frame(&text)).await?;
    expect(socket, b"subscribed").await
}

pub async fn upgrade(
    socket: &mut (impl AsyncWrite + Unpin),
    path: &str,
    (host, key): (&str, &str),
) -> Result<()> {
    send(socket, &get(path, host, key, UPGRADE)).await
}

/// A message of text of less than 64 KiB.
pub fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(len) if len < 126 => frame.push(0x80 | len),
        _ => {
            frame.push(0x80 | 126);
            frame.extend((text.len() as u16).to_be_bytes());
        }
    }
    // A mask of zeroes leaves the payload as it is.
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}
