//! RFC 6455 section 9.1; RFC 7692 sections 5 and 7.1; Autobahn group 13's parameters.

use highwater_websocket::{
    Agreement, Policy,
    negotiation::{OFFER, negotiate},
};

const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The response to an offer: with these parameters beside the two that are always there, or none.
#[track_caller]
fn check(policy: &Policy, offer: &str, expected: Option<&str>) {
    let response = negotiate([offer], policy)
        .unwrap_or_else(|e| panic!("{offer}: {e}"))
        .map(|agreement| agreement.response());
    let expected = expected.map(|parameters| format!("{BOTH}{parameters}"));
    assert_eq!(response, expected, "{offer}");
}

#[test]
fn browsers_get_compression_without_context() {
    let policy = Policy::default();
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate;client_max_window_bits=15",
        "permessage-deflate; client_max_window_bits=\"15\"",
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        " permessage-deflate ; server_no_context_takeover ",
        OFFER,
    ] {
        check(&policy, offer, Some(""));
    }
    check(
        &policy,
        "permessage-deflate; server_max_window_bits=15",
        Some("; server_max_window_bits=15"),
    );
    check(
        &policy,
        "permessage-deflate; client_max_window_bits=10",
        Some("; client_max_window_bits=10"),
    );
    check(
        &policy,
        "permessage-deflate; client_max_window_bits=\"1\\0\"",
        Some("; client_max_window_bits=10"),
    );
    check(
        &policy,
        "permessage-deflate; client_max_window_bits=8",
        Some("; client_max_window_bits=8"),
    );
}

#[test]
fn an_offer_with_a_parameter_that_cannot_be_is_declined() {
    for parameters in [
        "unknown",
        "unknown=1",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=015",
        "server_max_window_bits=+9",
        "server_max_window_bits=1",
        "server_max_window_bits=150",
        "server_max_window_bits=15; server_max_window_bits=15",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=1x",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits; client_max_window_bits=15",
        "Server_no_context_takeover",
    ] {
        let offer = format!("permessage-deflate; {parameters}");
        check(&Policy::default(), &offer, None);
        let second = format!("{offer}, permessage-deflate; client_max_window_bits");
        check(&Policy::default(), &second, Some(""));
    }
}

#[test]
fn the_first_offer_that_can_be_accepted_is() {
    let policy = Policy::default();
    check(&policy, "", None);
    check(&policy, " , ,", None);
    check(&policy, "x-webkit-deflate-frame, Permessage-Deflate", None);
    check(&policy, "x; a=\"b\"; c, permessage-deflate", Some(""));
    let offers = [
        "permessage-deflate; server_max_window_bits=10, x",
        "permessage-deflate; client_max_window_bits=9, permessage-deflate",
    ];
    let agreement = negotiate(offers, &policy).unwrap().unwrap();
    assert_eq!(
        agreement.response(),
        format!("{BOTH}; client_max_window_bits=9")
    );
}

#[test]
fn a_header_against_the_grammar_is_refused() {
    for header in [
        "permessage-deflate;",
        "permessage-deflate; ",
        "permessage-deflate;; client_max_window_bits",
        ";",
        "=",
        "a b",
        "permessage-deflate; =8",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; client_max_window_bits=\"\"",
        "permessage-deflate; client_max_window_bits=\"8",
        "permessage-deflate; client_max_window_bits=8\"",
        "permessage-deflate; client_max_window_bits=\"8\\\"",
        "permessage-deflate; client_max_window_bits=\"8 \"",
        "permessage-deflate; client_max_window_bits=\"8\"x",
        "permessage-deflate, ü",
        "permessage-deflate, a; b=\"c,d\"",
    ] {
        assert!(negotiate([header], &Policy::default()).is_err(), "{header}");
    }
}

#[test]
fn a_policy_decides_on_windows_and_contexts() {
    let sharing_less = Policy {
        server_window_bits_min: 10,
        ..Policy::default()
    };
    let bits = |bits: u8| format!("permessage-deflate; server_max_window_bits={bits}");
    check(
        &sharing_less,
        &bits(10),
        Some("; server_max_window_bits=10"),
    );
    check(&sharing_less, &bits(9), None);
    // Our compressor cannot keep to the smallest window.
    check(
        &Policy {
            server_window_bits_min: 0,
            ..Policy::default()
        },
        &bits(8),
        None,
    );

    let small = Policy {
        client_window_bits_max: 9,
        ..Policy::default()
    };
    check(&small, "permessage-deflate", Some(""));
    let asked = "permessage-deflate; client_max_window_bits";
    check(&small, asked, Some("; client_max_window_bits=9"));
    check(
        &small,
        &format!("{asked}=12"),
        Some("; client_max_window_bits=9"),
    );
    check(
        &small,
        &format!("{asked}=8"),
        Some("; client_max_window_bits=8"),
    );

    let takeover = Policy {
        client_context_takeover: true,
        ..Policy::default()
    };
    let agreement = negotiate(["permessage-deflate"], &takeover)
        .unwrap()
        .unwrap();
    assert!(agreement.client_context_takeover && !agreement.server_context_takeover);
    assert_eq!(
        agreement.response(),
        "permessage-deflate; server_no_context_takeover"
    );
    check(&takeover, BOTH, Some(""));
}

#[test]
fn a_client_reads_the_response() {
    let read = |header: &str| Agreement::from_response(header);
    assert_eq!(read(""), Ok(None));
    let agreed = negotiate([OFFER], &Policy::default()).unwrap();
    assert_eq!(read(&agreed.unwrap().response()), Ok(agreed));
    let bare = read("permessage-deflate; server_max_window_bits=9")
        .unwrap()
        .unwrap();
    assert!(bare.server_context_takeover && bare.client_context_takeover);
    assert_eq!(
        (bare.server_window_bits(), bare.client_window_bits()),
        (9, 15)
    );
    for header in [
        "x",
        "permessage-deflate; x",
        "permessage-deflate; client_max_window_bits=9",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate, permessage-deflate",
    ] {
        assert!(read(header).is_err(), "{header}");
    }
}
