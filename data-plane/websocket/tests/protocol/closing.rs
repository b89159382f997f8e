//! RFC 6455 sections 5.5.1 and 7; Autobahn group 7.

use bytes::Bytes;
use highwater_websocket::{Close, Closing, Event, Violation, close as codes, frame as server};

use crate::wire::{CLOSE, CONT, End, FIN, PING, TEXT, check, close, frame, text};

fn body(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_ref()].concat()
}

#[test]
fn nothing_is_read_after_a_close_frame() {
    for after in [
        frame(FIN | TEXT, "b"),
        frame(PING, ""),
        frame(CLOSE, ""),
        vec![0xFF; 100],
    ] {
        let frames = [frame(FIN | TEXT, "a"), frame(CLOSE, body(1000, "")), after];
        check("close", &frames, &[text("a"), close(1000, "")], End::Closed);
    }
    check(
        "in a message",
        &[frame(TEXT, "a"), frame(CLOSE, ""), frame(FIN | CONT, "b")],
        &[Event::Close(None)],
        End::Closed,
    );
}

#[test]
fn a_close_frame_has_no_body_or_a_code_and_a_reason() {
    check(
        "empty",
        &[frame(CLOSE, "")],
        &[Event::Close(None)],
        End::Closed,
    );
    check(
        "half a code",
        &[frame(CLOSE, [3])],
        &[],
        End::Fails(Violation::CloseBody),
    );
    for reason in ["", "Hello World!", &"*".repeat(123)] {
        let frames = [frame(CLOSE, body(1000, reason))];
        check(reason, &frames, &[close(1000, reason)], End::Closed);
    }
    let too_long = [frame(CLOSE, body(1000, "*".repeat(124)))];
    check(
        "126 bytes",
        &too_long,
        &[],
        End::Fails(Violation::ControlTooLong),
    );
    let invalid = [frame(CLOSE, body(1000, b"\xCE\xBA\xED\xA0\x80"))];
    check("reason", &invalid, &[], End::Fails(Violation::Utf8));
}

#[test]
fn a_close_code_is_one_that_may_be_sent() {
    let valid = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    for code in (0..=1100).chain([1999, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65_535]) {
        let frames = [frame(CLOSE, body(code, ""))];
        match valid(code) {
            true => check(&code.to_string(), &frames, &[close(code, "")], End::Closed),
            false => check(
                &code.to_string(),
                &frames,
                &[],
                End::Fails(Violation::CloseCode),
            ),
        }
    }
}

#[test]
fn a_violation_is_answered_with_its_code() {
    for (violation, code) in [
        (Violation::NotMasked, 1002),
        (Violation::ReservedOpcode, 1002),
        (Violation::CloseCode, 1002),
        (Violation::Utf8, 1007),
        (Violation::Inflate, 1007),
        (Violation::MessageTooBig, 1009),
        (Violation::TooManyFragments, 1009),
        (Violation::TooManyFinalBlocks, 1009),
    ] {
        let mut closing = Closing::default();
        let answer = closing.on_violation(violation).unwrap();
        assert_eq!(answer[2..4], u16::to_be_bytes(code));
        assert_eq!(answer[4..], *violation.to_string().as_bytes());
        assert!(closing.is_closed());
        assert_eq!(closing.on_violation(violation), None);
    }
}

#[test]
fn each_side_sends_one_close_frame() {
    let normal = Close {
        code: codes::NORMAL,
        reason: Bytes::from_static(b"bye").try_into().unwrap(),
    };
    let mut theirs = Closing::default();
    assert!(theirs.is_open());
    assert_eq!(
        theirs.on_close(Some(&normal)),
        Some(server::close(1000, ""))
    );
    assert!(theirs.is_closed() && !theirs.is_open());
    assert_eq!(theirs.start(codes::GOING_AWAY, ""), None);
    assert!(theirs.is_closed());

    let mut without_code = Closing::default();
    assert_eq!(without_code.on_close(None), Some(server::close_empty()));

    let mut ours = Closing::default();
    assert_eq!(
        ours.start(1001, "drain"),
        Some(server::close(1001, "drain"))
    );
    assert!(!ours.is_open() && !ours.is_closed());
    assert_eq!(ours.start(1001, "again"), None);
    assert_eq!(ours.on_close(Some(&normal)), None);
    assert!(ours.is_closed());

    let mut broken = Closing::default();
    broken.start(codes::NORMAL, "");
    assert_eq!(broken.on_violation(Violation::Utf8), None);
    assert!(broken.is_closed());
}
