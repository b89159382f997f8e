//! Who a client is: at CONNECT, renewed by AUTH, and when its key ends (sections 3.1.3.5, 3.15 and 4.12).

use highwater_mqtt::{
    Packet, Qos, ReasonCode, Text, Version,
    packet::{Auth, Authentication, Connect},
};

use super::peer::{Peer, VERSIONS, connect, payload, subscription, text};
use crate::stage::Stage;

const METHOD: &str = "highwater";

fn secret(key: &str) -> highwater_mqtt::Binary {
    bytes::Bytes::copy_from_slice(key.as_bytes())
        .try_into()
        .unwrap()
}

/// The credential as the data of a method of enhanced authentication.
fn with_method(stage: &Stage, method: &str) -> Connect {
    let mut connect = Connect::new(Version::V5, text("enhanced"));
    connect.properties.authentication = Some(Authentication {
        method: text(method),
        data: Some(secret(&stage.key)),
    });
    connect
}

#[tokio::test]
async fn a_client_without_a_valid_credential_is_turned_away() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let check = async |change: &dyn Fn(&mut Connect), expected: ReasonCode, what: &str| {
            let mut connect = connect(&stage, version, "");
            change(&mut connect);
            let (mut peer, answer) = Peer::with(&stage, connect).await;
            assert_eq!(answer.reason, expected, "{version}: {what}");
            if expected != ReasonCode::Success {
                assert!(!answer.session_present);
                assert_eq!(peer.try_next().await, None);
            }
        };
        let wrong = ReasonCode::BadUserNameOrPassword;
        check(&|_| {}, ReasonCode::Success, "right").await;
        check(
            &|c| c.username = Some(text("")),
            ReasonCode::Success,
            "any name",
        )
        .await;
        check(&|c| c.password = Some(secret("hw_no_key")), wrong, "no key").await;
        check(&|c| c.password = Some(secret("")), wrong, "empty").await;
        check(
            &|c| c.password = Some(secret(&"x".repeat(60_000))),
            wrong,
            "long",
        )
        .await;
        let not_utf8 = |c: &mut Connect| {
            c.password = Some(bytes::Bytes::from_static(&[0xFF, 0xFE]).try_into().unwrap());
        };
        check(&not_utf8, wrong, "not UTF-8").await;
        check(&|c| c.password = None, wrong, "a name alone").await;
        let nothing = |c: &mut Connect| (c.username, c.password) = (None, None);
        check(&nothing, wrong, "nothing").await;
        if version == Version::V5 {
            check(
                &|c| c.username = None,
                ReasonCode::Success,
                "a password alone",
            )
            .await;
        }
    }
}

#[tokio::test]
async fn a_credential_may_be_the_data_of_our_own_method_and_of_no_other() {
    let stage = Stage::open().await;
    let (mut peer, answer) = Peer::with(&stage, with_method(&stage, METHOD)).await;
    assert_eq!(answer.reason, ReasonCode::Success);
    let said = answer.properties.authentication.unwrap();
    assert_eq!((said.method.as_str(), said.data), (METHOD, None));
    peer.silent().await;
    for method in ["", "SCRAM-SHA-256", "Highwater"] {
        let (mut peer, answer) = Peer::with(&stage, with_method(&stage, method)).await;
        assert_eq!(answer.reason, ReasonCode::BadAuthenticationMethod);
        assert_eq!(peer.try_next().await, None);
    }
}

fn renewal(method: &str, key: &str) -> Packet {
    let method = Text::try_from(method).unwrap();
    Packet::Auth(Auth::new(
        ReasonCode::ReAuthenticate,
        method,
        Some(secret(key)),
    ))
}

#[tokio::test]
async fn a_credential_is_renewed_without_a_gap() {
    let stage = Stage::open().await;
    let (mut peer, _) = Peer::with(&stage, with_method(&stage, METHOD)).await;
    peer.subscribe(vec![subscription("a/b", Qos::AtMostOnce)])
        .await;
    let answer = peer.ask(renewal(METHOD, &stage.narrow_key)).await;
    let done = Auth::new(ReasonCode::Success, text(METHOD), None);
    assert_eq!(answer, Packet::Auth(done));
    stage.publish("a/b", "still there").await;
    assert_eq!(payload(&peer.message().await), "still there");
    // What the new one does not allow, it does not allow.
    let refused = peer
        .subscribe(vec![subscription("c", Qos::AtMostOnce)])
        .await;
    assert_eq!(refused, [ReasonCode::NotAuthorized]);
}

#[tokio::test]
async fn a_renewal_that_is_none_ends_the_connection() {
    let stage = Stage::open().await;
    for (method, key, expected) in [
        (METHOD, "hw_no_key", ReasonCode::NotAuthorized),
        (METHOD, &stage.strangers_key, ReasonCode::NotAuthorized),
        ("another", &stage.key, ReasonCode::ProtocolError),
    ] {
        let (mut peer, _) = Peer::with(&stage, with_method(&stage, METHOD)).await;
        peer.send(renewal(method, key)).await;
        peer.ended(expected).await;
    }
    // Nobody renews what was not begun (MQTT-4.12.1-1).
    let mut peer = Peer::open(&stage, Version::V5).await;
    peer.send(renewal(METHOD, &stage.key)).await;
    peer.ended(ReasonCode::ProtocolError).await;
    // Nor is there a step to go on with.
    let (mut peer, _) = Peer::with(&stage, with_method(&stage, METHOD)).await;
    let step = Auth::new(ReasonCode::ContinueAuthentication, text(METHOD), None);
    peer.send(Packet::Auth(step)).await;
    peer.ended(ReasonCode::ProtocolError).await;
    // 3.1.1 has no AUTH.
    let mut peer = Peer::open(&stage, Version::V3_1_1).await;
    peer.send_bytes(&[0xF0, 0]).await;
    peer.ended(ReasonCode::MalformedPacket).await;
}

#[tokio::test]
async fn a_narrower_credential_ends_what_it_does_not_allow() {
    let stage = Stage::open().await;
    let (mut peer, _) = Peer::with(&stage, with_method(&stage, METHOD)).await;
    peer.subscribe(vec![subscription("c", Qos::AtMostOnce)])
        .await;
    peer.send(renewal(METHOD, &stage.narrow_key)).await;
    peer.ended(ReasonCode::NotAuthorized).await;
}

#[tokio::test]
async fn a_key_that_is_taken_away_takes_its_connections_along() {
    let stage = Stage::open().await;
    let mut peers = Vec::new();
    for version in VERSIONS {
        peers.push(Peer::open(&stage, version).await);
    }
    stage.revoke_keys();
    for peer in &mut peers {
        peer.ended(ReasonCode::NotAuthorized).await;
    }
    let (_, answer) = Peer::with(&stage, connect(&stage, Version::V5, "")).await;
    assert_eq!(answer.reason, ReasonCode::BadUserNameOrPassword);
}

#[tokio::test]
async fn a_key_that_expires_ends_its_connections_unless_it_is_renewed() {
    let stage = Stage::ticking().await;
    let end_ms = stage.expire_key_in(1_000);
    let (mut renewed, _) = Peer::with(&stage, with_method(&stage, METHOD)).await;
    let answer = renewed.ask(renewal(METHOD, &stage.narrow_key)).await;
    assert!(matches!(answer, Packet::Auth(_)));
    let mut peers = Vec::new();
    for version in VERSIONS {
        peers.push(Peer::open(&stage, version).await);
    }
    for peer in &mut peers {
        peer.ended(ReasonCode::NotAuthorized).await;
    }
    assert!((stage.clock)() >= end_ms);
    renewed.silent().await;
}
