//! RFC 6455 section 5.5; Autobahn group 2.

use highwater_websocket::{Violation, frame as server};

use crate::wire::{End, FIN, PING, PONG, TEXT, check, frame, ping, pong, text};

#[test]
fn pings_and_pongs_carry_up_to_125_bytes() {
    for payload in [&b""[..], b"Hello", &[0, 0xFF, 0xFE, 0xFD], &[0xFE; 125]] {
        let frames = [frame(PING, payload), frame(PONG, payload)];
        check(
            "payload",
            &frames,
            &[ping(payload), pong(payload)],
            End::Open,
        );
    }
    let too_long = End::Fails(Violation::ControlTooLong);
    check("126 bytes", &[frame(PING, [0xFE; 126])], &[], too_long);
    check("64 KiB", &[frame(PONG, vec![0; 65_536])], &[], too_long);
}

#[test]
fn pings_are_answered_in_order_and_unasked_pongs_are_let_pass() {
    let pings: Vec<_> = (0..10u8).map(|i| frame(PING, [i])).collect();
    let events: Vec<_> = (0..10u8).map(|i| ping(&[i])).collect();
    check("ten pings", &pings, &events, End::Open);
    let unasked = [
        frame(PONG, "unsolicited"),
        frame(PING, "a"),
        frame(FIN | TEXT, "b"),
    ];
    check(
        "pong",
        &unasked,
        &[pong(b"unsolicited"), ping(b"a"), text("b")],
        End::Open,
    );
}

#[test]
fn a_control_frame_is_never_fragmented() {
    for first in [PING, PONG] {
        let fragment = frame(first & !FIN, "a");
        let end = End::Fails(Violation::ControlFragmented);
        check("alone", std::slice::from_ref(&fragment), &[], end);
        check("in a message", &[frame(TEXT, "a"), fragment], &[], end);
    }
}

#[test]
fn control_frames_to_send_are_the_ones_of_the_specification() {
    assert_eq!(server::ping(b"Hello")[..], *b"\x89\x05Hello");
    assert_eq!(server::pong(b"")[..], *b"\x8A\x00");
    assert_eq!(server::close(1000, "")[..], *b"\x88\x02\x03\xE8");
    assert_eq!(server::close_empty()[..], *b"\x88\x00");
    // As many characters as fit: 61 of two bytes.
    let long = server::close(4000, &"ü".repeat(100));
    assert_eq!((long.len(), long[1]), (2 + 2 + 122, 124));
}
