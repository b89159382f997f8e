//! Bytes as a network brings them: in pieces, in heaps, and from clients of something else.

use bytes::BytesMut;
use highwater_mqtt::{Packet, Qos, ReasonCode, Version, packet::publish::Delivery};
use reqwest::StatusCode;

use super::peer::{
    Peer, VERSIONS, at_least_once, connect, exactly_once, message, payload, subscription,
};
use crate::stage::{Stage, expect};

#[tokio::test]
async fn packets_may_come_byte_by_byte() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let mut bytes = BytesMut::new();
        Packet::from(connect(&stage, version, "slow"))
            .encode(version, &mut bytes)
            .unwrap();
        let publish = message("a", &"x".repeat(200), at_least_once(1));
        Packet::Publish(publish)
            .encode(version, &mut bytes)
            .unwrap();
        Packet::PingReq.encode(version, &mut bytes).unwrap();
        let mut peer = Peer::dial(&stage, version).await;
        for byte in bytes {
            peer.send_bytes(&[byte]).await;
            tokio::task::yield_now().await;
        }
        assert!(matches!(peer.next().await, Packet::ConnAck(_)));
        // A PINGRESP need not wait for what is published before it.
        let mut answers = [peer.next().await, peer.next().await].map(|p| p.kind() as u8);
        answers.sort();
        assert_eq!(answers, [4, 13]);
    }
}

#[tokio::test]
async fn many_packets_in_one_segment_are_answered_each() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let mut reader = Peer::open(&stage, version).await;
        let topic = format!("many/{}", version as u8);
        reader
            .subscribe(vec![subscription(&topic, Qos::AtMostOnce)])
            .await;
        let mut bytes = BytesMut::new();
        for number in 1..=600u16 {
            let delivery = match number % 3 {
                0 => Delivery::AtMostOnce,
                1 => at_least_once(number),
                _ => exactly_once(number),
            };
            let publish = message(&topic, &number.to_string(), delivery);
            Packet::Publish(publish)
                .encode(version, &mut bytes)
                .unwrap();
        }
        let mut peer = Peer::open(&stage, version).await;
        peer.send_bytes(&bytes).await;
        let mut answered = Vec::new();
        while answered.len() < 400 {
            match peer.next().await {
                Packet::PubAck(ack) | Packet::PubRec(ack) => {
                    assert_eq!(ack.reason, ReasonCode::Success);
                    answered.push(ack.packet_id.get());
                }
                other => panic!("{other:?}"),
            }
        }
        let expected = (1..=600).filter(|number| number % 3 != 0);
        assert!(
            answered.into_iter().eq(expected),
            "in their order (MQTT-4.6.0-2)"
        );
        for number in 1..=600 {
            assert_eq!(payload(&reader.message().await), number.to_string());
        }
    }
}

#[tokio::test]
async fn garbage_ends_its_connection_and_no_other() {
    let stage = Stage::open().await;
    let mut other = Peer::open(&stage, Version::V5).await;
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    for round in 0..200 {
        let mut garbage = Vec::new();
        for _ in 0..64 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            garbage.push(state as u8);
        }
        let version = VERSIONS[round % 2];
        let mut peer = Peer::open(&stage, version).await;
        // A flag that no packet has, so that it ends whatever the rest would mean.
        garbage[0] = 0xC0 | (1 + garbage[0] % 15);
        peer.send_bytes(&garbage).await;
        peer.rest().await;
        let mut first = Peer::dial(&stage, version).await;
        garbage[0] = 0x10;
        garbage[1] = 60;
        first.send_bytes(&garbage).await;
        first.rest().await;
    }
    other.silent().await;
}

#[tokio::test]
async fn the_same_port_speaks_http() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    peer.subscribe(vec![subscription("a", Qos::AtMostOnce)])
        .await;
    stage.publish("a", "of HTTP").await;
    assert_eq!(payload(&peer.message().await), "of HTTP");
    peer.publish("b", "of MQTT").await;
    let page = expect(stage.get("/v1/messages/b?from=earliest"), StatusCode::OK).await;
    assert_eq!(page["records"].as_array().unwrap().len(), 1);
}
