//! Properties: the split of the input does not matter, and no input panics or is hoarded.

use bytes::BytesMut;
use highwater_websocket::{Agreement, Decoder, Deflater, Event, Opcode, Role, frame as server};
use proptest::{collection::vec, prelude::*};

use crate::wire::{
    BINARY, CLOSE, CONT, End, FIN, KEY, PING, PONG, RSV1, TEXT, binary, decode, deflate, frame,
    takeover, text,
};

const SMALL: usize = 2_000;

fn agreements() -> impl Strategy<Value = Option<Agreement>> {
    prop_oneof![Just(None), Just(Some(deflate())), Just(Some(takeover()))]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..40),
        "\\PC{0,30}".prop_map(String::into_bytes),
        (any::<u8>(), 0..3_000usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

/// Frames as a client sends them, and some that it should not.
pub fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let usual = prop::sample::select(vec![
        FIN | TEXT,
        FIN | BINARY,
        TEXT,
        BINARY,
        CONT,
        CONT,
        FIN | CONT,
        FIN | CONT,
        PING,
        PONG,
        CLOSE,
    ]);
    let plain = (usual, payload()).prop_map(|(first, payload)| frame(first, payload));
    let deflated = (any::<bool>(), payload()).prop_map(|(is_text, payload)| {
        let opcode = if is_text {
            Opcode::Text
        } else {
            Opcode::Binary
        };
        Deflater::new(15, 6, 0)
            .masked(opcode, &payload, KEY)
            .to_vec()
    });
    let raw_deflate = (
        prop::sample::select(vec![FIN | RSV1 | BINARY, RSV1 | TEXT]),
        payload(),
    )
        .prop_map(|(first, payload)| frame(first, payload));
    prop_oneof![
        8 => plain,
        3 => deflated,
        1 => raw_deflate,
        1 => (any::<u8>(), payload()).prop_map(|(first, payload)| frame(first, payload)),
        1 => vec(any::<u8>(), 0..20),
    ]
}

fn pieces<'a>(input: &'a [u8], sizes: &'a [usize]) -> Vec<&'a [u8]> {
    let mut rest = input;
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(rest.len().min(*size));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_input_gives_the_same_events(
        frames in vec(any_frame(), 0..10),
        sizes in vec(1..200usize, 1..10),
        agreement in agreements(),
    ) {
        let input = frames.concat();
        let decoder = || Decoder::new(Role::Server, SMALL, agreement);
        let whole = decode(decoder(), [&input[..]]);
        prop_assert_eq!(&decode(decoder(), pieces(&input, &sizes)), &whole);
        prop_assert_eq!(&decode(decoder(), input.chunks(1)), &whole);
    }

    #[test]
    fn random_bytes_do_no_harm(
        input in vec(any::<u8>(), 0..300),
        agreement in agreements(),
        role in prop_oneof![Just(Role::Server), Just(Role::Client)],
    ) {
        let mut decoder = Decoder::new(role, 100, agreement);
        let mut buf = BytesMut::from(&input[..]);
        while let Ok(Some(event)) = decoder.feed(&mut buf) {
            let len = match event {
                Event::Text(text) => text.as_bytes().len(),
                Event::Binary(payload) | Event::Ping(payload) | Event::Pong(payload) => payload.len(),
                Event::Close(_) => 0,
            };
            prop_assert!(len <= 125);
        }
    }

    #[test]
    fn what_is_written_is_read(
        payload in payload(),
        key in any::<[u8; 4]>(),
        level in 0..=9u32,
        bits in 9..=15u8,
    ) {
        let mut deflater = Deflater::new(bits, level, 0);
        let (opcode, event) = match str::from_utf8(&payload) {
            Ok(valid) => (Opcode::Text, text(valid)),
            Err(_) => (Opcode::Binary, binary(&payload)),
        };
        let to_server = [
            server::masked(opcode, &payload, key),
            deflater.masked(opcode, &payload, key),
        ].concat();
        let to_client = [
            server::shared(opcode, &payload),
            deflater.shared(opcode, &payload),
        ].concat();
        for (role, input) in [(Role::Server, to_server), (Role::Client, to_client)] {
            let decoder = Decoder::new(role, 3_000, Some(deflate()));
            let expected = (vec![event.clone(), event.clone()], End::Open);
            prop_assert_eq!(decode(decoder, [&input[..]]), expected);
        }
    }
}
