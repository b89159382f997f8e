//! The same bytes given to this codec and to that of rumqttd 0.20: where they differ, and who is right.
//!
//! Four outcomes can differ from ours: rumqttd takes what we refuse, waits for more bytes though the packet is
//! whole, panics, or takes a valid packet for another one. In no row below is it right and we wrong;
//! [`Right::Choice`] marks what the specification leaves open.

#[path = "../../tests/hostile_packets/mod.rs"]
mod hostile_packets;
#[path = "../../tests/packets/mod.rs"]
mod packets;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::BytesMut;
use highwater_mqtt::{
    DecodeError, Frame, Packet, ReasonCode, Text,
    Version::{self, V3_1_1, V5},
    packet::Connect,
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{RngSeed, TestRunner},
};
use rumqttd::protocol::{self, Error, Protocol, v4::V4, v5::V5 as TheirV5};

/// What rumqttd makes of a whole packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Theirs {
    /// It is the packet that it is to us.
    Same,
    /// It is a packet, but what rumqttd writes for it is another one, or none.
    Other,
    Refuses,
    /// It asks for more bytes, so the connection hangs.
    Waits,
    Panics,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    Ours,
    /// The specification leaves it open.
    Choice,
}

/// Our error, what rumqttd does with such packets instead of refusing them, who is right, and why.
type Difference = (&'static str, Theirs, Right, &'static str);

use Right::{Choice, Ours};
use Theirs::{Other, Panics, Refuses, Same, Waits};

/// What we refuse and rumqttd does not. `Other` stands for whatever it takes such bytes for.
#[rustfmt::skip]
const WE_REFUSE: &[Difference] = &[
    ("HeaderFlags",                 Other,  Ours,   "MQTT-2.1.3-1: reserved header flags are fixed"),
    ("DupWithoutQos",               Other,  Ours,   "MQTT-3.3.1-2: QoS 0 is never a repetition"),
    ("LengthNotMinimal",            Other,  Ours,   "MQTT-1.5.5-1; 3.1.1 does not say it of its remaining length"),
    ("Truncated",                   Other,  Ours,   "section 2.2.2.1: a value may not reach beyond the properties"),
    ("TrailingBytes",               Other,  Ours,   "section 4.13: what follows the last field is malformed"),
    ("TextNotUtf8",                 Other,  Ours,   "MQTT-3.3.2-1, MQTT-3.1.3-11: topics are strings too"),
    ("TextHasNul",                  Other,  Ours,   "MQTT-1.5.4-2: no string has U+0000"),
    ("PacketIdZero",                Other,  Ours,   "section 2.2.1: identifiers are not 0"),
    ("ConnectFlagReserved",         Other,  Ours,   "MQTT-3.1.2-3: the server must check the reserved flag"),
    ("PasswordWithoutUsername",     Other,  Ours,   "MQTT-3.1.2-22 of 3.1.1"),
    ("TopicName",                   Other,  Ours,   "MQTT-3.3.2-2, MQTT-4.7.3-1: no wildcards, not empty"),
    ("ResponseTopic",               Other,  Ours,   "MQTT-3.3.2-14: no wildcards"),
    ("TopicMissing",                Other,  Ours,   "section 3.3.2.1: a topic or an alias"),
    ("TopicAliasZero",              Other,  Ours,   "MQTT-3.3.2-8: no alias is 0"),
    ("PropertyUnknown",             Other,  Ours,   "section 2.2.2.2: missed after several subscription identifiers"),
    ("PropertyMisplaced",           Other,  Ours,   "section 2.2.2.2: missed after several subscription identifiers"),
    ("LengthTooLong",               Other,  Ours,   "section 1.5.5: missed after several subscription identifiers"),
    ("PropertyRepeated",            Other,  Ours,   "section 2.2.2.2: a protocol error for all but two"),
    ("PropertyValue",               Other,  Ours,   "sections 3.1.2.11, 3.3.2.3, 3.8.2.1: out of range"),
    ("AuthenticationMethodMissing", Other,  Ours,   "section 3.1.2.11.10: data needs a method"),
    ("NoFilters",                   Other,  Ours,   "MQTT-3.10.3-2: UNSUBSCRIBE has a filter"),
    ("SubscriptionOptionsReserved", Other,  Ours,   "MQTT-3.8.3-5: reserved options are malformed"),
    ("NoLocalShared",               Other,  Ours,   "MQTT-3.8.3-4: a protocol error"),
    ("ConnAckFlagsReserved",        Other,  Ours,   "MQTT-3.2.2-1"),
    ("SessionPresentOnRefusal",     Other,  Ours,   "MQTT-3.2.2-4 of 3.1.1"),
    ("TooManyFilters",              Other,  Choice, "our own limit"),
    ("TooManyUserProperties",       Other,  Choice, "our own limit"),
    ("*",                           Waits,  Ours,   "the packet is whole by its own length: more will not help"),
    // A client can end the thread that reads it with a packet that only servers send.
    ("*",                           Panics, Ours,   "CONNACK and UNSUBACK of 5.0 reach `unreachable!`"),
];

/// What is valid, and not the same to rumqttd: what it is, what rumqttd does, who is right, and why.
#[rustfmt::skip]
const WE_TAKE: &[Difference] = &[
    ("AUTH",                        Refuses, Ours,   "section 3.15: unknown to rumqttd"),
    ("CONNACK of 5.0",              Panics,  Ours,   "section 3.2: rumqttd only writes it"),
    ("UNSUBACK of 5.0",             Panics,  Ours,   "section 3.11: rumqttd only writes it"),
    ("binary password",             Refuses, Ours,   "section 3.1.3.6: a password is binary data"),
    ("empty user name or password", Other,   Ours,   "MQTT-3.1.2-17, MQTT-3.1.2-19: present, though empty"),
    ("DISCONNECT of one byte",      Waits,   Ours,   "section 3.14.2.2.1: no properties may be left out"),
    ("DISCONNECT with 0x8C",        Refuses, Choice, "section 2.4 has it in DISCONNECT, section 3.14.2.1 has not"),
    // Each identifier is counted one byte too long, so what follows several of them becomes payload.
    ("several subscription identifiers", Other, Ours, "section 3.3.2.1.8: read beyond their own length"),
];

fn theirs(version: Version, bytes: &[u8]) -> Theirs {
    let ours = packets::decode(bytes, version).ok();
    let mut stream = BytesMut::from(bytes);
    let read = catch_unwind(AssertUnwindSafe(|| match version {
        V3_1_1 => V4.read_mut(&mut stream, packets::LIMITS.packet_bytes_max),
        V5 => TheirV5.read_mut(&mut stream, packets::LIMITS.packet_bytes_max),
    }));
    match read {
        Err(_) => Panics,
        Ok(Err(Error::InsufficientBytes(_))) => Waits,
        Ok(Err(_)) => Refuses,
        Ok(Ok(packet)) => match written(version, packet) {
            same if same.is_some() && same == ours => Same,
            _ => Other,
        },
    }
}

/// What rumqttd writes for a packet that it has read, as we read it.
fn written(version: Version, packet: protocol::Packet) -> Option<Packet> {
    let mut out = BytesMut::new();
    let write = catch_unwind(AssertUnwindSafe(|| match version {
        V3_1_1 => V4.write(packet, &mut out),
        V5 => TheirV5.write(packet, &mut out),
    }));
    write.ok()?.ok()?;
    // Sometimes it writes a length that is not that of what follows.
    let frame = Frame::take(&mut out, &packets::LIMITS).ok()??;
    let packet = Packet::decode(frame, version, &packets::LIMITS).ok()?;
    out.is_empty().then_some(packet)
}

/// The name of an error without what it holds.
fn name(error: DecodeError) -> String {
    let name = format!("{error:?}");
    let end = name.find(|c: char| !c.is_alphanumeric());
    name[..end.unwrap_or(name.len())].to_owned()
}

/// What rumqttd is known to make of a valid packet; one of these.
fn known(packet: &Packet, version: Version) -> Vec<Theirs> {
    match packet {
        Packet::Auth(_) => vec![listed("AUTH")],
        Packet::ConnAck(_) if version == V5 => vec![listed("CONNACK of 5.0")],
        Packet::UnsubAck(_) if version == V5 => vec![listed("UNSUBACK of 5.0")],
        Packet::Connect(connect) => vec![known_connect(connect)],
        Packet::Disconnect(disconnect) if version == V5 => {
            let bad_method = disconnect.reason == ReasonCode::BadAuthenticationMethod;
            let whole = if bad_method {
                listed("DISCONNECT with 0x8C")
            } else {
                Same
            };
            // Unless it was written with a property length of zero.
            match packet.encoded_len(V5) {
                Ok(3) => vec![whole, listed("DISCONNECT of one byte")],
                _ => vec![whole],
            }
        }
        Packet::Publish(publish) if publish.properties.subscription_ids.len() > 1 => {
            vec![Same, listed("several subscription identifiers")]
        }
        _ => vec![Same],
    }
}

fn known_connect(connect: &Connect) -> Theirs {
    let password = connect
        .password
        .as_ref()
        .map(|password| password.as_bytes());
    let is_text = password.is_none_or(|password| std::str::from_utf8(password).is_ok());
    let empty_username = connect.username.as_ref().is_some_and(Text::is_empty);
    if !is_text {
        listed("binary password")
    } else if empty_username || password == Some(b"") {
        listed("empty user name or password")
    } else {
        Same
    }
}

fn listed(what: &str) -> Theirs {
    let row = WE_TAKE.iter().find(|row| row.0 == what);
    row.expect("a row of the table").1
}

/// Whether this is a way to differ that the table has.
fn is_listed(error: &str, theirs: Theirs) -> bool {
    let row = |row: &&Difference| (row.0 == error || row.0 == "*") && row.1 == theirs;
    theirs == Refuses || WE_REFUSE.iter().any(|each| row(&each))
}

/// Their panics are expected; what they say would only hide what fails here.
fn silence_panics_of_rumqttd() {
    std::panic::set_hook(Box::new(|info| {
        let theirs = info
            .location()
            .is_some_and(|at| at.file().contains("rumqttd-"));
        if !theirs {
            eprintln!("{info}");
        }
    }));
}

#[test]
fn hostile_packets_are_refused_or_a_listed_difference() {
    silence_panics_of_rumqttd();
    let mut counts = BTreeMap::new();
    let mut seen = Vec::new();
    for (statement, version, first, body, error) in hostile_packets::TABLES.into_iter().flatten() {
        let bytes = hostile_packets::packet(*first, body);
        let theirs = theirs(*version, &bytes);
        *counts.entry(theirs).or_insert(0) += 1;
        let error = name(*error);
        assert!(
            is_listed(&error, theirs),
            "{statement}, {error}: {theirs:?}"
        );
        seen.push((error, theirs));
    }
    let counts: Vec<_> = counts.into_iter().collect();
    assert_eq!(
        counts,
        [(Other, 102), (Refuses, 110), (Waits, 6), (Panics, 19)]
    );
    // No row is there without a packet that shows it.
    for (error, theirs, ..) in WE_REFUSE {
        let shown = |(e, t): &(String, Theirs)| t == theirs && (e == error || *error == "*");
        assert!(seen.iter().any(shown), "{error}: {theirs:?}");
    }
}

#[test]
fn valid_packets_are_the_same_or_a_listed_difference() {
    silence_panics_of_rumqttd();
    for version in [V3_1_1, V5] {
        let strategy = packets::any_packet(version);
        let mut runner = TestRunner::deterministic();
        let mut seen = BTreeMap::new();
        for _ in 0..4_000 {
            let packet = strategy.new_tree(&mut runner).unwrap().current();
            let theirs = theirs(version, &packets::encode(&packet, version));
            assert!(
                known(&packet, version).contains(&theirs),
                "{theirs:?}: {packet:?}"
            );
            *seen.entry(theirs).or_insert(0) += 1;
        }
        assert!(seen[&Same] > 2_000, "{seen:?}");
        assert!(
            version == V3_1_1 || seen.len() == 5,
            "every kind of difference: {seen:?}"
        );
    }
}

/// Always the same, but as many as `MQTT_CASES` says.
fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("MQTT_CASES").ok();
    ProptestConfig {
        cases: cases
            .and_then(|cases| cases.parse().ok())
            .unwrap_or(default),
        rng_seed: RngSeed::Fixed(5),
        failure_persistence: None,
        max_local_rejects: u32::MAX,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn packets_gone_wrong_are_refused_by_both_or_a_listed_difference(
        (version, packet) in any_small_packet(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        silence_panics_of_rumqttd();
        let mut bytes = packets::encode(&packet, version);
        for (at, byte) in changes {
            // The length stays right.
            let at = at.index(bytes.len());
            if at != 1 {
                bytes[at] = byte;
            }
        }
        let theirs = theirs(version, &bytes);
        match packets::decode(&bytes, version) {
            // rumqttd reads one version at a port.
            Ok(Packet::Connect(connect)) if connect.version != version => {}
            Ok(packet) => {
                let known = known(&packet, version);
                prop_assert!(known.contains(&theirs), "{theirs:?}, {packet:?}");
            }
            Err(error) => {
                let error = name(error);
                prop_assert!(is_listed(&error, theirs), "{error}, {theirs:?}, {}", bytes.escape_ascii());
            }
        }
    }
}

/// A packet of either version whose length takes one byte.
fn any_small_packet() -> impl Strategy<Value = (Version, Packet)> {
    prop_oneof![Just(V3_1_1), Just(V5)].prop_flat_map(|version| {
        let small = move |packet: &Packet| packet.encoded_len(version).is_ok_and(|len| len < 128);
        let packet = packets::any_packet(version).prop_filter("small", small);
        packet.prop_map(move |packet| (version, packet))
    })
}
