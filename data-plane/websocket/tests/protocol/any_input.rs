//! The invariants of the fuzz target, for inputs that are nearly right, so that they get past the first look.

#[path = "../../fuzz/invariants.rs"]
mod invariants;

use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{splits::any_frame, wire::frame};

/// Frames of a client's with some bytes gone wrong.
fn wrong_frames() -> impl Strategy<Value = Vec<u8>> {
    let wrong = vec((any::<Index>(), any::<u8>()), 0..4);
    (vec(any_frame(), 1..6), wrong).prop_map(|(frames, wrong)| {
        let mut bytes = frames.concat();
        for (at, byte) in wrong {
            // A frame may be nothing at all.
            let len = bytes.len().max(1);
            bytes
                .get_mut(at.index(len))
                .into_iter()
                .for_each(|wrong| *wrong = byte);
        }
        bytes
    })
}

/// Headers of a handshake with words of their own in any order.
fn offers() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "permessage-deflate",
        "client_max_window_bits",
        "server_max_window_bits",
        "client_no_context_takeover",
        "server_no_context_takeover",
        "mqtt",
        "; ",
        ", ",
        "=",
        "8",
        "9",
        "15",
        "\"10\"",
        " ",
        "\u{e9}",
    ]);
    vec(words, 0..12).prop_map(|words| words.concat().into_bytes())
}

fn inputs() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => wrong_frames(),
        2 => offers(),
        2 => vec(any::<u8>(), 0..300),
        1 => (any::<u8>(), vec(any::<u8>(), 0..2_000)).prop_map(|(first, rest)| frame(first, rest)),
    ]
}

/// As many as `WEBSOCKET_CASES` says, for a long run by hand.
fn cases() -> ProptestConfig {
    let cases = std::env::var("WEBSOCKET_CASES").ok();
    let cases = cases.and_then(|cases| cases.parse().ok());
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases.unwrap_or(20_000))
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_input_is_survived(choice in any::<u8>(), input in inputs()) {
        invariants::check(&[&[choice][..], &input].concat());
    }
}
