//! RFC 6455 sections 5.6 and 8.1; Autobahn group 6.

use highwater_websocket::Violation;

use crate::wire::{BINARY, CONT, End, FIN, PING, TEXT, binary, check, frame, ping, text};

const VALID: &[&str] = &[
    "",
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\u{0}",
    "\u{7F}\u{80}\u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}",
    "\u{D7FF}\u{E000}\u{FFFD}\u{FFFE}\u{1FFFE}\u{10FFFE}",
];

/// Each with the number of bytes after which it can no longer become valid.
const INVALID: &[(&[u8], usize)] = &[
    (b"\x80", 1),
    (b"\xBF", 1),
    (b"a\x80b", 2),
    (b"\xFE", 1),
    (b"\xFF\xFF", 1),
    // Characters that break off.
    (b"\xC2a", 2),
    (b"\xE0\xA0a", 3),
    (b"\xF0\x90\x80a", 4),
    // Overlong forms.
    (b"\xC0\xAF", 1),
    (b"\xC1\xBF", 1),
    (b"\xE0\x80\xAF", 2),
    (b"\xE0\x9F\xBF", 2),
    (b"\xF0\x80\x80\xAF", 2),
    (b"\xF0\x8F\xBF\xBF", 2),
    (b"\xF8\x88\x80\x80\x80", 1),
    (b"\xFC\x84\x80\x80\x80\x80", 1),
    // Surrogates, and what is above the last character.
    (b"\xED\xA0\x80", 2),
    (b"\xED\xBF\xBF", 2),
    (b"\xF4\x90\x80\x80", 2),
    (b"\xF5\x80\x80\x80", 1),
    // The suite's own: valid Greek, a surrogate, ASCII.
    (
        b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited",
        13,
    ),
];

#[test]
fn text_is_cut_anywhere_even_inside_a_character() {
    for case in VALID {
        check(case, &[frame(FIN | TEXT, case)], &[text(case)], End::Open);
        for cut in 0..=case.len() {
            let (head, tail) = case.as_bytes().split_at(cut);
            let frames = [frame(TEXT, head), frame(PING, ""), frame(FIN | CONT, tail)];
            check(case, &frames, &[ping(b""), text(case)], End::Open);
        }
        let mut bytewise = vec![frame(TEXT, "")];
        bytewise.extend(case.bytes().map(|byte| frame(CONT, [byte])));
        bytewise.push(frame(FIN | CONT, ""));
        check(case, &bytewise, &[text(case)], End::Open);
    }
}

#[test]
fn text_fails_at_its_first_invalid_byte() {
    for (case, at) in INVALID {
        let name = format!("{case:x?}");
        let invalid = End::Fails(Violation::Utf8);
        check(&name, &[frame(FIN | TEXT, case)], &[], invalid);
        check(
            &name,
            &[frame(FIN | BINARY, case)],
            &[binary(case)],
            End::Open,
        );
        for fin in [FIN, 0] {
            // The rest of the frame never arrives.
            let mut begun = frame(fin | TEXT, case);
            begun.truncate(6 + at);
            check(&name, &[begun.clone()], &[], invalid);
            begun.truncate(6 + at - 1);
            check(&name, &[begun], &[], End::Open);
            // The rest is in frames that never arrive.
            let fragments = [
                frame(TEXT, &case[..at - 1]),
                frame(CONT, &case[at - 1..*at]),
            ];
            check(&name, &fragments, &[], invalid);
            check(&name, &fragments[..1], &[], End::Open);
        }
    }
}

#[test]
fn text_does_not_end_inside_a_character() {
    for case in [&b"\xC2"[..], b"a\xE1\xBD", b"\xF0\x90\x80", b"\xF4"] {
        let invalid = End::Fails(Violation::Utf8);
        check("whole", &[frame(FIN | TEXT, case)], &[], invalid);
        let fragments = [frame(TEXT, case), frame(FIN | CONT, "")];
        check("fragments", &fragments, &[], invalid);
    }
}
