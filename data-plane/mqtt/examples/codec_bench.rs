//! How long a PUBLISH of 128 bytes takes to decode and to encode, one way and the other.
//!
//! `cargo run --release -p highwater-mqtt --example codec_bench`
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use highwater_mqtt::{
    Decoder, Limits, Packet, PacketId, Template, Text, Version,
    packet::{
        Publish,
        publish::{Delivery, Properties},
    },
    template::Own,
    topic::Name,
};

const LIMITS: Limits = Limits {
    packet_bytes_max: 1 << 20,
    user_properties_max: 64,
    filters_max: 256,
};
/// Packets in one read of 64 KiB, about.
const PACKETS: usize = 400;
const ROUNDS: usize = 2_000;

fn main() {
    for (version, properties) in [
        (Version::V3_1_1, Properties::default()),
        (Version::V5, Properties::default()),
        (Version::V5, some_properties()),
    ] {
        let many = properties.content_type.is_some();
        let with = if many { ", 3 properties" } else { "" };
        println!("{version}, QoS 1, 128 bytes{with}");
        let publish = Publish {
            properties,
            ..Publish::new(topic(), delivery(), Bytes::from(vec![b'x'; 128]))
        };
        decode(version, &publish);
        encode(version, &publish);
    }
}

fn topic() -> Name {
    Name::try_from("orders/eu/42").expect("a topic")
}

fn delivery() -> Delivery {
    Delivery::AtLeastOnce {
        id: id(),
        dup: false,
    }
}

fn id() -> PacketId {
    PacketId::new(42).expect("not 0")
}

fn some_properties() -> Properties {
    let pair = |name, value| (Text::from_static(name), Text::from_static(value));
    Properties {
        content_type: Some(Text::from_static("application/json")),
        message_expiry_s: Some(60),
        user_properties: vec![pair("hw-cursor", "0123456789abcdef")],
        ..Properties::default()
    }
}

fn decode(version: Version, publish: &Publish) {
    let mut stream = BytesMut::new();
    let packet = Packet::Publish(publish.clone());
    for _ in 0..PACKETS {
        packet.encode(version, &mut stream).expect("small enough");
    }
    let mut decoder = Decoder::of_server(version, LIMITS);
    let mut elapsed = Duration::ZERO;
    for _ in 0..ROUNDS {
        let mut read = BytesMut::from(&stream[..]);
        let started = Instant::now();
        while let Some(packet) = decoder.next(&mut read).expect("as encoded") {
            black_box(packet);
        }
        elapsed += started.elapsed();
    }
    report("decode", elapsed);
}

fn encode(version: Version, publish: &Publish) {
    let packet = Packet::Publish(publish.clone());
    measure("encode the packet", |out| {
        black_box(&packet)
            .encode(version, out)
            .expect("small enough");
    });
    let template = Template::new(
        version,
        topic(),
        &publish.properties,
        publish.payload.clone(),
    );
    let own = Own::only(delivery());
    measure("encode from a template", |out| {
        black_box(&template)
            .encode(&own, out)
            .expect("small enough");
    });
}

fn measure(what: &str, mut append: impl FnMut(&mut BytesMut)) {
    let mut out = BytesMut::with_capacity(PACKETS * 256);
    let started = Instant::now();
    for _ in 0..ROUNDS {
        out.clear();
        for _ in 0..PACKETS {
            append(&mut out);
        }
        black_box(&out);
    }
    report(what, started.elapsed());
}

fn report(what: &str, elapsed: Duration) {
    let each = elapsed.as_nanos() as f64 / (PACKETS * ROUNDS) as f64;
    println!("  {what:<24} {each:>6.1} ns");
}
