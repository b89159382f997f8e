//! What must hold for any input, any split of it and any agreement: no panic, no hoarding, the same events; and what
//! we write is read. The fuzz target runs it, and so does a test of the crate.

use bytes::BytesMut;
use highwater_websocket::{
    Agreement, Decoder, Deflater, Event, Header, Opcode, Policy, Role, Violation,
    negotiation::negotiate,
};

const LIMIT: usize = 4_096;

/// The first byte chooses what the others are.
pub fn check(input: &[u8]) {
    let Some((choice, input)) = input.split_first() else {
        return;
    };
    match choice % 8 {
        0 => round_trip(input),
        1 => handshake(input),
        _ => splits(*choice, input),
    }
}

fn agreement(choice: u8) -> Option<Agreement> {
    let policy = Policy {
        client_context_takeover: choice & 0x10 != 0,
        ..Policy::default()
    };
    match choice & 0x20 {
        0 => None,
        _ => negotiate(["permessage-deflate"], &policy).unwrap(),
    }
}

/// The input as it is, or as the payloads of well-formed frames, so that masks do not hide it.
fn splits(choice: u8, input: &[u8]) {
    let framed: Vec<u8> = match choice & 0x40 {
        0 => input.to_vec(),
        _ => input
            .chunks(1 + usize::from(choice))
            .flat_map(as_frame)
            .collect(),
    };
    let agreement = agreement(choice);
    let role = match choice & 0x80 {
        0 => Role::Server,
        _ => Role::Client,
    };
    let decode = |size: usize| {
        let mut decoder = Decoder::new(role, LIMIT, agreement);
        let mut buf = BytesMut::new();
        let mut events: Vec<Result<Event, Violation>> = Vec::new();
        for piece in framed.chunks(size) {
            buf.extend_from_slice(piece);
            while let Some(event) = decoder.feed(&mut buf).transpose() {
                if let Ok(Event::Text(text)) = &event {
                    assert!(text.as_str().len() <= LIMIT);
                }
                if let Ok(Event::Binary(payload)) = &event {
                    assert!(payload.len() <= LIMIT);
                }
                events.push(event);
            }
            assert!(buf.len() <= LIMIT + size);
        }
        events
    };
    let whole = decode(framed.len().max(1));
    assert_eq!(decode(1), whole);
    assert_eq!(decode(1 + usize::from(choice % 50)), whole);
}

/// The first byte of the chunk as it is, the rest as the payload under a mask of zeros or none.
fn as_frame(chunk: &[u8]) -> Vec<u8> {
    let mask = chunk.len().is_multiple_of(2).then_some([0; 4]);
    let header = Header {
        mask,
        ..Header::of(Opcode::Binary, chunk.len() - 1)
    };
    let mut frame = header.encode().to_vec();
    frame[0] = chunk[0];
    frame.extend_from_slice(&chunk[1..]);
    frame
}

fn round_trip(input: &[u8]) {
    let [level, repeat, payload @ ..] = input else {
        return;
    };
    let payload = payload.repeat(usize::from(*repeat) + 1);
    let frame =
        Deflater::new(9 + level % 7, u32::from(level / 7 % 10), 0).shared(Opcode::Binary, &payload);
    let mut decoder = Decoder::new(Role::Client, payload.len(), agreement(0x20));
    let mut buf = BytesMut::from(&frame[..]);
    let event = decoder.feed(&mut buf).unwrap();
    assert_eq!(event, Some(Event::Binary(payload.into())));
}

fn handshake(input: &[u8]) {
    if let Ok(header) = str::from_utf8(input) {
        let _ = Agreement::from_response(header);
        if let Ok(Some(agreement)) = negotiate([header], &Policy::default()) {
            assert!(negotiate([agreement.response().as_str()], &Policy::default()).is_ok());
        }
        let _ = highwater_websocket::handshake::check_key(header);
        let _ = highwater_websocket::handshake::choose_subprotocol(&[header], &["mqtt"]);
    }
}
