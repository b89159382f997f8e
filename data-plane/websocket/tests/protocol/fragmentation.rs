//! RFC 6455 section 5.4; Autobahn group 5.

use highwater_websocket::{Violation, decoder::FRAGMENTS_MAX};

use crate::wire::{
    BINARY, CONT, End, FIN, PING, PONG, TEXT, binary, check, close, frame, ping, pong, text,
};

#[test]
fn fragments_make_one_message() {
    let two = [frame(TEXT, "frag"), frame(FIN | CONT, "ment")];
    check("two", &two, &[text("fragment")], End::Open);
    let five = [
        frame(BINARY, "a"),
        frame(CONT, ""),
        frame(CONT, "bc"),
        frame(CONT, "d"),
        frame(FIN | CONT, ""),
    ];
    check("five", &five, &[binary(b"abcd")], End::Open);
    let empty = [frame(TEXT, ""), frame(CONT, ""), frame(FIN | CONT, "")];
    check("empty", &empty, &[text("")], End::Open);
    let twice = [two.concat(), two.concat()];
    check(
        "twice",
        &twice,
        &[text("fragment"), text("fragment")],
        End::Open,
    );
}

#[test]
fn control_frames_come_between_fragments() {
    let frames = [
        frame(TEXT, "a"),
        frame(PING, "1"),
        frame(CONT, "b"),
        frame(PONG, "2"),
        frame(PING, "3"),
        frame(FIN | CONT, "c"),
    ];
    let events = [ping(b"1"), pong(b"2"), ping(b"3"), text("abc")];
    check("pings", &frames, &events, End::Open);
    let closed = [
        frame(TEXT, "a"),
        frame(FIN | 8, [3, 232]),
        frame(FIN | CONT, "b"),
    ];
    check("close", &closed, &[close(1000, "")], End::Closed);
}

#[test]
fn fragments_of_two_messages_are_never_mixed() {
    for first in [FIN | CONT, CONT] {
        let nothing = End::Fails(Violation::NothingToContinue);
        check(
            "at once",
            &[frame(first, "a"), frame(FIN | TEXT, "b")],
            &[],
            nothing,
        );
        let after = [frame(FIN | TEXT, "a"), frame(first, "b")];
        check("after a message", &after, &[text("a")], nothing);
        let finished = [frame(TEXT, "a"), frame(FIN | CONT, "b"), frame(first, "c")];
        check("after fragments", &finished, &[text("ab")], nothing);
    }
    for first in [FIN | TEXT, TEXT, FIN | BINARY, BINARY] {
        let end = End::Fails(Violation::MessageUnfinished);
        check("inside", &[frame(TEXT, "a"), frame(first, "b")], &[], end);
    }
}

#[test]
fn the_number_of_fragments_is_limited() {
    let mut frames = vec![frame(TEXT, "a")];
    frames.extend((2..FRAGMENTS_MAX).map(|_| frame(CONT, "")));
    frames.push(frame(FIN | CONT, "b"));
    check("at the limit", &frames, &[text("ab")], End::Open);
    frames.insert(1, frame(CONT, ""));
    check(
        "above",
        &frames,
        &[],
        End::Fails(Violation::TooManyFragments),
    );
}
