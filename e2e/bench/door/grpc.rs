//! A subscriber of gRPC by hand: one stream of one connection of HTTP/2 (RFC 9113), written without a library that
//! would need more memory than its server.

use anyhow::Result;
use highwater_proto::client::{
    SubscribeRequest,
    subscribe_request::{Request, Start},
};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{expect, send};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATH: &str = "/highwater.client.v1.Highwater/Subscribe";

/// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
/// Flags of frames.
const END_HEADERS: u8 = 4;

pub async fn subscribe(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    (host, key): (&str, &str),
    topic: &str,
) -> Result<()> {
    let start = Start {
        topics: vec![topic.to_owned()],
        ..Start::default()
    };
    let request = SubscribeRequest {
        request: Some(Request::Start(start)),
    };
    let message = request.encode_to_vec();
    // Not compressed, and how long it is.
    let len = u32::try_from(message.len())?.to_be_bytes();
    let data = [&[0], &len[..], &message].concat();
    let bytes = [
        PREFACE,
        &frame(SETTINGS, 0, 0, &[]),
        &frame(HEADERS, END_HEADERS, 1, &headers(host, key)?),
        &frame(DATA, 0, 1, &data),
    ]
    .concat();
    send(socket, &bytes).await?;
    // DATA of the stream, with a message that is not compressed: the receipt.
    expect(socket, &[DATA, 0, 0, 0, 0, 1, 0]).await
}

/// What answers the PING in these bytes, if there is one: a server closes the connection of whoever does not.
pub fn pong(bytes: &[u8]) -> Option<[u8; 17]> {
    const PING: [u8; 9] = [0, 0, 8, 6, 0, 0, 0, 0, 0];
    let ping = bytes.windows(17).find(|window| window.starts_with(&PING))?;
    let mut pong: [u8; 17] = ping.try_into().ok()?;
    // The flag of an answer.
    pong[4] = 1;
    Some(pong)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header fields of the request, without compression (RFC 7541, section 6.2.2): the names are numbers of the
/// static table.
fn headers(host: &str, key: &str) -> Result<Vec<u8>> {
    // POST, by http.
    let mut block = vec![0x83, 0x86];
    let bearer = format!("Bearer {key}");
    for (name, value) in [
        (&[0x04][..], PATH),
        (&[0x01], host),
        (&[0x0F, 16], "application/grpc"),
        (&[0x0F, 8], &bearer),
        (b"\x00\x02te", "trailers"),
    ] {
        block.extend(name);
        block.push(u8::try_from(value.len())?);
        block.extend(value.as_bytes());
    }
    Ok(block)
}
