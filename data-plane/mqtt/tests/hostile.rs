//! What has to be refused, each with the statement of the specification that says so.
//!
//! Sections of 3.1.1 are marked with its version; all others are of 5.0.

mod hostile_packets;
mod packets;

use bytes::BytesMut;
use highwater_mqtt::{
    DecodeError::{self, *},
    Decoder, Frame, Kind, Packet, Property, ReasonCode,
    Version::{self, V3_1_1, V5},
};
use hostile_packets::{
    ACKS, CONNACK, CONNECT, FILTER_ACKS, OTHERS, PUBLISH, Row, SUBSCRIBE, TABLES, packet,
};
use packets::LIMITS;

fn decode(version: Version, mut bytes: BytesMut) -> Result<Packet, DecodeError> {
    let frame = Frame::take(&mut bytes, &LIMITS)?.expect("a whole packet");
    Packet::decode(frame, version, &LIMITS)
}

fn check(rows: &[Row]) {
    for (statement, version, first, body, expected) in rows {
        let decoded = decode(*version, packet(*first, body));
        let case = format!(
            "{statement}, {version}: {first:#04x} {}",
            body.escape_ascii()
        );
        assert_eq!(decoded, Err(*expected), "{case}");
        // Whatever it is, there is a packet to say it in.
        let reason = expected.reason();
        let in_disconnect = reason.belongs_in(Kind::Disconnect);
        assert!(in_disconnect || reason.belongs_in(Kind::ConnAck), "{case}");
        assert!(reason.is_failure(), "{case}");
    }
}

#[test]
fn a_connect_that_is_not_right_is_refused() {
    check(CONNECT);
}

#[test]
fn a_connack_that_is_not_right_is_refused() {
    check(CONNACK);
}

#[test]
fn a_publish_that_is_not_right_is_refused() {
    check(PUBLISH);
}

#[test]
fn acknowledgements_that_are_not_right_are_refused() {
    check(ACKS);
    check(FILTER_ACKS);
}

#[test]
fn subscriptions_that_are_not_right_are_refused() {
    check(SUBSCRIBE);
}

#[test]
fn all_others_that_are_not_right_are_refused() {
    check(OTHERS);
}

/// Statement, whether the client sent it, version, what came before, what comes now, why it is refused.
type Order = (
    &'static str,
    Decoder,
    &'static [u8],
    &'static [u8],
    DecodeError,
);

const CONNECT_V3: &[u8] = b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01c";
const CONNECT_V5: &[u8] = b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01c";

#[test]
fn what_this_side_must_not_send_or_not_now_is_refused() {
    let client = || Decoder::of_client(LIMITS);
    let server = |version| Decoder::of_server(version, LIMITS);
    let misplaced = |kind, reason| ReasonMisplaced { kind, reason };
    #[rustfmt::skip]
    let rows: Vec<Order> = vec![
        ("MQTT-3.1.0-1",       client(), b"", b"\x30",                      ConnectExpected(Kind::Publish)),
        ("MQTT-3.1.0-1",       client(), b"", b"\xC0\0",                    ConnectExpected(Kind::PingReq)),
        ("MQTT-3.1.0-1",       client(), b"", b"\xE0\0",                    ConnectExpected(Kind::Disconnect)),
        ("MQTT-3.1.0-2",       client(), CONNECT_V5, b"\x10",               ConnectRepeated),
        ("MQTT-3.1.0-2",       client(), CONNECT_V3, CONNECT_V3,            ConnectRepeated),
        ("section 2.1.2",      client(), CONNECT_V5, b"\x20\x03\0\0\0",     WrongDirection(Kind::ConnAck)),
        ("section 2.1.2",      client(), CONNECT_V3, b"\x20\x02\0\0",       WrongDirection(Kind::ConnAck)),
        ("section 2.1.2",      client(), CONNECT_V5, b"\x90",               WrongDirection(Kind::SubAck)),
        ("section 2.1.2",      client(), CONNECT_V5, b"\xB0",               WrongDirection(Kind::UnsubAck)),
        ("section 2.1.2",      client(), CONNECT_V3, b"\xD0\0",             WrongDirection(Kind::PingResp)),
        ("section 2.1.2",      server(V5), b"", CONNECT_V5,                 WrongDirection(Kind::Connect)),
        ("section 2.1.2",      server(V5), b"", b"\x82",                    WrongDirection(Kind::Subscribe)),
        ("section 2.1.2",      server(V5), b"", b"\xA2",                    WrongDirection(Kind::Unsubscribe)),
        ("section 2.1.2",      server(V3_1_1), b"", b"\xC0\0",              WrongDirection(Kind::PingReq)),
        ("section 3.14 of 3.1.1", server(V3_1_1), b"", b"\xE0\0",           WrongDirection(Kind::Disconnect)),
        ("section 2.2.1 of 3.1.1", client(), CONNECT_V3, b"\xF0",           ReservedType(15)),
        ("MQTT-3.3.4-6",       client(), CONNECT_V5, b"\x30\x06\0\x01a\x02\x0B\x01", SubscriptionIdFromClient),
        ("section 3.14.2.1",   client(), CONNECT_V5, b"\xE0\x01\x8B",       misplaced(Kind::Disconnect, ReasonCode::ServerShuttingDown)),
        ("section 3.14.2.1",   client(), CONNECT_V5, b"\xE0\x01\x8E",       misplaced(Kind::Disconnect, ReasonCode::SessionTakenOver)),
        ("section 3.14.2.2.5", client(), CONNECT_V5, b"\xE0\x05\0\x03\x1C\0\0", PropertyMisplaced(Property::ServerReference)),
        ("MQTT-3.14.2-2",      server(V5), b"", b"\xE0\x07\0\x05\x11\0\0\0\0", PropertyMisplaced(Property::SessionExpiry)),
        ("section 3.15.2.1",   client(), CONNECT_V5, b"\xF0\0",             misplaced(Kind::Auth, ReasonCode::Success)),
        ("section 3.15.2.1",   server(V5), b"", b"\xF0\x05\x19\x03\x15\0\0", misplaced(Kind::Auth, ReasonCode::ReAuthenticate)),
    ];
    for (statement, mut decoder, before, now, expected) in rows {
        let mut buf = BytesMut::from(before);
        while decoder.next(&mut buf).unwrap().is_some() {}
        buf.extend_from_slice(now);
        let case = format!("{statement}: {}", now.escape_ascii());
        assert_eq!(decoder.next(&mut buf), Err(expected), "{case}");
    }
}

/// The packets that have properties, in the order of the columns below.
const PLACES: [&str; 13] = [
    "CONNECT",
    "will",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "DISCONNECT",
];

/// A packet with these properties and nothing else that could be refused.
fn with_properties(place: &str, properties: &[u8]) -> BytesMut {
    let length = [properties.len() as u8];
    let (first, before, after): (u8, &[u8], &[u8]) = match place {
        "CONNECT" => (0x10, b"\0\x04MQTT\x05\x02\0\0", b"\0\x01c"),
        "will" => (0x10, b"\0\x04MQTT\x05\x06\0\0\0\0\x01c", b"\0\x01w\0\0"),
        "CONNACK" => (0x20, b"\0\0", b""),
        "PUBLISH" => (0x30, b"\0\x01a", b"hi"),
        "PUBACK" => (0x40, b"\0\x01\0", b""),
        "PUBREC" => (0x50, b"\0\x01\0", b""),
        "PUBREL" => (0x62, b"\0\x01\0", b""),
        "PUBCOMP" => (0x70, b"\0\x01\0", b""),
        "SUBSCRIBE" => (0x82, b"\0\x01", b"\0\x01a\0"),
        "SUBACK" => (0x90, b"\0\x01", b"\0"),
        "UNSUBSCRIBE" => (0xA2, b"\0\x01", b"\0\x01a"),
        "UNSUBACK" => (0xB0, b"\0\x01", b"\0"),
        "DISCONNECT" => (0xE0, b"\0", b""),
        "AUTH" => (0xF0, b"\x18", b""),
        _ => unreachable!(),
    };
    packet(first, &[before, &length, properties, after].concat())
}

/// Section 2.2.2.2 as a table: a property with a value that it may have, and where it may be. AUTH is
/// apart, because it always has a method.
#[rustfmt::skip]
const PROPERTIES: [(Property, &[u8], &str); 27] = [
    // CONNECT, will, CONNACK, PUBLISH, four acknowledgements, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK,
    // DISCONNECT; then AUTH.
    (Property::PayloadFormat,                 b"\x01\x01",        "01010000000000"),
    (Property::MessageExpiry,                 b"\x02\0\0\0\x07",  "01010000000000"),
    (Property::ContentType,                   b"\x03\0\x01t",     "01010000000000"),
    (Property::ResponseTopic,                 b"\x08\0\x01r",     "01010000000000"),
    (Property::CorrelationData,               b"\x09\0\x01\0",    "01010000000000"),
    (Property::SubscriptionId,                b"\x0B\x80\x01",    "00010000100000"),
    (Property::SessionExpiry,                 b"\x11\0\0\0\0",    "10100000000010"),
    (Property::AssignedClientId,              b"\x12\0\x01c",     "00100000000000"),
    (Property::ServerKeepAlive,               b"\x13\0\0",        "00100000000000"),
    (Property::AuthenticationMethod,          b"\x15\0\x01m",     "10100000000001"),
    (Property::AuthenticationData,            b"\x16\0\x01\0",    "10100000000001"),
    (Property::RequestProblemInformation,     b"\x17\0",          "10000000000000"),
    (Property::WillDelay,                     b"\x18\0\0\0\0",    "01000000000000"),
    (Property::RequestResponseInformation,    b"\x19\x01",        "10000000000000"),
    (Property::ResponseInformation,           b"\x1A\0\x01i",     "00100000000000"),
    (Property::ServerReference,               b"\x1C\0\x01s",     "00100000000010"),
    (Property::ReasonString,                  b"\x1F\0\x01r",     "00101111010111"),
    (Property::ReceiveMax,                    b"\x21\0\x01",      "10100000000000"),
    (Property::TopicAliasMax,                 b"\x22\0\0",        "10100000000000"),
    (Property::TopicAlias,                    b"\x23\0\x01",      "00010000000000"),
    (Property::QosMax,                        b"\x24\x01",        "00100000000000"),
    (Property::RetainAvailable,               b"\x25\0",          "00100000000000"),
    (Property::UserProperty,                  b"\x26\0\x01n\0\0", "11111111111111"),
    (Property::PacketBytesMax,                b"\x27\0\0\0\x01",  "10100000000000"),
    (Property::WildcardSubscriptionAvailable, b"\x28\0",          "00100000000000"),
    (Property::SubscriptionIdAvailable,       b"\x29\0",          "00100000000000"),
    (Property::SharedSubscriptionAvailable,   b"\x2A\x01",        "00100000000000"),
];

const METHOD: &[u8] = b"\x15\0\x01m";

#[test]
fn each_property_is_taken_where_it_belongs_and_nowhere_else() {
    for (property, bytes, columns) in PROPERTIES {
        let places = PLACES.into_iter().chain(["AUTH"]).zip(columns.chars());
        for (place, column) in places {
            // Data alone and an AUTH without a method are refused for that.
            let is_method = property == Property::AuthenticationMethod;
            let needs_method =
                place == "AUTH" || property == Property::AuthenticationData && column == '1';
            let method = if needs_method && !is_method {
                METHOD
            } else {
                b""
            };
            let once = decode(V5, with_properties(place, &[method, bytes].concat()));
            let twice = decode(V5, with_properties(place, &[method, bytes, bytes].concat()));
            let case = format!("{property} in {place}");
            if column == '0' {
                assert_eq!(once, Err(PropertyMisplaced(property)), "{case}");
                continue;
            }
            assert!(once.is_ok(), "{case}: {once:?}");
            let may_repeat = property == Property::UserProperty
                || property == Property::SubscriptionId && place == "PUBLISH";
            match may_repeat {
                true => assert!(twice.is_ok(), "{case} twice: {twice:?}"),
                false => assert_eq!(twice, Err(PropertyRepeated(property)), "{case} twice"),
            }
            for len in 1..bytes.len() {
                let cut = decode(
                    V5,
                    with_properties(place, &[method, &bytes[..len]].concat()),
                );
                assert_eq!(cut, Err(Truncated), "{case} cut after {len} bytes");
            }
        }
    }
}

#[test]
fn identifiers_of_properties_that_do_not_exist_are_refused_everywhere() {
    for place in PLACES.into_iter().chain(["AUTH"]) {
        for number in 0..=u8::MAX {
            let unknown = Property::from_number(number).is_none();
            let decoded = decode(V5, with_properties(place, &[number, 0, 0, 0, 0]));
            let refused = decoded == Err(PropertyUnknown(number));
            assert_eq!(refused, unknown, "{number:#04x} in {place}");
        }
    }
}

#[test]
fn each_reason_code_is_taken_where_it_belongs_and_nowhere_else() {
    let places: [(Kind, u8, &[u8], &[u8]); 9] = [
        (Kind::ConnAck, 0x20, b"\0", b"\0"),
        (Kind::PubAck, 0x40, b"\0\x01", b""),
        (Kind::PubRec, 0x50, b"\0\x01", b""),
        (Kind::PubRel, 0x62, b"\0\x01", b""),
        (Kind::PubComp, 0x70, b"\0\x01", b""),
        (Kind::SubAck, 0x90, b"\0\x01\0", b""),
        (Kind::UnsubAck, 0xB0, b"\0\x01\0", b""),
        (Kind::Disconnect, 0xE0, b"", b""),
        (Kind::Auth, 0xF0, b"", b"\x04\x15\0\x01m"),
    ];
    for (kind, first, before, after) in places {
        for number in 0..=u8::MAX {
            let decoded = decode(V5, packet(first, &[before, &[number], after].concat()));
            match ReasonCode::from_number(number) {
                None => assert_eq!(decoded, Err(ReasonUnknown(number)), "{kind}"),
                Some(reason) if reason.belongs_in(kind) => {
                    assert!(decoded.is_ok(), "{reason} in {kind}: {decoded:?}");
                }
                Some(reason) => assert_eq!(decoded, Err(ReasonMisplaced { kind, reason })),
            }
        }
    }
}

#[test]
fn the_tables_are_long() {
    let rows: usize = TABLES.map(<[Row]>::len).iter().sum();
    assert!(rows >= 230, "{rows} rows");
}
