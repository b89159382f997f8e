//! What each side takes of the other, and what becomes of a client that takes nothing (sections 3.1.2.11, 3.2.2.3,
//! 4.9).

use std::{
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use highwater_mqtt::{
    Packet, Qos, ReasonCode, Version,
    packet::{Ack, Subscribe, publish::Delivery},
};
use highwater_proto::limits::MQTT_PACKET_BYTES_MAX;

use super::peer::{
    Peer, VERSIONS, at_least_once, connect, id, message, payload, subscription, text, user_property,
};
use crate::stage::{Stage, within};

const _: () = assert!(MQTT_PACKET_BYTES_MAX < 1 << 21);

#[tokio::test]
async fn a_packet_that_is_too_long_is_refused_from_its_header() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let mut peer = Peer::open(&stage, version).await;
        // 2^21 bytes are announced and never sent.
        peer.send_bytes(&[0x30, 0x80, 0x80, 0x80, 0x01]).await;
        peer.ended(ReasonCode::PacketTooLarge).await;
    }
}

#[tokio::test]
async fn a_message_of_the_largest_size_is_carried_whole() {
    let stage = Stage::open().await;
    let mut reader = Peer::open(&stage, Version::V5).await;
    reader
        .subscribe(vec![subscription("big", Qos::AtLeastOnce)])
        .await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    let big = "x".repeat(1 << 20);
    peer.publish("big", &big).await;
    assert!(payload(&reader.receive().await) == big);
    let too_big = message("big", &"x".repeat((1 << 20) + 1), at_least_once(1));
    let answer = peer.ask(Packet::Publish(too_big)).await;
    assert!(matches!(answer, Packet::PubAck(ack) if ack.reason.is_failure()));
    reader.silent().await;
}

#[tokio::test]
async fn a_client_is_sent_no_packet_that_is_longer_than_it_takes() {
    let stage = Stage::open().await;
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut connect = connect(&stage, Version::V5, "");
        connect.properties.packet_bytes_max = NonZeroU32::new(400);
        connect.properties.receive_max = NonZeroU16::new(2);
        connect.properties.topic_alias_max = Some(10);
        let (mut peer, _) = Peer::with(&stage, connect).await;
        peer.subscribe(vec![subscription("m/+", qos)]).await;
        for round in 0..4 {
            // What is too long counts as if it had been acknowledged (section 3.1.2.11.4).
            stage.publish("m/a", &"x".repeat(500)).await;
            stage.publish("m/b", &round.to_string()).await;
        }
        for round in 0..4 {
            assert_eq!(payload(&peer.receive().await), round.to_string());
        }
        peer.silent().await;
    }
}

#[tokio::test]
async fn a_client_with_small_packets_has_its_messages_without_the_cursor() {
    let stage = Stage::open().await;
    let mut connect = connect(&stage, Version::V5, "small");
    connect.properties.packet_bytes_max = NonZeroU32::new(80);
    let (mut peer, _) = Peer::with(&stage, connect).await;
    peer.subscribe(vec![subscription("TopicA", Qos::ExactlyOnce)])
        .await;
    let mut publisher = Peer::open(&stage, Version::V5).await;
    for (bytes, fits, has_cursor) in [(2, true, true), (32, true, false), (80, false, false)] {
        let mut publish = message("TopicA", &"x".repeat(bytes), at_least_once(1));
        if bytes == 32 {
            publish.properties.user_properties = vec![(text("k"), text("v"))];
        }
        publisher.ask(Packet::Publish(publish)).await;
        if fits {
            let got = peer.receive().await;
            assert_eq!(payload(&got).len(), bytes);
            assert_eq!(user_property(&got, "hw-cursor").is_some(), has_cursor);
            assert_eq!(user_property(&got, "k").is_some(), bytes == 32);
        }
        peer.silent().await;
    }
}

#[tokio::test]
async fn a_client_that_sends_and_does_not_read_is_not_read_for_ever() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    let pings = [0xC0, 0].repeat(64 << 10);
    let mut sent = 0;
    // The answers fill the queue and the sockets; then nothing is taken any more.
    while peer.try_send_bytes(&pings, Duration::from_secs(1)).await {
        sent += pings.len();
        assert!(sent < 256 << 20, "whatever is sent is taken");
    }
    // Others are served meanwhile.
    Peer::open(&stage, Version::V5).await.silent().await;
}

#[tokio::test]
async fn a_client_is_told_that_its_packet_is_too_long_even_as_it_sends_it() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    peer.send_bytes(&[0x30, 0x80, 0x80, 0x80, 0x01]).await;
    let rest = vec![b'x'; 2 << 20];
    peer.try_send_bytes(&rest, Duration::from_secs(1)).await;
    peer.ended(ReasonCode::PacketTooLarge).await;
}

#[tokio::test]
async fn reasons_in_words_come_where_they_are_wanted() {
    let stage = Stage::open().await;
    for wanted in [None, Some(true), Some(false)] {
        let mut connect = connect(&stage, Version::V5, "");
        connect.properties.request_problem_information = wanted;
        let (mut peer, _) = Peer::with(&stage, connect).await;
        let refused = peer
            .ask(Packet::Publish(message("$SYS/x", "x", at_least_once(1))))
            .await;
        let Packet::PubAck(refused) = refused else {
            panic!("{refused:?}");
        };
        let has_words = refused.remarks.reason_string.is_some();
        assert_eq!(has_words, wanted != Some(false));
        let mut invalid = subscription("a", Qos::AtMostOnce);
        invalid.filter = highwater_mqtt::topic::Filter::try_from(text("a/#/b"));
        let refused = peer
            .ask(Packet::Subscribe(Subscribe::new(id(1), vec![invalid])))
            .await;
        let Packet::SubAck(refused) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(
            refused.remarks.reason_string.is_some(),
            wanted != Some(false)
        );
        // In a DISCONNECT they may always be.
        peer.send_bytes(&[0xC1, 0]).await;
        let Packet::Disconnect(end) = peer.next().await else {
            panic!("another packet");
        };
        assert!(end.remarks.reason_string.is_some());
    }
}

#[tokio::test]
async fn a_client_that_acknowledges_nothing_has_its_window_and_no_more() {
    let stage = Stage::open().await;
    for (receive_max, qos) in [
        (1, Qos::AtLeastOnce),
        (3, Qos::ExactlyOnce),
        (5, Qos::AtLeastOnce),
    ] {
        let mut connect = connect(&stage, Version::V5, "");
        connect.properties.receive_max = NonZeroU16::new(receive_max);
        let (mut peer, _) = Peer::with(&stage, connect).await;
        peer.subscribe(vec![
            subscription("w", qos),
            subscription("w/0", Qos::AtMostOnce),
        ])
        .await;
        for said in 0..10 {
            stage.publish("w", &said.to_string()).await;
        }
        let mut waiting = Vec::new();
        for said in 0..receive_max {
            let got = peer.message().await;
            assert_eq!(payload(&got), said.to_string());
            waiting.push(got.delivery.packet_id().unwrap());
        }
        peer.silent().await;
        // QoS 0 is not held up by it.
        stage.publish("w/0", "free").await;
        assert_eq!(payload(&peer.message().await), "free");
        for said in receive_max..10 {
            let ack = Ack::new(waiting.remove(0), ReasonCode::Success);
            if qos == Qos::AtLeastOnce {
                peer.send(Packet::PubAck(ack)).await;
            } else {
                // Half of it does not make room.
                let released = peer.ask(Packet::PubRec(ack.clone())).await;
                assert_eq!(released, Packet::PubRel(ack.clone()));
                peer.silent().await;
                peer.send(Packet::PubComp(ack)).await;
            }
            let got = peer.message().await;
            assert_eq!(payload(&got), said.to_string());
            waiting.push(got.delivery.packet_id().unwrap());
            peer.silent().await;
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_and_loses_nothing() {
    let stage = Stage::open().await;
    let mut slow = Peer::open(&stage, Version::V5).await;
    slow.subscribe(vec![subscription("flood", Qos::AtMostOnce)])
        .await;
    let mut quick = Peer::open(&stage, Version::V5).await;
    quick
        .subscribe(vec![subscription("flood", Qos::AtMostOnce)])
        .await;
    let mut publisher = Peer::open(&stage, Version::V5).await;
    let filler = "x".repeat(60_000);
    // Far more than sockets and queues hold.
    let total = 600;
    for number in 0..total {
        let said = format!("{number} {filler}");
        publisher.publish("flood", &said).await;
        let got = quick.message().await;
        assert!(payload(&got) == said, "{number}");
    }
    for number in 0..total {
        let got = slow.message().await;
        let (first, rest) = payload(&got).split_once(' ').unwrap();
        assert_eq!(first, number.to_string());
        assert!(rest == filler);
    }
    slow.silent().await;
}

#[tokio::test]
async fn qos_0_of_a_publisher_is_taken_as_fast_as_it_is_stored() {
    let stage = Stage::open().await;
    let mut publisher = Peer::open(&stage, Version::V3_1_1).await;
    let mut reader = Peer::open(&stage, Version::V3_1_1).await;
    reader
        .subscribe(vec![subscription("fast", Qos::AtMostOnce)])
        .await;
    let total = 5_000;
    let publishing = async {
        for number in 0..total {
            let publish = message("fast", &number.to_string(), Delivery::AtMostOnce);
            publisher.send(Packet::Publish(publish)).await;
        }
    };
    let reading = async {
        for number in 0..total {
            assert_eq!(payload(&reader.message().await), number.to_string());
        }
    };
    within(async { tokio::join!(publishing, reading) }).await;
}
