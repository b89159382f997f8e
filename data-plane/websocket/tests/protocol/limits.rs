//! RFC 6455 section 10.4; Autobahn group 9.

use bytes::BytesMut;
use highwater_websocket::{Decoder, Opcode, Role, Violation, deflate::Deflater};

use crate::wire::{
    BINARY, CONT, End, FIN, KEY, PING, TEXT, binary, check, check_as, deflate, frame, ping, text,
};

#[test]
fn a_large_message_comes_in_frames_of_any_size() {
    let message = "*".repeat(1 << 18);
    for size in [64, 256, 1024, 4096, 65_536, 1 << 18] {
        let chunks: Vec<_> = message.as_bytes().chunks(size).collect();
        let frames: Vec<_> = (0..chunks.len())
            .map(|i| {
                let first = if i == 0 { TEXT } else { CONT };
                let fin = if i + 1 == chunks.len() { FIN } else { 0 };
                frame(first | fin, chunks[i])
            })
            .collect();
        check(
            &format!("frames of {size}"),
            &frames,
            &[text(&message)],
            End::Open,
        );
    }
}

#[test]
fn a_message_is_refused_by_its_header() {
    let small = || Decoder::new(Role::Server, 10, None);
    let too_big = End::Fails(Violation::MessageTooBig);
    let header = |first, len| frame(first, vec![0; len])[..6].to_vec();
    let ten = frame(FIN | BINARY, [0; 10]);
    check_as(
        small,
        "at the limit",
        &[ten],
        &[binary(&[0; 10])],
        End::Open,
    );
    check_as(small, "above", &[header(FIN | BINARY, 11)], &[], too_big);
    check_as(small, "first fragment", &[header(BINARY, 11)], &[], too_big);
    let fragments = [frame(BINARY, [0; 6]), frame(PING, [1; 50]), header(CONT, 5)];
    check_as(small, "fragments", &fragments, &[ping(&[1; 50])], too_big);
    let none = || Decoder::new(Role::Server, 0, None);
    check_as(
        none,
        "no bytes",
        &[frame(FIN | TEXT, "")],
        &[text("")],
        End::Open,
    );
    check_as(none, "one byte", &[header(FIN | TEXT, 1)], &[], too_big);
}

#[test]
fn the_limit_can_be_raised_once_the_client_is_known() {
    let mut decoder = Decoder::new(Role::Server, 10, None);
    let mut buf = BytesMut::from(&frame(FIN | BINARY, [0; 10])[..]);
    assert_eq!(decoder.feed(&mut buf), Ok(Some(binary(&[0; 10]))));
    decoder.set_message_bytes_max(100);
    buf.extend_from_slice(&frame(FIN | BINARY, [0; 100]));
    buf.extend_from_slice(&frame(FIN | BINARY, [0; 101]));
    assert_eq!(decoder.feed(&mut buf), Ok(Some(binary(&[0; 100]))));
    assert_eq!(decoder.feed(&mut buf), Err(Violation::MessageTooBig));
    assert_eq!(decoder.feed(&mut buf), Ok(None));
    assert!(buf.is_empty());
}

#[test]
fn a_compressed_message_is_limited_as_sent_and_inflated() {
    let small = |limit| move || Decoder::new(Role::Server, limit, Some(deflate()));
    let message = [b'a'; 1000];
    let sent = Deflater::new(15, 6, 0)
        .masked(Opcode::Binary, &message, KEY)
        .to_vec();
    assert!(sent.len() < 100);
    let frames = [sent];
    check_as(
        small(1000),
        "at the limit",
        &frames,
        &[binary(&message)],
        End::Open,
    );
    let too_big = End::Fails(Violation::MessageTooBig);
    check_as(small(999), "above", &frames, &[], too_big);
    check_as(small(1), "far above", &frames, &[], too_big);
    // Empty stored blocks inflate to nothing, for ever.
    let nothing = frame(FIN | 0x40 | BINARY, [0, 0, 0, 0xFF, 0xFF].repeat(1000));
    check_as(
        small(100),
        "as sent",
        &[nothing[..8].to_vec()],
        &[],
        too_big,
    );
    // Data that does not compress is sent with some bytes more than it has.
    let stored = [&[0, 100, 0, 0x9B, 0xFF][..], &[7; 100], &[0]].concat();
    let frames = [frame(FIN | 0x40 | BINARY, stored)];
    check_as(
        small(100),
        "stored",
        &frames,
        &[binary(&[7; 100])],
        End::Open,
    );
}
