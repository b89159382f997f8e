//! PUBLISH from a client, and what becomes of it (sections 3.3 to 3.7, 4.3).

use highwater_broker::Refusal;
use highwater_mqtt::{
    Packet, Qos, ReasonCode, Version,
    packet::{
        Ack, Publish,
        publish::{Delivery, Topic},
    },
    topic::{Invalid, Name},
};
use highwater_proto::{ErrorCode, limits::MQTT_RECEIVE_MAX};
use reqwest::StatusCode;

use super::peer::{
    Peer, VERSIONS, at_least_once, connect, exactly_once, id, message, payload, subscription, text,
    user_property,
};
use crate::stage::{Stage, expect, within};

fn ack(number: u16, reason: ReasonCode) -> Ack {
    Ack::new(id(number), reason)
}

/// The reason with which a message is answered.
fn reason_of(packet: &Packet) -> ReasonCode {
    match packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) if ack.packet_id == id(7) => ack.reason,
        other => panic!("{other:?} answers nothing"),
    }
}

fn invalid(topic: &str) -> Invalid {
    Name::try_from(text(topic)).unwrap_err()
}

async fn payloads(stage: &Stage, topic: &str) -> Vec<String> {
    let page = stage.get(&format!("/v1/messages/{topic}?from=earliest"));
    let page = expect(page, StatusCode::OK).await;
    let records = page["records"].as_array().unwrap().iter();
    let payload = |record: &serde_json::Value| match record["data"].as_str() {
        Some(text) => text.to_owned(),
        None => record["data_base64"].as_str().unwrap().to_owned(),
    };
    records.map(payload).collect()
}

#[tokio::test]
async fn a_message_that_cannot_be_taken_is_refused_where_the_version_can_say_so() {
    let stage = Stage::open().await;
    let narrow = bytes::Bytes::from(stage.narrow_key.clone());
    let mut not_text = message("a/x", "", Delivery::AtMostOnce);
    not_text.properties.payload_is_text = Some(true);
    not_text.payload = bytes::Bytes::from_static(&[0xFF]);
    let of_wildcard = |topic: &str| Publish {
        topic: Topic::Invalid(invalid(topic), None),
        ..message("unused", "x", Delivery::AtMostOnce)
    };
    let plain = |topic: &str| message(topic, "x", Delivery::AtMostOnce);
    let deep = "a/".repeat(200) + "x";
    let long = "a/".to_owned() + &"x".repeat(2_000);
    let cases = [
        (
            "the system's",
            plain("$SYS/x"),
            ReasonCode::TopicNameInvalid,
        ),
        ("a share", plain("$share/a/b"), ReasonCode::TopicNameInvalid),
        ("too deep", plain(&deep), ReasonCode::TopicNameInvalid),
        ("too long", plain(&long), ReasonCode::TopicNameInvalid),
        (
            "a wildcard",
            of_wildcard("a/+"),
            ReasonCode::TopicNameInvalid,
        ),
        ("another", of_wildcard("a/#"), ReasonCode::TopicNameInvalid),
        ("not text", not_text, ReasonCode::PayloadFormatInvalid),
        ("forbidden", plain("b/x"), ReasonCode::NotAuthorized),
    ];
    for (what, publish, expected) in cases {
        for version in VERSIONS {
            let is_only_of_5 = publish.properties.payload_is_text.is_some();
            if version == Version::V3_1_1 && is_only_of_5 {
                continue;
            }
            for delivery in [at_least_once(7), exactly_once(7)] {
                let mut connect = connect(&stage, version, "");
                connect.password = Some(narrow.clone().try_into().unwrap());
                let (mut peer, _) = Peer::with(&stage, connect).await;
                let publish = Publish {
                    delivery,
                    ..publish.clone()
                };
                peer.send(Packet::Publish(publish)).await;
                if version == Version::V3_1_1 {
                    assert_eq!(peer.try_next().await, None, "{what}");
                    continue;
                }
                let answer = peer.next().await;
                assert_eq!(reason_of(&answer), expected, "{what}");
                // It is over with this identifier.
                let next = message("a/x", "x", at_least_once(7));
                let answer = peer.ask(Packet::Publish(next)).await;
                assert_eq!(reason_of(&answer), ReasonCode::Success, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_topic_that_has_to_be_made_first_is_not_made_by_a_message() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    let publish = message("made/not", "x", at_least_once(7));
    let answer = peer.ask(Packet::Publish(publish)).await;
    assert!(reason_of(&answer).is_failure());
    peer.silent().await;
}

#[tokio::test]
async fn a_message_with_qos_0_that_is_refused_is_dropped_without_a_word() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let mut connect = connect(&stage, version, "");
        let narrow = bytes::Bytes::from(stage.narrow_key.clone());
        connect.password = Some(narrow.try_into().unwrap());
        let (mut peer, _) = Peer::with(&stage, connect).await;
        for topic in ["b/x", "$SYS/x"] {
            let publish = message(topic, "x", Delivery::AtMostOnce);
            peer.send(Packet::Publish(publish)).await;
        }
        peer.silent().await;
    }
}

#[tokio::test]
async fn a_malformed_message_ends_the_connection() {
    let stage = Stage::open().await;
    use ReasonCode::{MalformedPacket, ProtocolError, TopicNameInvalid};
    let both = [
        ("QoS 3", &[0x36, 5, 0, 1, b'a', 0, 1][..], MalformedPacket),
        ("DUP with QoS 0", &[0x38, 3, 0, 1, b'a'], MalformedPacket),
        ("identifier 0", &[0x32, 5, 0, 1, b'a', 0, 0], ProtocolError),
        ("no identifier", &[0x32, 3, 0, 1, b'a'], MalformedPacket),
        (
            "topic beyond the end",
            &[0x30, 3, 0, 9, b'a'],
            MalformedPacket,
        ),
        ("U+0000", &[0x30, 4, 0, 1, 0, 0], MalformedPacket),
        (
            "a surrogate",
            &[0x30, 6, 0, 3, 0xED, 0xA0, 0x80, 0],
            MalformedPacket,
        ),
        ("PUBREL without flags", &[0x60, 2, 0, 1], MalformedPacket),
        ("PUBACK of 0", &[0x40, 2, 0, 0], ProtocolError),
        ("PUBACK too short", &[0x40, 1, 0], MalformedPacket),
        ("PINGREQ with a body", &[0xC0, 1, 0], MalformedPacket),
        ("PINGRESP", &[0xD0, 0], ProtocolError),
        ("CONNACK", &[0x20, 2, 0, 0], ProtocolError),
        ("SUBACK", &[0x90, 3, 0, 1, 0], ProtocolError),
        ("type 0", &[0x00, 0], MalformedPacket),
        ("DISCONNECT with flags", &[0xE1, 0], MalformedPacket),
    ];
    let of_5 = [
        ("no topic", &[0x30, 3, 0, 0, 0][..], ProtocolError),
        (
            "a wildcard, QoS 0",
            &[0x30, 4, 0, 1, b'+', 0],
            TopicNameInvalid,
        ),
        (
            "a wildcard to answer to",
            &[0x30, 8, 0, 1, b'a', 4, 0x08, 0, 1, b'#'],
            ProtocolError,
        ),
        (
            "a subscription identifier",
            &[0x30, 6, 0, 1, b'a', 2, 0x0B, 1],
            ProtocolError,
        ),
        (
            "an expiry twice",
            &[0x30, 14, 0, 1, b'a', 10, 2, 0, 0, 0, 1, 2, 0, 0, 0, 1],
            ProtocolError,
        ),
        (
            "payload format 2",
            &[0x30, 6, 0, 1, b'a', 2, 0x01, 2],
            ProtocolError,
        ),
        (
            "properties beyond the end",
            &[0x30, 4, 0, 1, b'a', 9],
            MalformedPacket,
        ),
        (
            "a property of CONNECT",
            &[0x30, 7, 0, 1, b'a', 3, 0x21, 0, 1],
            MalformedPacket,
        ),
        (
            "PUBACK with an unknown reason",
            &[0x40, 3, 0, 1, 0x7F],
            ProtocolError,
        ),
        (
            "PUBACK with a reason of others",
            &[0x40, 3, 0, 1, 0x8D],
            ProtocolError,
        ),
    ];
    for version in VERSIONS {
        let of_5 = of_5.iter().filter(|_| version == Version::V5);
        for (what, bytes, reason) in both.iter().chain(of_5) {
            let mut peer = Peer::open(&stage, version).await;
            peer.send_bytes(bytes).await;
            peer.ended_by(what, *reason).await;
        }
    }
    let mut peer = Peer::open(&stage, Version::V3_1_1).await;
    peer.send_bytes(&[0x30, 3, 0, 1, b'+']).await;
    assert_eq!(peer.try_next().await, None);
}

#[tokio::test]
async fn all_that_is_said_of_a_message_arrives_as_it_was_said() {
    let stage = Stage::open().await;
    let mut reader = Peer::open(&stage, Version::V5).await;
    reader
        .subscribe(vec![subscription("ask", Qos::ExactlyOnce)])
        .await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    let mut publish = message("ask", "how much?", exactly_once(7));
    let said = &mut publish.properties;
    said.payload_is_text = Some(true);
    said.content_type = Some(text("text/plain; charset=utf-8"));
    said.response_topic = Some(Name::try_from("answers/7").unwrap());
    said.correlation_data = Some(bytes::Bytes::from_static(&[0, 1, 0xFF]).try_into().unwrap());
    said.user_properties = [
        ("b", "1"),
        ("a", "2"),
        ("b", ""),
        ("", "ü"),
        ("hw-else", "x"),
    ]
    .map(|(name, value)| (text(name), text(value)))
    .to_vec();
    peer.ask(Packet::Publish(publish.clone())).await;
    let mut got = reader.receive().await;
    // The cursor is the server's.
    let (name, _) = got.properties.user_properties.remove(0);
    assert_eq!(name.as_str(), "hw-cursor");
    assert_eq!(got.properties, publish.properties);
    assert_eq!(got.payload, publish.payload);
    // Nothing said is nothing heard.
    peer.publish("ask", "").await;
    let mut got = reader.receive().await;
    got.properties.user_properties.remove(0);
    assert_eq!(got.properties, Default::default());
    assert!(got.payload.is_empty() && !got.retain);
    // For 3.1.1 the payload is all there is.
    let mut old = Peer::open(&stage, Version::V3_1_1).await;
    old.subscribe(vec![subscription("ask", Qos::AtMostOnce)])
        .await;
    peer.publish("ask", "once more").await;
    assert_eq!(payload(&old.message().await), "once more");
}

#[tokio::test]
async fn keys_and_idempotency_of_every_protocol_are_said_in_user_properties() {
    let stage = Stage::open().await;
    let mut reader = Peer::open(&stage, Version::V5).await;
    reader
        .subscribe(vec![subscription("keyed", Qos::AtMostOnce)])
        .await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    let mut publish = message("keyed", "x", at_least_once(7));
    publish.properties.user_properties = vec![
        (text("hw-key"), text("k")),
        (text("hw-idempotency-key"), text("once")),
    ];
    for _ in 0..2 {
        let answer = peer.ask(Packet::Publish(publish.clone())).await;
        assert_eq!(reason_of(&answer), ReasonCode::Success);
    }
    let got = reader.message().await;
    assert_eq!(user_property(&got, "hw-key"), Some("k"));
    assert_eq!(user_property(&got, "hw-idempotency-key"), None);
    reader.silent().await;
}

#[tokio::test]
async fn a_message_is_of_use_for_its_time() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    let expiring = async |peer: &mut Peer, payload: &str, seconds| {
        let mut publish = message("a", payload, at_least_once(7));
        publish.properties.message_expiry_s = seconds;
        peer.ask(Packet::Publish(publish)).await;
    };
    expiring(&mut peer, "at once", Some(0)).await;
    expiring(&mut peer, "soon", Some(10)).await;
    expiring(&mut peer, "late", Some(60)).await;
    expiring(&mut peer, "latest", Some(u32::MAX)).await;
    expiring(&mut peer, "never", None).await;
    stage.advance(20_000);
    let mut reader = Peer::open(&stage, Version::V5).await;
    let all = subscription("$from/earliest/a", Qos::AtMostOnce);
    reader.subscribe(vec![all]).await;
    let late = reader.message().await;
    assert_eq!(payload(&late), "late");
    assert_eq!(late.properties.message_expiry_s, Some(40));
    let latest = reader.message().await;
    assert_eq!(payload(&latest), "latest");
    assert!(latest.properties.message_expiry_s.is_some());
    let never = reader.message().await;
    assert_eq!(payload(&never), "never");
    assert_eq!(never.properties.message_expiry_s, None);
    reader.silent().await;
}

#[tokio::test]
async fn a_message_that_expires_while_its_subscriber_is_busy_is_not_sent() {
    let stage = Stage::open().await;
    let mut connect = connect(&stage, Version::V5, "");
    connect.properties.receive_max = std::num::NonZeroU16::new(1);
    let (mut reader, _) = Peer::with(&stage, connect).await;
    reader
        .subscribe(vec![subscription("a", Qos::AtLeastOnce)])
        .await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    for (said, seconds) in [("first", None), ("expires", Some(5)), ("last", None)] {
        let mut publish = message("a", said, at_least_once(7));
        publish.properties.message_expiry_s = seconds;
        peer.ask(Packet::Publish(publish)).await;
    }
    let first = reader.message().await;
    assert_eq!(payload(&first), "first");
    reader.silent().await;
    stage.advance(10_000);
    let first = first.delivery.packet_id().unwrap();
    reader
        .send(Packet::PubAck(Ack::new(first, ReasonCode::Success)))
        .await;
    assert_eq!(payload(&reader.receive().await), "last");
}

#[tokio::test]
async fn an_identifier_stands_for_one_message_until_it_is_released() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let topic = format!("released/{version}").replace(' ', "-");
        let mut peer = Peer::open(&stage, version).await;
        let publish = |said: &str, dup| {
            let delivery = Delivery::ExactlyOnce { id: id(7), dup };
            Packet::Publish(message(&topic, said, delivery))
        };
        let received = Packet::PubRec(ack(7, ReasonCode::Success));
        assert_eq!(peer.ask(publish("b25l", false)).await, received);
        assert_eq!(peer.ask(publish("b25l", true)).await, received);
        for _ in 0..2 {
            // The second is not known any more, and nothing is wrong with that: the answer may have been lost.
            let complete = Packet::PubComp(ack(7, ReasonCode::Success));
            let release = Packet::PubRel(ack(7, ReasonCode::Success));
            assert_eq!(peer.ask(release).await, complete);
        }
        assert_eq!(peer.ask(publish("dHdv", false)).await, received);
        // With QoS 1 it is free as soon as it is acknowledged.
        let mut other = Peer::open(&stage, version).await;
        other.publish(&topic, "x").await;
        other.publish(&topic, "x").await;
        assert_eq!(payloads(&stage, &topic).await.len(), 4);
    }
}

#[tokio::test]
async fn acknowledgements_of_nothing_are_answered_as_such() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let mut peer = Peer::open(&stage, version).await;
        peer.send(Packet::PubAck(ack(9, ReasonCode::Success))).await;
        peer.send(Packet::PubComp(ack(9, ReasonCode::Success)))
            .await;
        peer.silent().await;
        let reason = match version {
            Version::V5 => ReasonCode::PacketIdNotFound,
            Version::V3_1_1 => ReasonCode::Success,
        };
        let answer = peer.ask(Packet::PubRec(ack(9, ReasonCode::Success))).await;
        assert_eq!(answer, Packet::PubRel(ack(9, reason)));
        peer.silent().await;
    }
}

#[tokio::test]
async fn a_subscriber_may_refuse_a_message_for_good() {
    let stage = Stage::open().await;
    let mut connect = connect(&stage, Version::V5, "");
    connect.properties.receive_max = std::num::NonZeroU16::new(1);
    let (mut reader, _) = Peer::with(&stage, connect).await;
    reader
        .subscribe(vec![subscription("a", Qos::ExactlyOnce)])
        .await;
    for said in ["1", "2", "3"] {
        stage.publish("a", said).await;
    }
    let first = reader.message().await.delivery.packet_id().unwrap();
    let refused = Ack::new(first, ReasonCode::UnspecifiedError);
    // Nothing is to be released, and the place is free.
    reader.send(Packet::PubRec(refused)).await;
    assert_eq!(payload(&reader.receive().await), "2");
    assert_eq!(payload(&reader.receive().await), "3");
}

#[tokio::test]
async fn a_quota_is_told_and_nothing_is_dropped_after_it_was_acknowledged() {
    let stage = Stage::open().await;
    for code in [ErrorCode::QuotaExceeded, ErrorCode::Overloaded] {
        for version in VERSIONS {
            for delivery in [at_least_once(7), exactly_once(7)] {
                let mut peer = Peer::open(&stage, version).await;
                stage.shards[0].refuse(Some(Refusal::new(code, "enough")));
                peer.send(Packet::Publish(message("q", "no", delivery)))
                    .await;
                let answer = peer.try_next().await;
                stage.shards[0].refuse(None);
                match version {
                    Version::V3_1_1 => assert_eq!(answer, None),
                    Version::V5 => {
                        let answer = answer.unwrap();
                        assert_eq!(reason_of(&answer), ReasonCode::QuotaExceeded);
                        peer.ask(Packet::Publish(message("q", "yes", delivery)))
                            .await;
                    }
                }
            }
        }
    }
    assert_eq!(payloads(&stage, "q").await.len(), 4);
}

#[tokio::test]
async fn what_is_not_known_to_be_durable_is_not_acknowledged() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        for delivery in [at_least_once(7), exactly_once(7)] {
            let mut peer = Peer::open(&stage, version).await;
            let unknown = Refusal::new(ErrorCode::Unavailable, "no quorum");
            stage.shards[0].refuse(Some(unknown));
            peer.send(Packet::Publish(message("u", "?", delivery)))
                .await;
            // Nothing but the end.
            match version {
                Version::V3_1_1 => assert_eq!(peer.try_next().await, None),
                Version::V5 => {
                    let Packet::Disconnect(end) = peer.next().await else {
                        panic!("something was answered");
                    };
                    assert_eq!(end.reason, ReasonCode::ServerBusy);
                }
            }
            stage.shards[0].refuse(None);
        }
    }
}

#[tokio::test]
async fn an_acknowledgement_comes_after_the_message_is_durable() {
    let stage = Stage::open().await;
    for delivery in [at_least_once(7), exactly_once(7)] {
        let mut peer = Peer::open(&stage, Version::V5).await;
        stage.shards[0].hold(true);
        peer.send(Packet::Publish(message("h", "x", delivery)))
            .await;
        within(async {
            while stage.shards[0].waiting() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        peer.silent().await;
        stage.shards[0].hold(false);
        assert_eq!(reason_of(&peer.next().await), ReasonCode::Success);
    }
}

#[tokio::test]
async fn a_client_of_5_0_that_exceeds_the_receive_maximum_is_told_so() {
    let stage = Stage::open().await;
    // Messages of QoS 2 count until they are released (MQTT-3.3.4-7).
    let mut peer = Peer::open(&stage, Version::V5).await;
    for number in 1..=MQTT_RECEIVE_MAX {
        let publish = message("r", "x", exactly_once(number));
        let answer = peer.ask(Packet::Publish(publish)).await;
        assert!(matches!(answer, Packet::PubRec(_)));
    }
    let again = Delivery::ExactlyOnce {
        id: id(1),
        dup: true,
    };
    let answer = peer.ask(Packet::Publish(message("r", "x", again))).await;
    assert!(matches!(answer, Packet::PubRec(_)), "it is no other one");
    peer.ask(Packet::PubRel(ack(1, ReasonCode::Success))).await;
    let other = message("r", "x", exactly_once(MQTT_RECEIVE_MAX + 1));
    peer.ask(Packet::Publish(other)).await;
    let one_more = message("r", "x", at_least_once(MQTT_RECEIVE_MAX + 2));
    peer.send(Packet::Publish(one_more)).await;
    peer.ended(ReasonCode::ReceiveMaxExceeded).await;
    // Those of QoS 1 until they are acknowledged.
    let mut peer = Peer::open(&stage, Version::V5).await;
    stage.shards[0].hold(true);
    for number in 1..=MQTT_RECEIVE_MAX + 1 {
        let publish = message("r", "x", at_least_once(number));
        peer.send(Packet::Publish(publish)).await;
    }
    let Packet::Disconnect(end) = peer.next().await else {
        panic!("something was answered");
    };
    assert_eq!(end.reason, ReasonCode::ReceiveMaxExceeded);
    stage.shards[0].hold(false);
}

#[tokio::test]
async fn a_client_of_3_1_1_may_send_more_and_is_taken_as_fast_as_it_is_answered() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage, Version::V3_1_1).await;
    let count = MQTT_RECEIVE_MAX * 3;
    for number in 1..=count {
        let publish = message("r", "x", at_least_once(number));
        peer.send(Packet::Publish(publish)).await;
    }
    for number in 1..=count {
        let expected = Packet::PubAck(ack(number, ReasonCode::Success));
        assert_eq!(peer.next().await, expected, "in their order (MQTT-4.6.0-2)");
    }
}

#[tokio::test]
async fn a_repetition_on_the_way_in_is_none_on_the_way_out() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let mut reader = Peer::open(&stage, version).await;
        reader
            .subscribe(vec![subscription("dup", Qos::ExactlyOnce)])
            .await;
        let mut peer = Peer::open(&stage, version).await;
        for delivery in [
            Delivery::AtLeastOnce {
                id: id(7),
                dup: true,
            },
            Delivery::ExactlyOnce {
                id: id(7),
                dup: true,
            },
        ] {
            let answer = peer
                .ask(Packet::Publish(message("dup", "x", delivery)))
                .await;
            assert_eq!(reason_of(&answer), ReasonCode::Success);
            let got = reader.receive().await.delivery;
            let dup = match got {
                Delivery::AtLeastOnce { dup, .. } | Delivery::ExactlyOnce { dup, .. } => dup,
                Delivery::AtMostOnce => panic!("another QoS"),
            };
            assert!(!dup, "MQTT-3.3.1-3");
        }
    }
}
