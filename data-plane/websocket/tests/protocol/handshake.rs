//! RFC 6455 sections 4.1, 4.2 and 11.3; RFC 8441 section 5.

use highwater_websocket::{
    Policy,
    handshake::{Answer, Opening, Refusal, Request, accept_key, answer, check_key, key},
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

const UPGRADE: Opening = Opening::Upgrade {
    method: "GET",
    upgrade: &["websocket"],
    connection: &["Upgrade"],
    key: Some(KEY),
};

const REQUEST: Request = Request {
    opening: UPGRADE,
    version: Some("13"),
    subprotocols: &[],
    extensions: &[],
};

fn check(request: Request, expected: Result<(), Refusal>) {
    let answered = answer(&request, &[], &Policy::default());
    assert_eq!(answered.map(|_| ()), expected, "{request:?}");
}

#[test]
fn the_example_of_section_1_3_is_answered() {
    let request = Request {
        subprotocols: &["chat, superchat"],
        ..REQUEST
    };
    let answered = answer(&request, &["superchat", "chat"], &Policy::default());
    let expected = Answer {
        accept: Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into()),
        subprotocol: Some("chat"),
        agreement: None,
    };
    assert_eq!(answered, Ok(expected));
    assert_eq!(accept_key(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(key(*b"the sample nonce"), KEY);
}

#[test]
fn a_request_asks_for_an_upgrade_of_a_get() {
    let opening = |method, upgrade, connection| Request {
        opening: Opening::Upgrade {
            method,
            upgrade,
            connection,
            key: Some(KEY),
        },
        ..REQUEST
    };
    let asked = &["Upgrade"][..];
    check(
        opening("GET", &["WebSocket"], &["keep-alive, uPgRaDe"]),
        Ok(()),
    );
    check(
        opening("GET", &["h2c", "websocket"], &["keep-alive", "upgrade"]),
        Ok(()),
    );
    check(opening("POST", &["websocket"], asked), Err(Refusal::Method));
    check(opening("GET", &[], asked), Err(Refusal::Upgrade));
    check(
        opening("GET", &["websockets"], asked),
        Err(Refusal::Upgrade),
    );
    check(
        opening("GET", &["websocket"], &["close"]),
        Err(Refusal::Upgrade),
    );
    check(opening("GET", &["websocket"], &[]), Err(Refusal::Upgrade));
}

#[test]
fn a_key_is_sixteen_bytes() {
    for valid in [KEY, "AAAAAAAAAAAAAAAAAAAAAA==", "//////////////////////=="] {
        assert_eq!(check_key(valid), Ok(()), "{valid}");
    }
    for invalid in [
        "",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ== ",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZSE=",
        "dGhlIHNhbXBsZSBub25jZSEh",
        "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25j_Q==",
        "ünïcödé",
    ] {
        assert_eq!(check_key(invalid), Err(Refusal::Key), "{invalid}");
    }
    let without = Opening::Upgrade {
        method: "GET",
        upgrade: &["websocket"],
        connection: &["upgrade"],
        key: None,
    };
    check(
        Request {
            opening: without,
            ..REQUEST
        },
        Err(Refusal::Key),
    );
}

#[test]
fn only_version_13_is_spoken() {
    for version in [None, Some("8"), Some("013"), Some("13, 8"), Some("")] {
        check(Request { version, ..REQUEST }, Err(Refusal::Version));
    }
    assert_eq!(Refusal::Version.status(), 426);
}

#[test]
fn a_request_over_http_2_has_no_key_to_accept() {
    let request = Request {
        opening: Opening::ExtendedConnect,
        ..REQUEST
    };
    let answered = answer(&request, &[], &Policy::default()).unwrap();
    assert_eq!(answered.accept, None);
}

#[test]
fn the_client_s_first_choice_that_is_spoken_is_chosen() {
    let spoken = ["mqtt", "highwater.v1"];
    for (offered, expected) in [
        (&[][..], Ok(None)),
        (&["other"], Ok(None)),
        (&["MQTT"], Ok(None)),
        (&["highwater.v1,mqtt"], Ok(Some("highwater.v1"))),
        (&["other , mqtt", "highwater.v1"], Ok(Some("mqtt"))),
        (&["mqtt,, "], Ok(Some("mqtt"))),
        (&["mqtt, a b"], Err(Refusal::Subprotocol)),
        (&["a/b"], Err(Refusal::Subprotocol)),
        (&["mqtt, \"quoted\""], Err(Refusal::Subprotocol)),
    ] {
        let request = Request {
            subprotocols: offered,
            ..REQUEST
        };
        let answered = answer(&request, &spoken, &Policy::default());
        assert_eq!(answered.map(|a| a.subprotocol), expected, "{offered:?}");
    }
}

#[test]
fn extensions_are_answered_or_refused() {
    let offer = Request {
        extensions: &["x-unknown", "permessage-deflate"],
        ..REQUEST
    };
    let answered = answer(&offer, &[], &Policy::default()).unwrap();
    assert!(answered.agreement.is_some());
    let malformed = Request {
        extensions: &["permessage-deflate;"],
        ..REQUEST
    };
    let refusal = answer(&malformed, &[], &Policy::default()).unwrap_err();
    assert_eq!(
        (refusal.status(), refusal.to_string().as_str()),
        (400, "sec-websocket-extensions is malformed")
    );
}
