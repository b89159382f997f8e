//! What the tests write frames with, and the one check that they go through.

use bytes::{Bytes, BytesMut};
use highwater_websocket::{
    Agreement, Close, Decoder, Event, Header, Opcode, Policy, Role, Text, Violation,
    negotiation::negotiate,
};

pub const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
pub const LIMIT: usize = 1 << 20;

pub const FIN: u8 = 0x80;
pub const RSV1: u8 = 0x40;
pub const CONT: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = FIN | 0x8;
pub const PING: u8 = FIN | 0x9;
pub const PONG: u8 = FIN | 0xA;

/// How a connection stands after its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Ready for more.
    Open,
    /// By a close frame.
    Closed,
    /// By a violation.
    Fails(Violation),
}

/// A client's frame whose first byte is given.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let header = Header {
        mask: Some(KEY),
        ..Header::of(Opcode::Binary, payload.len())
    };
    let mut frame = header.encode().to_vec();
    frame[0] = first;
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(b, k)| b ^ k));
    frame
}

pub fn text(text: &str) -> Event {
    Event::Text(Text::try_from(Bytes::copy_from_slice(text.as_bytes())).unwrap())
}

pub fn binary(payload: &[u8]) -> Event {
    Event::Binary(Bytes::copy_from_slice(payload))
}

pub fn ping(payload: &[u8]) -> Event {
    Event::Ping(Bytes::copy_from_slice(payload))
}

pub fn pong(payload: &[u8]) -> Event {
    Event::Pong(Bytes::copy_from_slice(payload))
}

pub fn close(code: u16, reason: &str) -> Event {
    let reason = Text::try_from(Bytes::copy_from_slice(reason.as_bytes())).unwrap();
    Event::Close(Some(Close { code, reason }))
}

/// What a server with the default policy agrees on with every browser.
pub fn deflate() -> Agreement {
    agree(
        "permessage-deflate; client_max_window_bits",
        &Policy::default(),
    )
}

/// What a server that allows the client its context agrees on.
pub fn takeover() -> Agreement {
    let policy = Policy {
        client_context_takeover: true,
        ..Policy::default()
    };
    agree("permessage-deflate", &policy)
}

pub fn agree(offer: &str, policy: &Policy) -> Agreement {
    negotiate([offer], policy).unwrap().expect("an agreement")
}

/// All events of an input that arrives in the given pieces.
pub fn decode<'a>(
    mut decoder: Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Event>, End) {
    let (mut events, mut end) = (Vec::new(), End::Open);
    let mut buf = BytesMut::new();
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match decoder.feed(&mut buf) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    assert_eq!(end, End::Open, "an event after the end: {event:?}");
                    if matches!(event, Event::Close(_)) {
                        end = End::Closed;
                    }
                    events.push(event);
                }
                Err(violation) => {
                    assert_eq!(end, End::Open, "a violation after the end: {violation}");
                    end = End::Fails(violation);
                }
            }
        }
    }
    (events, end)
}

/// Decodes the frames at once, byte by byte and in other pieces, always with the same outcome.
#[track_caller]
pub fn check_as(
    decoder: impl Fn() -> Decoder,
    case: &str,
    frames: &[Vec<u8>],
    events: &[Event],
    end: End,
) {
    let input = frames.concat();
    for size in [input.len().max(1), 1, 2, 3, 7, 997] {
        // Long inputs byte by byte take long and say no more than a piece of them.
        if input.len() / size > 300_000 {
            continue;
        }
        let decoded = decode(decoder(), input.chunks(size));
        assert!(
            decoded == (events.to_vec(), end),
            "{case}, in pieces of {size}: expected {:.300?} {end:?}, got {:.300?} {:?}",
            events,
            decoded.0,
            decoded.1
        );
    }
}

/// The same for what a client sends without compression.
#[track_caller]
pub fn check(case: &str, frames: &[Vec<u8>], events: &[Event], end: End) {
    check_as(
        || Decoder::new(Role::Server, LIMIT, None),
        case,
        frames,
        events,
        end,
    );
}
