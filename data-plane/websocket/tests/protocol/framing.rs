//! RFC 6455 sections 5.1 to 5.3, 5.6 and 5.7; Autobahn groups 1, 3 and 4.

use bytes::BytesMut;
use highwater_websocket::{Decoder, Event, Header, Opcode, Role, Violation, frame as server, mask};

use crate::wire::{
    BINARY, CLOSE, CONT, End, FIN, KEY, LIMIT, PING, PONG, RSV1, TEXT, binary, check, check_as,
    frame, ping, text,
};

#[test]
fn the_examples_of_section_5_7_decode() {
    let hello_masked = vec![
        0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58,
    ];
    check("masked text", &[hello_masked], &[text("Hello")], End::Open);
    let masked_pong = vec![
        0x8A, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58,
    ];
    check(
        "masked pong",
        &[masked_pong],
        &[Event::Pong("Hello".into())],
        End::Open,
    );

    let client = || Decoder::new(Role::Client, LIMIT, None);
    let hello = vec![0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F];
    check_as(client, "text", &[hello], &[text("Hello")], End::Open);
    let fragmented = [
        vec![0x01, 0x03, 0x48, 0x65, 0x6C],
        vec![0x80, 0x02, 0x6C, 0x6F],
    ];
    check_as(
        client,
        "fragments",
        &fragmented,
        &[text("Hello")],
        End::Open,
    );
    let ping_frame = vec![0x89, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F];
    check_as(client, "ping", &[ping_frame], &[ping(b"Hello")], End::Open);
    for (header, len) in [
        (vec![0x82, 0x7E, 0x01, 0x00], 256),
        (vec![0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
    ] {
        let payload = vec![7; len];
        let frames = [header, payload.clone()];
        check_as(client, "long", &frames, &[binary(&payload)], End::Open);
    }
}

#[test]
fn messages_of_every_length_round_trip_both_ways() {
    for len in [
        0, 1, 7, 8, 9, 125, 126, 127, 128, 65_535, 65_536, 65_537, 131_072,
    ] {
        let payload = "*".repeat(len);
        let case = format!("{len} bytes");
        let from_client = [
            server::masked(Opcode::Text, payload.as_bytes(), KEY).to_vec(),
            server::masked(Opcode::Binary, payload.as_bytes(), [0; 4]).to_vec(),
        ];
        let events = [text(&payload), binary(payload.as_bytes())];
        check(&case, &from_client, &events, End::Open);

        let client = || Decoder::new(Role::Client, LIMIT, None);
        let mut run = BytesMut::new();
        server::append(&mut run, Opcode::Text, payload.as_bytes());
        assert_eq!(run, server::shared(Opcode::Text, payload.as_bytes()));
        server::append(&mut run, Opcode::Binary, payload.as_bytes());
        check_as(client, &case, &[run.to_vec()], &events, End::Open);
    }
}

#[test]
fn a_frame_must_be_masked_exactly_if_a_client_sent_it() {
    let unmasked = || vec![0x81, 0x01, b'a'];
    let masked = || frame(FIN | TEXT, "a");
    let server = || Decoder::new(Role::Server, LIMIT, None);
    let client = || Decoder::new(Role::Client, LIMIT, None);
    let events = [text("a")];
    let not_masked = End::Fails(Violation::NotMasked);
    check_as(
        server,
        "to server",
        &[masked(), unmasked()],
        &events,
        not_masked,
    );
    let is_masked = End::Fails(Violation::Masked);
    check_as(
        client,
        "to client",
        &[unmasked(), masked()],
        &events,
        is_masked,
    );
}

#[test]
fn reserved_bits_fail_the_connection() {
    for bits in 1..8 {
        for first in [FIN | TEXT, FIN | BINARY, TEXT, CLOSE, PING, PONG] {
            let frames = [frame(FIN | TEXT, "a"), frame(first | bits << 4, "b")];
            let end = End::Fails(Violation::ReservedBit);
            check(
                &format!("bits {bits} on {first:#x}"),
                &frames,
                &[text("a")],
                end,
            );
        }
    }
    let continued = [frame(TEXT, "a"), frame(FIN | RSV1 | CONT, "b")];
    check(
        "continuation",
        &continued,
        &[],
        End::Fails(Violation::ReservedBit),
    );
}

#[test]
fn reserved_opcodes_fail_the_connection() {
    for opcode in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        for payload in ["", "payload"] {
            let frames = [
                frame(FIN | TEXT, "a"),
                frame(FIN | opcode, payload),
                frame(PING, ""),
            ];
            let end = End::Fails(Violation::ReservedOpcode);
            check(&format!("opcode {opcode}"), &frames, &[text("a")], end);
        }
    }
}

#[test]
fn a_length_takes_as_few_bytes_as_it_can() {
    let short = |len: u16| [vec![0x82, 0xFE], len.to_be_bytes().to_vec()].concat();
    let long = |len: u64| [vec![0x82, 0xFF], len.to_be_bytes().to_vec()].concat();
    for (header, violation) in [
        (short(0), Violation::LengthNotMinimal),
        (short(125), Violation::LengthNotMinimal),
        (long(0), Violation::LengthNotMinimal),
        (long(125), Violation::LengthNotMinimal),
        (long(65_535), Violation::LengthNotMinimal),
        (long(1 << 63), Violation::LengthHighestBit),
        (long(u64::MAX), Violation::LengthHighestBit),
        (
            [long(u64::MAX >> 1), vec![0; 4]].concat(),
            Violation::MessageTooBig,
        ),
    ] {
        check(
            &format!("{header:?}"),
            &[header],
            &[],
            End::Fails(violation),
        );
    }
}

#[test]
fn a_header_decodes_to_what_was_encoded() {
    for len in [0, 125, 126, 65_535, 65_536, u64::MAX >> 1] {
        for mask in [None, Some(KEY)] {
            for (opcode, fin, rsv1) in [
                (Opcode::Text, true, true),
                (Opcode::Binary, false, true),
                (Opcode::Continuation, false, false),
                (Opcode::Continuation, true, false),
            ] {
                let header = Header {
                    fin,
                    rsv1,
                    opcode,
                    mask,
                    len,
                };
                let encoded = header.encode();
                let decoded = Header::decode(&encoded).unwrap();
                assert_eq!(decoded, Some((header, encoded.len())));
                for shorter in 0..encoded.len() {
                    assert_eq!(Header::decode(&encoded[..shorter]), Ok(None));
                }
            }
        }
    }
}

#[test]
fn the_mask_repeats_every_four_bytes_from_wherever_a_piece_begins() {
    let payload: Vec<u8> = (0..100).collect();
    let expected: Vec<u8> = (0..100).map(|i| payload[i] ^ KEY[i % 4]).collect();
    for from in 0..20 {
        for to in from..100 {
            let mut piece = payload[from..to].to_vec();
            mask::apply(&mut piece, KEY, from);
            assert_eq!(piece, expected[from..to], "{from}..{to}");
        }
    }
}

#[test]
fn a_whole_frame_is_not_copied() {
    let mut buf = BytesMut::from(&frame(FIN | BINARY, [1; 500])[..]);
    let payload_at = buf[8..].as_ptr();
    let mut decoder = Decoder::new(Role::Server, LIMIT, None);
    let Ok(Some(Event::Binary(payload))) = decoder.feed(&mut buf) else {
        panic!("expected a message");
    };
    assert_eq!((payload.as_ptr(), payload.len()), (payload_at, 500));
    assert!(decoder.is_idle() && buf.is_empty());
}

#[test]
fn a_reader_learns_how_much_a_frame_still_lacks() {
    for (fin, whole) in [(FIN, true), (0, false)] {
        let input = frame(fin | BINARY, [1; 500]);
        let mut decoder = Decoder::new(Role::Server, LIMIT, None);
        let mut buf = BytesMut::from(&input[..108]);
        assert_eq!(decoder.feed(&mut buf), Ok(None));
        assert_eq!(
            (decoder.missing_bytes(&buf), buf.len()),
            (400, if whole { 100 } else { 0 })
        );
        assert!(!decoder.is_idle());
    }
}
