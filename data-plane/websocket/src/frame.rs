//! Whole frames to send: a server's, encoded once and shared by all receivers, and a client's, masked.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    close,
    header::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Header, Opcode},
    mask,
};

/// A message in one frame, ready to be written to any number of clients.
pub fn shared(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER_BYTES_MAX + payload.len());
    append(&mut frame, opcode, payload);
    frame.freeze()
}

/// Writes a message in one frame behind others, so that a run of messages is one piece of memory and
/// one write.
pub fn append(out: &mut BytesMut, opcode: Opcode, payload: &[u8]) {
    out.put_slice(&Header::of(opcode, payload.len()).encode());
    out.put_slice(payload);
}

/// A client's message in one frame. The key must come from a source of strong randomness
/// (RFC 6455 section 10.3); a load generator may take any.
pub fn masked(opcode: Opcode, payload: &[u8], key: [u8; 4]) -> Bytes {
    masked_as(Header::of(opcode, payload.len()), payload, key)
}

/// A client's frame with the fin and rsv1 bits of the header.
pub(crate) fn masked_as(header: Header, payload: &[u8], key: [u8; 4]) -> Bytes {
    let header = Header {
        mask: Some(key),
        len: payload.len() as u64,
        ..header
    };
    let encoded = header.encode();
    let mut frame = BytesMut::with_capacity(encoded.len() + payload.len());
    frame.put_slice(&encoded);
    frame.put_slice(payload);
    mask::apply(&mut frame[encoded.len()..], key, 0);
    frame.freeze()
}

/// A ping with at most 125 bytes.
pub fn ping(payload: &[u8]) -> Bytes {
    control(Opcode::Ping, payload)
}

/// The answer to a ping with the same payload, or an unasked sign of life.
pub fn pong(payload: &[u8]) -> Bytes {
    control(Opcode::Pong, payload)
}

/// A close frame with a code that may be sent, and a reason of which as many characters are sent as fit.
pub fn close(code: u16, reason: &str) -> Bytes {
    assert!(close::may_be_sent(code), "{code} must not be sent");
    let reason = &reason[..reason.floor_char_boundary(close::REASON_BYTES_MAX)];
    let mut body = Vec::with_capacity(2 + reason.len());
    body.extend_from_slice(&code.to_be_bytes());
    body.extend_from_slice(reason.as_bytes());
    control(Opcode::Close, &body)
}

/// A close frame that gives no reason, not even a code.
pub fn close_empty() -> Bytes {
    control(Opcode::Close, &[])
}

fn control(opcode: Opcode, payload: &[u8]) -> Bytes {
    assert!(
        payload.len() <= CONTROL_BYTES_MAX,
        "a control frame holds at most 125 bytes"
    );
    shared(opcode, payload)
}
