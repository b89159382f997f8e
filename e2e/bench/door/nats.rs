//! Subscribers of NATS in WebSockets: of a subject, and of a stream through a push consumer of their own.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    expect, send,
    web_socket::{frame, upgrade},
};

const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";

pub async fn subscribe(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    subject: &str,
) -> Result<()> {
    upgrade(socket, "/", (host, "")).await?;
    expect(socket, b"INFO").await?;
    let text = format!("{CONNECT}SUB {subject} 1\r\nPING\r\n");
    send(socket, &frame(&text)).await?;
    expect(socket, b"PONG").await
}

/// The consumer is what costs a rival least: nothing is acknowledged, and it is neither stored nor replicated.
pub async fn consume(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    stream: &str,
) -> Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let create = json!({
        "stream_name": stream,
        "config": {
            "deliver_subject": format!("deliver.{number}"),
            "deliver_policy": "new",
            "ack_policy": "none",
            "mem_storage": true,
            "num_replicas": 1,
        },
    });
    let create = create.to_string();
    upgrade(socket, "/", (host, "")).await?;
    expect(socket, b"INFO").await?;
    let text = format!(
        "{CONNECT}SUB deliver.{number} 1\r\nSUB answer.{number} 2\r\n\
         PUB $JS.API.CONSUMER.CREATE.{stream} answer.{number} {}\r\n{create}\r\n",
        create.len()
    );
    send(socket, &frame(&text)).await?;
    expect(socket, b"\"created\"").await
}
