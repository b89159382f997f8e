//! A stream of bytes, however it is cut and whatever is in it.

#[path = "../fuzz/invariants.rs"]
mod invariants;
mod packets;

use std::{fs, path::Path};

use bytes::BytesMut;
use highwater_mqtt::{Decoder, Frame, Kind, Packet, Sender, Text, Version, packet::Connect};
use invariants::packets_of;
use packets::*;
use proptest::{collection::vec, prelude::*, sample::Index};

/// Packets that one side may send, after a CONNECT if it is the client.
fn any_stream(sender: Sender, version: Version) -> impl Strategy<Value = Vec<Packet>> {
    let may = move |packet: &Packet| {
        let mut decoder = decoder(sender, version);
        let mut buf = BytesMut::new();
        if sender == Sender::Client {
            let connect = connect(version);
            connect.encode(version, &mut buf).unwrap();
        }
        packet.encode(version, &mut buf).unwrap();
        while !buf.is_empty() {
            if decoder.next(&mut buf).is_err() {
                return false;
            }
        }
        true
    };
    vec(any_packet(version), 1..8).prop_map(move |mut packets| {
        packets.retain(may);
        if sender == Sender::Client {
            packets.insert(0, connect(version));
        }
        packets
    })
}

fn connect(version: Version) -> Packet {
    let connect = Connect::new(version, Text::from_static("c"));
    Packet::from(connect)
}

fn decoder(sender: Sender, version: Version) -> Decoder {
    match sender {
        Sender::Client => Decoder::of_client(LIMITS),
        Sender::Server => Decoder::of_server(version, LIMITS),
    }
}

fn any_version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V3_1_1), Just(Version::V5)]
}

fn any_side() -> impl Strategy<Value = (Sender, Version, Vec<Packet>)> {
    let sender = prop_oneof![Just(Sender::Client), Just(Sender::Server)];
    (sender, any_version()).prop_flat_map(|(sender, version)| {
        any_stream(sender, version).prop_map(move |packets| (sender, version, packets))
    })
}

/// How one byte of a packet goes wrong.
#[derive(Debug, Clone)]
enum Mutation {
    Set(Index, u8),
    Flip(Index, u8),
    Remove(Index),
    Insert(Index, u8),
    Cut(Index),
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        any::<Index>().prop_map(Mutation::Remove),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Cut),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    match mutation {
        Mutation::Set(at, byte) => bytes[at.index(len)] = *byte,
        Mutation::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
        Mutation::Remove(at) => drop(bytes.remove(at.index(len))),
        Mutation::Insert(at, byte) => bytes.insert(at.index(len), *byte),
        Mutation::Cut(at) => bytes.truncate(at.index(len)),
    }
}

/// As many as `MQTT_CASES` says, for a long run by hand.
fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("MQTT_CASES").ok();
    let cases = cases
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(default);
    ProptestConfig {
        // A quarter of all packets cannot be said in 3.1.1; a long run may pass over as many as it meets.
        max_local_rejects: u32::MAX,
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn any_split_of_the_stream_is_the_same_packets(
        (sender, version, packets) in any_side(),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let mut bytes = Vec::new();
        for packet in &packets {
            bytes.extend_from_slice(&encode(packet, version));
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
        let of_pieces = packets_of(decoder(sender, version), pieces);
        prop_assert_eq!(of_pieces, (packets.clone(), None));
        let of_bytes = packets_of(decoder(sender, version), bytes.chunks(1));
        prop_assert_eq!(of_bytes, (packets, None));
    }
}

proptest! {
    #![proptest_config(cases(20_000))]

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..64)) {
        invariants::check(&bytes);
    }

    /// A right header brings any bytes past the first look.
    #[test]
    fn any_body_is_survived(first in any::<u8>(), body in vec(0..48_u8, 0..64)) {
        let mut bytes = vec![first, body.len() as u8];
        bytes.extend_from_slice(&body);
        invariants::check(&bytes);
    }

}

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn a_packet_gone_wrong_is_survived(
        (_, version, packets) in any_side(),
        mutations in vec(any_mutation(), 1..4),
    ) {
        let mut bytes = Vec::new();
        for packet in packets.iter().filter(|packet| packet.encoded_len(version).unwrap() < 300) {
            let mut packet = encode(packet, version).to_vec();
            for mutation in &mutations {
                mutate(&mut packet, mutation);
            }
            // Mostly the length is right again, so that more than the length is looked at.
            if packet.len() > 2 && packet.len() < 130 {
                packet[1] = packet.len() as u8 - 2;
            }
            bytes.extend_from_slice(&packet);
        }
        invariants::check(&bytes);
    }
}

#[test]
fn a_packet_cut_short_is_no_packet_until_its_last_byte() {
    let strategy = any_packet(Version::V5);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..300 {
        let packet = strategy.new_tree(&mut runner).unwrap().current();
        let bytes = encode(&packet, Version::V5);
        for len in 0..bytes.len().min(200) {
            let mut part = BytesMut::from(&bytes[..len]);
            let taken = Frame::take(&mut part, &LIMITS);
            assert_eq!(taken, Ok(None), "{packet:?} cut after {len} bytes");
            assert_eq!(part.len(), len, "nothing is taken");
        }
    }
}

/// The seeds of the fuzz target: a packet of each type and version.
///
/// `UPDATE=1 cargo test -p highwater-mqtt` makes them anew.
#[test]
fn the_seeds_of_the_fuzz_target_are_packets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (version, name) in [(Version::V3_1_1, "v3"), (Version::V5, "v5")] {
        for kind in Kind::ALL {
            let path = folder.join(format!("{name}-{}", kind.name().to_lowercase()));
            let seed = seed(version, kind);
            if let (Some(seed), Some(_)) = (&seed, std::env::var_os("UPDATE")) {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&path, seed).unwrap();
            }
            // AUTH has no seed of 3.1.1.
            let decoded = fs::read(&path).map(|bytes| decode(&bytes, version).unwrap());
            let decoded = decoded.map(|packet| packet.kind());
            assert_eq!(decoded.ok(), seed.map(|_| kind), "{path:?}");
        }
    }
}

/// The largest of some packets of this type that the fuzz target's limits allow.
fn seed(version: Version, kind: Kind) -> Option<Vec<u8>> {
    let strategy = any_packet(version);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let packets = (0..600).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    let encoded = packets
        .filter(|packet| packet.kind() == kind)
        .map(|packet| encode(&packet, version).to_vec());
    encoded
        .filter(|bytes| bytes.len() < 200)
        .max_by_key(Vec::len)
}
