//! RFC 7692 sections 6 to 8; Autobahn groups 12 and 13.

use flate2::{Compress, Compression, FlushCompress};
use highwater_websocket::{
    Decoder, Deflater, Opcode, Policy, Role, Violation, decoder::FINAL_BLOCKS_MAX,
};

use crate::wire::{
    BINARY, CLOSE, CONT, End, FIN, KEY, LIMIT, PING, PONG, RSV1, TEXT, agree, binary, check_as,
    deflate, frame, ping, takeover, text,
};

fn fresh() -> Decoder {
    Decoder::new(Role::Server, LIMIT, Some(deflate()))
}

fn with_history() -> Decoder {
    Decoder::new(Role::Server, LIMIT, Some(takeover()))
}

/// A compressor that refers back from one message to the next.
struct Context(Compress);

impl Context {
    fn new(window_bits: u8) -> Context {
        Context(Compress::new_with_window_bits(
            Compression::best(),
            false,
            window_bits,
        ))
    }

    fn message(&mut self, payload: &[u8]) -> Vec<u8> {
        self.flush(payload, FlushCompress::Sync)
    }

    fn flush(&mut self, payload: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() * 2 + 100);
        self.0.compress_vec(payload, &mut out, flush).unwrap();
        if out.ends_with(&[0, 0, 0xFF, 0xFF]) {
            out.truncate(out.len() - 4);
        }
        out
    }
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

fn json(len: usize) -> Vec<u8> {
    let records = (0..).map(|i| {
        format!(
            r#"{{"id":{i},"topic":"orders/eu","amount":{}}},"#,
            i * 7919 % 1000
        )
    });
    let mut text: Vec<u8> = records.flat_map(String::into_bytes).take(len).collect();
    text.shrink_to_fit();
    text
}

#[test]
fn the_examples_of_section_7_2_3_inflate() {
    let hello = [text("Hello")];
    let one_block = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    for (case, payload) in [
        ("7.2.3.1, one block", &one_block[..]),
        (
            "7.2.3.3, no compression",
            &[
                0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00,
            ],
        ),
        (
            "7.2.3.4, final block",
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
        ),
        (
            "7.2.3.5, two blocks",
            &[
                0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00,
            ],
        ),
        (
            "final block without its octet",
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00],
        ),
    ] {
        let whole = [frame(FIN | RSV1 | TEXT, payload)];
        check_as(fresh, case, &whole, &hello, End::Open);
        for cut in 0..=payload.len() {
            let frames = [
                frame(RSV1 | TEXT, &payload[..cut]),
                frame(PING, "p"),
                frame(FIN | CONT, &payload[cut..]),
            ];
            check_as(
                fresh,
                case,
                &frames,
                &[ping(b"p"), text("Hello")],
                End::Open,
            );
        }
    }
    let unmasked = vec![0xC1, 0x07, 0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let client = || Decoder::new(Role::Client, LIMIT, Some(deflate()));
    check_as(
        client,
        "7.2.3.1, from a server",
        &[unmasked],
        &hello,
        End::Open,
    );
    // 7.2.3.2: the second message refers to the first.
    let frames = [
        frame(FIN | RSV1 | TEXT, one_block),
        frame(FIN | RSV1 | TEXT, [0xF2, 0x00, 0x11, 0x00, 0x00]),
    ];
    let twice = [text("Hello"), text("Hello")];
    check_as(
        with_history,
        "7.2.3.2, shared window",
        &frames,
        &twice,
        End::Open,
    );
    check_as(
        fresh,
        "7.2.3.2, without",
        &frames,
        &hello,
        End::Fails(Violation::Inflate),
    );
}

#[test]
fn an_empty_message_is_compressed_or_not() {
    for payload in [
        &[][..],
        &[0x00],
        &[0x02, 0x00],
        &[0x03, 0x00, 0x00],
        &[0x03, 0x00],
    ] {
        let frames = [frame(FIN | RSV1 | TEXT, payload), frame(FIN | TEXT, "")];
        check_as(fresh, "7.2.3.6", &frames, &[text(""), text("")], End::Open);
    }
    let fragments = [
        frame(RSV1 | BINARY, ""),
        frame(CONT, ""),
        frame(FIN | CONT, ""),
    ];
    check_as(fresh, "fragments", &fragments, &[binary(b"")], End::Open);
}

#[test]
fn each_message_is_compressed_or_not() {
    let compressed =
        |text: &str| frame(FIN | RSV1 | TEXT, Context::new(15).message(text.as_bytes()));
    let frames = [
        frame(FIN | TEXT, "plain"),
        compressed("small"),
        frame(FIN | TEXT, "plain"),
    ];
    let events = [text("plain"), text("small"), text("plain")];
    check_as(fresh, "mixed", &frames, &events, End::Open);
}

#[test]
fn rsv1_is_set_on_the_first_frame_of_a_message_only() {
    let payload = Context::new(15).message(b"Hello");
    let (head, tail) = payload.split_at(3);
    let end = End::Fails(Violation::ReservedBit);
    let on_both = [frame(RSV1 | TEXT, head), frame(FIN | RSV1 | CONT, tail)];
    check_as(fresh, "on both", &on_both, &[], end);
    let on_second = [frame(BINARY, head), frame(FIN | RSV1 | CONT, tail)];
    check_as(fresh, "on the second", &on_second, &[], end);
    for control in [CLOSE, PING, PONG] {
        check_as(fresh, "control", &[frame(RSV1 | control, "")], &[], end);
    }
    for bits in [0x10, 0x20, 0x50, 0x60] {
        check_as(
            fresh,
            "others",
            &[frame(FIN | bits | TEXT, &payload)],
            &[],
            end,
        );
    }
}

#[test]
fn what_is_no_complete_deflate_stream_fails() {
    let whole = Context::new(15).message(&json(2_000));
    let mut cases: Vec<Vec<u8>> = vec![
        vec![0xFF; 10],
        vec![0x06],
        vec![0x07, 0x00],
        // A stored block whose length does not match its complement, or breaks off.
        vec![0x00, 0x05, 0x00, 0xFA, 0xFE, 0x48],
        vec![0x00, 0x09, 0x00, 0xF6, 0xFF, 0x48],
        // A distance beyond the beginning.
        vec![0xF2, 0x00, 0x11, 0x00, 0x00],
    ];
    cases.extend([1, 2, 10, whole.len() / 2, whole.len() - 2].map(|len| whole[..len].to_vec()));
    for payload in cases {
        let frames = [frame(FIN | RSV1 | BINARY, &payload)];
        let case = format!("{payload:.40x?}");
        check_as(fresh, &case, &frames, &[], End::Fails(Violation::Inflate));
    }
}

#[test]
fn messages_of_every_kind_and_size_round_trip() {
    for len in [
        0, 1, 16, 64, 127, 128, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072,
    ] {
        for payload in [json(len), noise(len), vec![0; len]] {
            for (bits, level) in [(9, 1), (12, 6), (15, 9), (0, 0), (15, 2), (99, 99)] {
                let mut deflater = Deflater::new(bits, level, 0);
                let shared = deflater.shared(Opcode::Binary, &payload);
                assert!(
                    shared.len() <= payload.len() + 10,
                    "never larger than plain"
                );
                let events = [binary(&payload), binary(&payload)];
                let case = format!("{len} bytes, window {bits}");
                let twice = [
                    shared.to_vec(),
                    deflater.shared(Opcode::Binary, &payload).to_vec(),
                ];
                let client = || Decoder::new(Role::Client, LIMIT, Some(deflate()));
                check_as(client, &case, &twice[..], &events, End::Open);
                let masked = [deflater.masked(Opcode::Binary, &payload, KEY).to_vec()];
                check_as(fresh, &case, &masked, &events[..1], End::Open);
            }
        }
    }
}

#[test]
fn a_message_that_gains_nothing_is_left_alone() {
    let mut deflater = Deflater::new(15, 6, 128);
    let first_byte = |frame: bytes::Bytes| frame[0];
    assert_eq!(
        first_byte(deflater.shared(Opcode::Text, &[b'a'; 127])),
        0x81
    );
    assert_eq!(
        first_byte(deflater.shared(Opcode::Text, &[b'a'; 128])),
        0xC1
    );
    assert_eq!(
        first_byte(deflater.shared(Opcode::Binary, &noise(4096))),
        0x82
    );
    // A compressor that gave up starts afresh.
    assert_eq!(
        first_byte(deflater.shared(Opcode::Text, &[b'a'; 128])),
        0xC1
    );
}

#[test]
fn a_context_lasts_from_message_to_message() {
    for bits in [9, 10, 12, 15] {
        let policy = Policy {
            client_context_takeover: true,
            client_window_bits_max: bits,
            ..Policy::default()
        };
        let agreement = agree("permessage-deflate; client_max_window_bits", &policy);
        let decoder = || Decoder::new(Role::Server, LIMIT, Some(agreement));
        let mut context = Context::new(bits);
        let (mut frames, mut events) = (Vec::new(), Vec::new());
        for len in [
            10, 300, 300, 0, 5_000, 1, 40_000, 40_000, 300, 100_000, 20, 20_000, 20_000,
        ] {
            for payload in [json(len), noise(len.min(9_000))] {
                frames.push(frame(FIN | RSV1 | BINARY, context.message(&payload)));
                events.push(binary(&payload));
                // Plain messages and control frames leave it alone.
                frames.extend([frame(PING, "p"), frame(FIN | TEXT, "plain")]);
                events.extend([ping(b"p"), text("plain")]);
            }
        }
        check_as(
            decoder,
            &format!("window {bits}"),
            &frames,
            &events,
            End::Open,
        );
    }
}

#[test]
fn a_final_block_does_not_end_the_context() {
    // The second message repeats the first, which ended with a final block; the last one has a final
    // block in the middle and refers back across it, and to the messages before.
    let unit = noise(2_000);
    let mut first = Context::new(15).flush(&unit, FlushCompress::Finish);
    first.push(0);
    let refer = |before: &[u8], payload: &[u8], flush| {
        let mut context = Context::new(15);
        context.0.set_dictionary(before).unwrap();
        context.flush(payload, flush)
    };
    let second = refer(&unit, &unit, FlushCompress::Sync);
    let twice = [&unit[..], &unit].concat();
    let half = noise(3_000);
    let mut third = refer(&twice, &half, FlushCompress::Finish);
    third.extend(refer(
        &[&twice[..], &half].concat(),
        &[&half[..], &unit].concat(),
        FlushCompress::Sync,
    ));
    assert!(second.len() < 100 && third.len() < 3_200, "they refer back");
    let frames = [first, second, third].map(|payload| frame(FIN | RSV1 | BINARY, payload));
    let last = [&half[..], &half, &unit].concat();
    let events = [binary(&unit), binary(&unit), binary(&last)];
    check_as(with_history, "final blocks", &frames, &events, End::Open);
}

#[test]
fn the_number_of_final_blocks_is_limited() {
    let empty_final_blocks = |count| [0x03, 0x00].repeat(count);
    let limit = FINAL_BLOCKS_MAX as usize;
    let frames = [frame(FIN | RSV1 | BINARY, empty_final_blocks(limit + 1))];
    check_as(fresh, "at the limit", &frames, &[binary(b"")], End::Open);
    let frames = [frame(FIN | RSV1 | BINARY, empty_final_blocks(limit + 2))];
    check_as(
        fresh,
        "above",
        &frames,
        &[],
        End::Fails(Violation::TooManyFinalBlocks),
    );
}

#[test]
fn compressed_text_is_validated_once_inflated() {
    let compressed = |payload: &[u8]| Context::new(15).message(payload);
    let valid = "κόσμε ".repeat(200);
    let payload = compressed(valid.as_bytes());
    for size in [1, 5, 64] {
        let mut frames = vec![frame(RSV1 | TEXT, "")];
        frames.extend(payload.chunks(size).map(|piece| frame(CONT, piece)));
        frames.push(frame(FIN | CONT, ""));
        check_as(fresh, "valid", &frames, &[text(&valid)], End::Open);
    }
    for invalid in [&b"\xED\xA0\x80"[..], b"ab\xC2", b"\xFF"] {
        let mut whole = valid.clone().into_bytes();
        whole.extend(invalid);
        let frames = [frame(FIN | RSV1 | TEXT, compressed(&whole))];
        check_as(fresh, "invalid", &frames, &[], End::Fails(Violation::Utf8));
        let binary_frames = [frame(FIN | RSV1 | BINARY, compressed(&whole))];
        check_as(
            fresh,
            "binary",
            &binary_frames,
            &[binary(&whole)],
            End::Open,
        );
    }
    // The invalid byte comes first, then the broken stream or the byte too many.
    let broken = [&[0x00, 0x01, 0x00, 0xFE, 0xFF, 0xFF][..], &[0xFF; 20]].concat();
    let frames = [frame(FIN | RSV1 | TEXT, &broken)];
    check_as(fresh, "both", &frames, &[], End::Fails(Violation::Utf8));
}
