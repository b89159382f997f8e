//! CONNECT and CONNACK (MQTT 5.0, sections 3.1 and 3.2).

use std::time::Duration;

use bytes::BytesMut;
use highwater_gateway::Options;
use highwater_mqtt::{
    Packet, Qos, ReasonCode, Version,
    packet::{Connect, connack},
};
use highwater_proto::limits::{
    MQTT_CLIENT_ID_BYTES_MAX, MQTT_KEEP_ALIVE_S_MAX, MQTT_PACKET_BYTES_MAX, MQTT_RECEIVE_MAX,
    MQTT_TOPIC_ALIASES_MAX,
};

use super::peer::{Peer, VERSIONS, connect, subscription, text};
use crate::stage::Stage;

/// A CONNECT of a client named `a` with nothing else in it.
fn bare(protocol: &str, level: u8, flags: u8) -> Vec<u8> {
    let mut body = vec![0, protocol.len() as u8];
    body.extend_from_slice(protocol.as_bytes());
    body.extend_from_slice(&[level, flags, 0, 0]);
    if level == 5 {
        body.push(0);
    }
    body.extend_from_slice(&[0, 1, b'a']);
    [vec![0x10, body.len() as u8], body].concat()
}

/// Sends bytes on a new connection, and expects these and the end.
async fn answered_with(stage: &Stage, bytes: &[u8], expected: &[u8], what: &str) {
    let mut peer = Peer::dial(stage, Version::V5).await;
    peer.send_bytes(bytes).await;
    assert_eq!(peer.rest().await[..], *expected, "{what}");
}

#[tokio::test]
async fn a_protocol_level_that_is_not_spoken_is_answered_in_the_form_its_client_knows() {
    let stage = Stage::open().await;
    let old: &[u8] = &[0x20, 2, 0, 1];
    for (protocol, level) in [("MQTT", 3), ("MQTT", 0), ("MQIsdp", 3), ("MQIsdp", 4)] {
        let what = format!("{protocol} {level}");
        answered_with(&stage, &bare(protocol, level, 2), old, &what).await;
    }
    let mut peer = Peer::dial(&stage, Version::V5).await;
    peer.send_bytes(&bare("MQTT", 6, 2)).await;
    let Packet::ConnAck(answer) = peer.next().await else {
        panic!("no CONNACK");
    };
    assert_eq!(answer.reason, ReasonCode::UnsupportedProtocolVersion);
    assert_eq!(peer.try_next().await, None);
    for protocol in ["mqtt", "MQTX", ""] {
        answered_with(&stage, &bare(protocol, 4, 2), &[], protocol).await;
    }
}

#[tokio::test]
async fn a_malformed_connect_is_told_so_in_5_0_and_closed_in_3_1_1() {
    let stage = Stage::open().await;
    let with_properties = |properties: &[u8]| {
        let mut bytes = bare("MQTT", 5, 2);
        let at = bytes.len() - 4;
        bytes.splice(at..=at, [&[properties.len() as u8], properties].concat());
        bytes[1] += properties.len() as u8;
        bytes
    };
    let mut long = bare("MQTT", 4, 2);
    long.push(0);
    long[1] += 1;
    let mut not_utf8 = bare("MQTT", 4, 2);
    *not_utf8.last_mut().unwrap() = 0xFF;
    let mut nul = bare("MQTT", 4, 2);
    *nul.last_mut().unwrap() = 0;
    let mut short = bare("MQTT", 4, 2);
    short.pop();
    short[1] -= 1;
    let in_both = |bytes: Vec<u8>| {
        // The same with protocol level 5 and no properties.
        let mut five = bytes.clone();
        five[8] = 5;
        five.insert(12, 0);
        five[1] += 1;
        [(bytes, None), (five, Some(ReasonCode::MalformedPacket))]
    };
    let mut cases: Vec<(&str, Vec<u8>, Option<ReasonCode>)> = Vec::new();
    for (what, bytes) in [
        ("reserved flag", bare("MQTT", 4, 0b0000_0011)),
        ("will QoS without a will", bare("MQTT", 4, 0b0000_1010)),
        ("will retain without a will", bare("MQTT", 4, 0b0010_0010)),
        ("will with QoS 3", bare("MQTT", 4, 0b0001_1110)),
        ("bytes after the end", long),
        ("not UTF-8", not_utf8),
        ("U+0000", nul),
        ("an end within a field", short),
    ] {
        cases.extend(in_both(bytes).map(|(bytes, reason)| (what, bytes, reason)));
    }
    cases.push(("password alone", bare("MQTT", 4, 0b0100_0010), None));
    for (level, expected) in [(4, None), (5, Some(ReasonCode::TopicNameInvalid))] {
        let mut bytes = bare("MQTT", level, 0b0000_0110);
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        let will = [properties, &[0, 1, b'#', 0, 0]].concat();
        bytes[1] += will.len() as u8;
        bytes.extend_from_slice(&will);
        cases.push(("a will to a filter", bytes, expected));
    }
    for (what, properties, reason) in [
        (
            "receive maximum 0",
            &[0x21, 0, 0][..],
            ReasonCode::ProtocolError,
        ),
        (
            "packet size 0",
            &[0x27, 0, 0, 0, 0],
            ReasonCode::ProtocolError,
        ),
        (
            "twice",
            &[0x22, 0, 1, 0x22, 0, 1],
            ReasonCode::ProtocolError,
        ),
        (
            "data without method",
            &[0x16, 0, 0],
            ReasonCode::ProtocolError,
        ),
        ("a flag of 2", &[0x17, 2], ReasonCode::ProtocolError),
        ("of a PUBLISH", &[0x01, 1], ReasonCode::MalformedPacket),
        ("unknown", &[0x7F, 1], ReasonCode::MalformedPacket),
    ] {
        cases.push((what, with_properties(properties), Some(reason)));
    }
    for (what, bytes, reason) in cases {
        let mut peer = Peer::dial(&stage, Version::V5).await;
        peer.send_bytes(&bytes).await;
        match reason {
            None => assert!(peer.rest().await.is_empty(), "{what}"),
            Some(reason) => {
                let Packet::ConnAck(answer) = peer.next().await else {
                    panic!("{what}: no CONNACK");
                };
                assert_eq!(answer.reason, reason, "{what}");
                assert!(!answer.session_present);
                assert_eq!(peer.try_next().await, None, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_second_connect_ends_the_connection() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let mut peer = Peer::named(&stage, version, "twice").await;
        peer.send(connect(&stage, version, "twice").into()).await;
        peer.ended(ReasonCode::ProtocolError).await;
    }
}

#[tokio::test]
async fn what_is_no_connect_and_no_http_ends_the_connection() {
    let stage = Stage::open().await;
    for first in [0x20, 0x30, 0x82, 0xC0, 0xE0, 0xF0, 0x00, 0x11] {
        let mut peer = Peer::dial(&stage, Version::V5).await;
        peer.send_bytes(&[first, 0, b'\r', b'\n', b'\r', b'\n'])
            .await;
        peer.rest().await;
    }
    // With the type of a CONNECT and other flags there is no telling what it is; with the right ones there is.
    answered_with(&stage, &[0x10, 0], &[], "an empty CONNECT").await;
}

#[tokio::test]
async fn a_client_without_a_name_is_given_one_or_refused_as_its_version_demands() {
    let stage = Stage::open().await;
    let check = async |version, clean_start, expected: ReasonCode| {
        let mut connect = connect(&stage, version, "");
        connect.clean_start = clean_start;
        let (mut peer, answer) = Peer::with(&stage, connect).await;
        assert_eq!(answer.reason, expected, "{version} {clean_start}");
        match expected {
            ReasonCode::Success => peer.silent().await,
            _ => assert_eq!(peer.try_next().await, None),
        }
        answer.properties.assigned_client_id
    };
    let of_old = check(Version::V3_1_1, true, ReasonCode::Success).await;
    assert_eq!(of_old, None, "3.1.1 has no way to say it");
    check(Version::V3_1_1, false, ReasonCode::ClientIdNotValid).await;
    let first = check(Version::V5, true, ReasonCode::Success).await;
    let second = check(Version::V5, false, ReasonCode::Success).await;
    assert!(first.is_some() && second.is_some() && first != second);
}

#[tokio::test]
async fn an_assigned_name_is_the_clients_own() {
    let stage = Stage::open().await;
    let mut first = connect(&stage, Version::V5, "");
    first.properties.session_expiry_s = Some(600);
    let (mut peer, answer) = Peer::with(&stage, first).await;
    peer.subscribe(vec![subscription("a", Qos::AtLeastOnce)])
        .await;
    peer.leave().await;
    let assigned = answer.properties.assigned_client_id.unwrap();
    let mut second = connect(&stage, Version::V5, assigned.as_str());
    second.clean_start = false;
    let (_, answer) = Peer::with(&stage, second).await;
    assert!(answer.session_present);
    assert_eq!(answer.properties.assigned_client_id, None);
}

#[tokio::test]
async fn a_name_has_its_length() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        for (bytes, expected) in [
            (MQTT_CLIENT_ID_BYTES_MAX, ReasonCode::Success),
            (MQTT_CLIENT_ID_BYTES_MAX + 1, ReasonCode::ClientIdNotValid),
        ] {
            let name = "n".repeat(bytes);
            let (_, answer) = Peer::with(&stage, connect(&stage, version, &name)).await;
            assert_eq!(answer.reason, expected);
        }
    }
}

#[tokio::test]
async fn names_may_have_any_characters_and_are_each_their_own() {
    let stage = Stage::open().await;
    let names = ["a b", "ü/+#$", "\u{1F980}", "\u{FEFF}x", "A", "a"];
    let mut peers = Vec::new();
    for name in names {
        peers.push(Peer::named(&stage, Version::V3_1_1, name).await);
    }
    for peer in &mut peers {
        peer.silent().await;
    }
}

#[tokio::test]
async fn a_client_is_told_how_it_is_served() {
    let stage = Stage::open().await;
    for (asked, told) in [
        (0, Some(MQTT_KEEP_ALIVE_S_MAX)),
        (10, None),
        (MQTT_KEEP_ALIVE_S_MAX, None),
        (u16::MAX, Some(MQTT_KEEP_ALIVE_S_MAX)),
    ] {
        let mut connect = connect(&stage, Version::V5, "named");
        connect.keep_alive_s = asked;
        connect.properties.session_expiry_s = Some(600);
        let (_, answer) = Peer::with(&stage, connect).await;
        let expected = connack::Properties {
            server_keep_alive_s: told,
            receive_max: std::num::NonZeroU16::new(MQTT_RECEIVE_MAX),
            topic_alias_max: Some(MQTT_TOPIC_ALIASES_MAX),
            packet_bytes_max: std::num::NonZeroU32::new(MQTT_PACKET_BYTES_MAX as u32),
            ..Default::default()
        };
        assert_eq!(answer.properties, expected);
    }
}

#[tokio::test]
async fn a_client_that_cannot_take_the_answer_is_closed() {
    let stage = Stage::open().await;
    let mut connect = connect(&stage, Version::V5, "small");
    for (bytes, expected) in [
        (4, &[][..]),
        (5, &[0x20, 3, 0, 0x95, 0]),
        (15, &[0x20, 3, 0, 0x95, 0]),
    ] {
        connect.properties.packet_bytes_max = std::num::NonZeroU32::new(bytes);
        let connect = bytes_of(connect.clone());
        answered_with(&stage, &connect, expected, "small").await;
    }
    connect.properties.packet_bytes_max = std::num::NonZeroU32::new(64);
    let (mut peer, _) = Peer::with(&stage, connect).await;
    peer.silent().await;
}

#[tokio::test]
async fn a_client_has_its_time_to_say_who_it_is() {
    let impatient = Options {
        header_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let stage = Stage::with(1, impatient, None).await;
    let whole = bytes_of(connect(&stage, Version::V5, "slow"));
    for sent in [1, 2, 10, whole.len() - 1] {
        answered_with(&stage, &whole[..sent], &[], "a part").await;
    }
    let mut peer = Peer::named(&stage, Version::V5, "quick").await;
    answered_with(&stage, &whole[..1], &[], "as long as it takes").await;
    peer.silent().await;
}

#[tokio::test]
async fn a_connect_that_is_too_long_is_refused_from_its_header() {
    let stage = Stage::open().await;
    // 200,000 bytes are announced and never sent.
    answered_with(&stage, &[0x10, 0xC0, 0x9A, 0x0C], &[], "announced").await;
    answered_with(
        &stage,
        &[0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        &[],
        "five bytes",
    )
    .await;
    answered_with(&stage, &[0x10, 0x80, 0x00], &[], "not minimal").await;
}

#[tokio::test]
async fn what_follows_a_connect_in_the_same_segment_is_served() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let mut bytes = bytes_of(connect(&stage, version, "eager"));
        Packet::PingReq.encode(version, &mut bytes).unwrap();
        let mut peer = Peer::dial(&stage, version).await;
        peer.send_bytes(&bytes).await;
        assert!(matches!(peer.next().await, Packet::ConnAck(_)));
        assert_eq!(peer.next().await, Packet::PingResp);
    }
}

#[tokio::test]
async fn user_properties_and_requests_for_information_are_taken() {
    let stage = Stage::open().await;
    let mut connect = connect(&stage, Version::V5, "talker");
    connect.properties.request_response_information = Some(true);
    connect.properties.user_properties = vec![(text("a"), text("b")), (text("a"), text(""))];
    let (mut peer, answer) = Peer::with(&stage, connect).await;
    assert_eq!(answer.reason, ReasonCode::Success);
    peer.silent().await;
}

fn bytes_of(connect: Connect) -> BytesMut {
    let mut bytes = BytesMut::new();
    let version = connect.version;
    Packet::from(connect).encode(version, &mut bytes).unwrap();
    bytes
}
