//! What has to be taken, byte for byte: frozen samples of both versions, and the edges of what is right.

mod packets;

use std::num::NonZeroU16;

use bytes::{Bytes, BytesMut};
use highwater_mqtt::{
    Binary, Decoder, Kind, Limits, Packet, PacketId, Qos, ReasonCode, SubscriptionId, Text,
    Version::{self, V3_1_1, V5},
    packet::{
        Ack, Auth, ConnAck, Connect, Disconnect, FilterAck, Publish, Remarks, Subscribe,
        Unsubscribe, connack,
        connect::{self, Will, WillProperties},
        publish::{self, Delivery, Topic},
        subscribe::{RetainHandling, Subscription},
    },
    topic::{Fault, Filter, Name},
};
use packets::{LIMITS, decode, encode};

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn text(text: &'static str) -> Text {
    Text::from_static(text)
}

fn name(text: &str) -> Name {
    Name::try_from(text).unwrap()
}

fn filter(text: &str) -> Filter {
    Filter::try_from(text).unwrap()
}

fn binary(bytes: &'static [u8]) -> Binary {
    Binary::try_from(Bytes::from_static(bytes)).unwrap()
}

/// The bytes are this packet, and this packet is written as these bytes.
fn check(version: Version, bytes: &[u8], packet: Packet) {
    let case = bytes.escape_ascii();
    assert_eq!(decode(bytes, version).as_ref(), Ok(&packet), "{case}");
    assert_eq!(encode(&packet, version), bytes, "{case}");
}

/// The bytes are this packet, which is written shorter or in another order.
fn check_decoding(version: Version, bytes: &[u8], packet: Packet) {
    let case = bytes.escape_ascii();
    assert_eq!(decode(bytes, version), Ok(packet), "{case}");
}

#[test]
fn a_connect_of_3_1_1() {
    let bytes =
        b"\x10\x24\0\x04MQTT\x04\xEE\0\x3C\0\x01c\0\x03w/t\0\x04gone\0\x04user\0\x04\0pw\xFF";
    let will = Will {
        topic: name("w/t"),
        payload: binary(b"gone"),
        qos: Qos::AtLeastOnce,
        retain: true,
        properties: WillProperties::default(),
    };
    let mut connect = Connect {
        clean_start: true,
        keep_alive_s: 60,
        will: Some(will),
        username: Some(text("user")),
        password: Some(binary(b"\0pw\xFF")),
        ..Connect::new(V3_1_1, text("c"))
    };
    check(V3_1_1, bytes, Packet::from(connect.clone()));
    assert_eq!(connect.session_expiry_s(), 0);
    connect.clean_start = false;
    assert_eq!(connect.session_expiry_s(), u32::MAX);
    assert!(!connect.lacks_client_id());
    connect.client_id = text("");
    assert!(connect.lacks_client_id());
}

#[test]
fn a_connect_of_5_0_with_everything() {
    let bytes = b"\x10\x69\0\x04MQTT\x05\xF6\0\0\
        \x23\x11\0\0\x0E\x10\x15\0\x01m\x16\0\x01\0\x17\0\x19\x01\x21\0\x14\x22\0\x0A\x26\0\x01a\0\x01b\x27\0\x01\0\0\
        \0\0\
        \x26\x01\x01\x02\0\0\0\x3C\x03\0\x01t\x08\0\x01r\x09\0\x02id\x18\0\0\0\x05\x26\0\x01k\0\x01v\x26\0\x01k\0\0\
        \0\x01w\0\x03bye\0\x04user\0\x02pw";
    let authentication = Auth::new(ReasonCode::Success, text("m"), Some(binary(b"\0")));
    let will = Will {
        topic: name("w"),
        payload: binary(b"bye"),
        qos: Qos::ExactlyOnce,
        retain: true,
        properties: WillProperties {
            payload_is_text: Some(true),
            message_expiry_s: Some(60),
            content_type: Some(text("t")),
            response_topic: Some(name("r")),
            correlation_data: Some(binary(b"id")),
            delay_s: Some(5),
            user_properties: vec![(text("k"), text("v")), (text("k"), text(""))],
        },
    };
    let connect = Connect {
        will: Some(will),
        username: Some(text("user")),
        password: Some(binary(b"pw")),
        properties: connect::Properties {
            session_expiry_s: Some(3_600),
            authentication: authentication.authentication,
            request_problem_information: Some(false),
            request_response_information: Some(true),
            receive_max: NonZeroU16::new(20),
            topic_alias_max: Some(10),
            user_properties: vec![(text("a"), text("b"))],
            packet_bytes_max: Some(65_536.try_into().unwrap()),
        },
        ..Connect::new(V5, text(""))
    };
    assert_eq!(connect.session_expiry_s(), 3_600);
    assert!(!connect.properties.wants_problem_information());
    assert!(connect::Properties::default().wants_problem_information());
    check(V5, bytes, Packet::from(connect));
}

#[test]
fn a_password_without_a_user_name_is_right_in_5_0() {
    let connect = Connect {
        password: Some(binary(b"token")),
        ..Connect::new(V5, text("c"))
    };
    let bytes = b"\x10\x15\0\x04MQTT\x05\x42\0\0\0\0\x01c\0\x05token";
    check(V5, bytes, Packet::from(connect));
}

#[test]
fn a_connack_of_both_versions() {
    let accepted = ConnAck {
        session_present: true,
        ..ConnAck::refusal(ReasonCode::Success)
    };
    check(V3_1_1, b"\x20\x02\x01\0", Packet::from(accepted));
    let refused = |reason| Packet::from(ConnAck::refusal(reason));
    check(
        V3_1_1,
        b"\x20\x02\0\x01",
        refused(ReasonCode::UnsupportedProtocolVersion),
    );
    check(
        V3_1_1,
        b"\x20\x02\0\x05",
        refused(ReasonCode::NotAuthorized),
    );
    check(
        V5,
        b"\x20\x03\0\x84\0",
        refused(ReasonCode::UnsupportedProtocolVersion),
    );
    let properties = connack::Properties {
        assigned_client_id: Some(text("c1")),
        server_keep_alive_s: Some(30),
        receive_max: Some(NonZeroU16::MAX),
        qos_max: Some(Qos::AtLeastOnce),
        shared_subscription_available: Some(true),
        ..connack::Properties::default()
    };
    let accepted = ConnAck {
        properties,
        ..ConnAck::refusal(ReasonCode::Success)
    };
    let bytes = b"\x20\x12\0\0\x0F\x12\0\x02c1\x13\0\x1E\x21\xFF\xFF\x24\x01\x2A\x01";
    check(V5, bytes, Packet::from(accepted.clone()));
    // QoS 2 is what holds when nothing is said, and the protocol has no other way to say it.
    let mut all = accepted;
    all.properties = connack::Properties {
        qos_max: Some(Qos::ExactlyOnce),
        ..connack::Properties::default()
    };
    assert_eq!(&encode(&Packet::from(all), V5)[..], b"\x20\x03\0\0\0");
}

#[test]
fn a_publish_of_each_qos() {
    let hello = || Bytes::from_static(b"hello");
    let publish = |delivery| Publish::new(name("a/b"), delivery, hello());
    let first = publish(Delivery::AtMostOnce);
    check(
        V3_1_1,
        b"\x30\x0A\0\x03a/bhello",
        Packet::Publish(first.clone()),
    );
    check(V5, b"\x30\x0B\0\x03a/b\0hello", Packet::Publish(first));
    let second = publish(Delivery::AtLeastOnce {
        id: id(10),
        dup: true,
    });
    check(
        V3_1_1,
        b"\x3A\x0C\0\x03a/b\0\x0Ahello",
        Packet::Publish(second),
    );
    let mut third = publish(Delivery::ExactlyOnce {
        id: id(0xFFFF),
        dup: false,
    });
    third.retain = true;
    third.payload = Bytes::new();
    check(V5, b"\x35\x08\0\x03a/b\xFF\xFF\0", Packet::Publish(third));
}

#[test]
fn a_publish_with_all_its_properties() {
    let properties = publish::Properties {
        payload_is_text: Some(true),
        message_expiry_s: Some(9),
        content_type: Some(text("t")),
        response_topic: Some(name("r")),
        correlation_data: Some(binary(b"\0\xFF")),
        subscription_ids: vec![
            SubscriptionId::new(1).unwrap(),
            SubscriptionId::new(200).unwrap(),
        ],
        user_properties: vec![
            (text("b"), text("2")),
            (text("a"), text("1")),
            (text("b"), text("3")),
        ],
    };
    let message = Publish::new(name("a"), Delivery::AtMostOnce, Bytes::from_static(b"\xFF"));
    assert!(message.payload_has_its_format());
    let publish = Publish {
        properties,
        ..message
    };
    assert!(!publish.payload_has_its_format());
    let bytes = b"\x30\x33\0\x01a\x2E\x02\0\0\0\x09\x0B\x01\x0B\xC8\x01\x01\x01\x03\0\x01t\x08\0\x01r\x09\0\x02\0\xFF\
        \x26\0\x01b\0\x012\x26\0\x01a\0\x011\x26\0\x01b\0\x013\xFF";
    check(V5, bytes, Packet::Publish(publish.clone()));
    // The same in the order of the identifiers, as others write it.
    let bytes = b"\x30\x33\0\x01a\x2E\x01\x01\x02\0\0\0\x09\x03\0\x01t\x08\0\x01r\x09\0\x02\0\xFF\x0B\x01\x0B\xC8\x01\
        \x26\0\x01b\0\x012\x26\0\x01a\0\x011\x26\0\x01b\0\x013\xFF";
    check_decoding(V5, bytes, Packet::Publish(publish));
}

#[test]
fn a_topic_may_be_named_given_an_alias_or_be_one() {
    let alias = NonZeroU16::new(7).unwrap();
    let publish = |topic| {
        Packet::Publish(Publish {
            topic,
            ..Publish::new(name("x"), Delivery::AtMostOnce, Bytes::new())
        })
    };
    check(
        V5,
        b"\x30\x07\0\x01a\x03\x23\0\x07",
        publish(Topic::Name(name("a"), Some(alias))),
    );
    check(
        V5,
        b"\x30\x06\0\0\x03\x23\0\x07",
        publish(Topic::Alias(alias)),
    );
    let decoded = decode(b"\x32\x08\0\x03a/+\0\x01\0", V5).unwrap();
    let Packet::Publish(Publish {
        topic: Topic::Invalid(invalid, None),
        ..
    }) = decoded
    else {
        panic!("{decoded:?}");
    };
    assert_eq!(
        (invalid.text().as_str(), invalid.fault()),
        ("a/+", Fault::Wildcard)
    );
    for topic in ["/", "//", " ", "$SYS", "\u{FEFF}", "\u{FFFF}", "\u{1}"] {
        let publish = publish(Topic::Name(name(topic), None));
        let bytes = encode(&publish, V3_1_1);
        check(V3_1_1, &bytes, publish);
    }
}

#[test]
fn acknowledgements_may_end_early() {
    let ack = |reason| Packet::PubAck(Ack::new(id(1), reason));
    check(V3_1_1, b"\x40\x02\0\x01", ack(ReasonCode::Success));
    check(
        V3_1_1,
        b"\x62\x02\x12\x34",
        Packet::PubRel(Ack::new(id(0x1234), ReasonCode::Success)),
    );
    check(V5, b"\x40\x02\0\x01", ack(ReasonCode::Success));
    check(V5, b"\x40\x03\0\x01\x97", ack(ReasonCode::QuotaExceeded));
    check_decoding(V5, b"\x40\x03\0\x01\0", ack(ReasonCode::Success));
    check_decoding(V5, b"\x40\x04\0\x01\0\0", ack(ReasonCode::Success));
    check_decoding(V5, b"\x40\x04\0\x01\x97\0", ack(ReasonCode::QuotaExceeded));
    let remarks = Remarks {
        reason_string: Some(text("no")),
        user_properties: vec![(text("k"), text("v"))],
    };
    let full = Ack {
        packet_id: id(1),
        reason: ReasonCode::PacketIdNotFound,
        remarks,
    };
    check(
        V5,
        b"\x70\x10\0\x01\x92\x0C\x1F\0\x02no\x26\0\x01k\0\x01v",
        Packet::PubComp(full),
    );
    // What 3.1.1 cannot say is left out.
    assert_eq!(
        &encode(&ack(ReasonCode::QuotaExceeded), V3_1_1)[..],
        b"\x40\x02\0\x01"
    );
}

#[test]
fn a_subscribe_of_both_versions() {
    let subscriptions = vec![
        Subscription::new(filter("a/#"), Qos::AtMostOnce),
        Subscription::new(filter("$share/g/+"), Qos::ExactlyOnce),
    ];
    let subscribe = Subscribe::new(id(5), subscriptions);
    let bytes = b"\x82\x15\0\x05\0\x03a/#\0\0\x0A$share/g/+\x02";
    check(V3_1_1, bytes, Packet::Subscribe(subscribe));

    let subscription = Subscription {
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
        ..Subscription::new(filter("a"), Qos::AtLeastOnce)
    };
    let subscribe = Subscribe {
        subscription_id: SubscriptionId::new(268_435_455),
        user_properties: vec![(text("hw-from"), text("earliest"))],
        ..Subscribe::new(id(5), vec![subscription])
    };
    let bytes = b"\x82\x20\0\x05\x19\x0B\xFF\xFF\xFF\x7F\x26\0\x07hw-from\0\x08earliest\0\x01a\x2D";
    check(V5, bytes, Packet::Subscribe(subscribe));
}

#[test]
fn filters_that_are_none_leave_their_neighbours_alone() {
    let bytes = b"\x82\x0F\0\x01\0\0\x02a#\0\0\0\x01\0\x01a\x02";
    let Packet::Subscribe(subscribe) = decode(bytes, V5).unwrap() else {
        unreachable!()
    };
    let filters = subscribe
        .subscriptions
        .iter()
        .map(|subscription| &subscription.filter);
    let faults: Vec<_> = filters
        .map(|filter| filter.as_ref().err().map(|e| e.fault()))
        .collect();
    assert_eq!(
        faults,
        [Some(Fault::WildcardPlace), Some(Fault::Empty), None]
    );
    check(V5, bytes, Packet::Subscribe(subscribe));
    let bytes = b"\xA2\x07\0\x01\0\x01a\0\0";
    let Packet::Unsubscribe(unsubscribe) = decode(bytes, V3_1_1).unwrap() else {
        unreachable!()
    };
    assert!(unsubscribe.filters[0].is_ok() && unsubscribe.filters[1].is_err());
    check(V3_1_1, bytes, Packet::Unsubscribe(unsubscribe));
}

#[test]
fn answers_to_filters_of_both_versions() {
    use ReasonCode::{
        GrantedQos2, NoSubscriptionExisted, Success, TopicFilterInvalid, UnspecifiedError,
    };
    let suback = |reasons| Packet::SubAck(FilterAck::new(id(5), reasons));
    check(
        V3_1_1,
        b"\x90\x05\0\x05\0\x02\x80",
        suback(vec![Success, GrantedQos2, UnspecifiedError]),
    );
    check(
        V5,
        b"\x90\x05\0\x05\0\0\x8F",
        suback(vec![Success, TopicFilterInvalid]),
    );
    let unsuback = |reasons| Packet::UnsubAck(FilterAck::new(id(5), reasons));
    check(V3_1_1, b"\xB0\x02\0\x05", unsuback(vec![]));
    check(
        V5,
        b"\xB0\x05\0\x05\0\0\x11",
        unsuback(vec![Success, NoSubscriptionExisted]),
    );
    assert_eq!(
        &encode(&suback(vec![TopicFilterInvalid]), V3_1_1)[..],
        b"\x90\x03\0\x05\x80"
    );
    assert_eq!(
        &encode(&unsuback(vec![Success]), V3_1_1)[..],
        b"\xB0\x02\0\x05"
    );
    let unsubscribe = Unsubscribe::new(id(6), vec![filter("a"), filter("b/+")]);
    check(
        V5,
        b"\xA2\x0B\0\x06\0\0\x01a\0\x03b/+",
        Packet::Unsubscribe(unsubscribe),
    );
}

#[test]
fn pings_and_goodbyes() {
    for version in [V3_1_1, V5] {
        check(version, b"\xC0\0", Packet::PingReq);
        check(version, b"\xD0\0", Packet::PingResp);
        check(
            version,
            b"\xE0\0",
            Packet::Disconnect(Disconnect::new(ReasonCode::Success)),
        );
    }
    let with_will = Disconnect::new(ReasonCode::DisconnectWithWill);
    check(V5, b"\xE0\x01\x04", Packet::Disconnect(with_will));
    check_decoding(
        V5,
        b"\xE0\x02\0\0",
        Packet::Disconnect(Disconnect::new(ReasonCode::Success)),
    );
    let moved = Disconnect {
        server_reference: Some(text("b")),
        remarks: Remarks::because(text("so")),
        ..Disconnect::new(ReasonCode::UseAnotherServer)
    };
    check(
        V5,
        b"\xE0\x0B\x9C\x09\x1C\0\x01b\x1F\0\x02so",
        Packet::Disconnect(moved),
    );
    let keep = Disconnect {
        session_expiry_s: Some(0),
        ..Disconnect::new(ReasonCode::Success)
    };
    check(V5, b"\xE0\x07\0\x05\x11\0\0\0\0", Packet::Disconnect(keep));
}

#[test]
fn steps_of_an_authentication() {
    let step = Auth::new(
        ReasonCode::ContinueAuthentication,
        text("jwt"),
        Some(binary(b"x")),
    );
    check(
        V5,
        b"\xF0\x0C\x18\x0A\x15\0\x03jwt\x16\0\x01x",
        Packet::Auth(step),
    );
    let bare = Auth {
        authentication: None,
        ..Auth::new(ReasonCode::Success, text(""), None)
    };
    check(V5, b"\xF0\0", Packet::Auth(bare));
}

#[test]
fn a_refused_connect_is_answered_in_a_version_its_sender_knows() {
    let refusal = |bytes: &[u8]| {
        let mut decoder = Decoder::of_client(LIMITS);
        let error = decoder.next(&mut BytesMut::from(bytes)).unwrap_err();
        let version = match error {
            highwater_mqtt::DecodeError::UnsupportedVersion { answer_in, .. } => Some(answer_in),
            _ => decoder.version(),
        };
        let mut out = BytesMut::new();
        let packet = Packet::ConnAck(Box::new(ConnAck::refusal(error.reason())));
        version
            .and_then(|version| packet.encode(version, &mut out).ok())
            .map(|()| out.to_vec())
    };
    // MQTT 3.1, and a client of the future.
    assert_eq!(
        refusal(b"\x10\x0D\0\x06MQIsdp\x03\x02\0\0\0").unwrap(),
        b"\x20\x02\0\x01"
    );
    assert_eq!(
        refusal(b"\x10\x07\0\x04MQTT\x06").unwrap(),
        b"\x20\x03\0\x84\0"
    );
    // 5.0 is told what is wrong with its reserved flag, 3.1.1 is not.
    assert_eq!(
        refusal(b"\x10\x0D\0\x04MQTT\x05\x03\0\0\0\0\0").unwrap(),
        b"\x20\x03\0\x81\0"
    );
    assert_eq!(refusal(b"\x10\x0C\0\x04MQTT\x04\x03\0\0\0\0"), None);
    // Another protocol altogether.
    assert_eq!(refusal(b"\x10\x07\0\x04HTTP\x05"), None);
}

#[test]
fn a_server_may_be_narrower_before_it_knows_its_client() {
    let narrow = Limits {
        packet_bytes_max: 64,
        ..LIMITS
    };
    let mut decoder = Decoder::of_client(narrow);
    let large = highwater_mqtt::DecodeError::PacketTooLarge {
        bytes: 2 + 63,
        max: 64,
    };
    assert_eq!(
        decoder.next(&mut BytesMut::from(&b"\x10\x3F"[..])),
        Err(large)
    );
    let mut buf = BytesMut::from(&b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01c"[..]);
    let connect = decoder.next(&mut buf).unwrap().unwrap();
    assert_eq!(connect.kind(), Kind::Connect);
    decoder.set_limits(LIMITS);
    assert_eq!(
        decoder.next(&mut BytesMut::from(&b"\x30\x3F"[..])),
        Ok(None)
    );
}

#[test]
fn texts_are_slices_of_what_was_read_until_detached() {
    let mut buf = encode(
        &Packet::Publish(Publish::new(
            name("a/b"),
            Delivery::AtMostOnce,
            Bytes::from_static(b"payload"),
        )),
        V3_1_1,
    );
    let read = buf.as_ptr_range();
    let mut decoder = Decoder::of_server(V3_1_1, LIMITS);
    let Some(Packet::Publish(publish)) = decoder.next(&mut buf).unwrap() else {
        unreachable!()
    };
    let Topic::Name(name, None) = &publish.topic else {
        unreachable!()
    };
    assert!(read.contains(&name.text().as_bytes().as_ptr()));
    assert!(read.contains(&publish.payload.as_ptr()));
    assert!(!read.contains(&name.detached().text().as_bytes().as_ptr()));
    assert_eq!(name.detached(), *name);
}
