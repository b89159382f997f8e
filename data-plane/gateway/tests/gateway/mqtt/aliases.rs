//! Topic aliases, in both directions (section 3.3.2.3.4).

use highwater_mqtt::{
    Packet, Qos, ReasonCode, Version,
    packet::{
        Ack, Publish,
        publish::{Alias, Delivery, Topic},
    },
    topic::Name,
};
use highwater_proto::limits::MQTT_TOPIC_ALIASES_MAX;

use super::peer::{
    Peer, at_least_once, connect, connect_to_stay, id, message, payload, subscription,
    topic_and_payload,
};
use crate::stage::Stage;

fn alias(number: u16) -> Alias {
    Alias::new(number).unwrap()
}

fn named(topic: &str, number: u16) -> Topic {
    Topic::Name(Name::try_from(topic).unwrap(), Some(alias(number)))
}

fn about(topic: Topic, payload: &str, delivery: Delivery) -> Packet {
    let message = message("unused", payload, delivery);
    Packet::Publish(Publish { topic, ..message })
}

#[tokio::test]
async fn a_client_may_say_a_topic_once_and_its_number_from_then_on() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    let mut reader = Peer::open(&stage, Version::V5).await;
    reader
        .subscribe(vec![subscription("a/#", Qos::AtMostOnce)])
        .await;
    let highest = MQTT_TOPIC_ALIASES_MAX;
    for (topic, expected) in [
        (named("a/1", 1), "a/1"),
        (named("a/2", highest), "a/2"),
        (Topic::Alias(alias(1)), "a/1"),
        (Topic::Alias(alias(highest)), "a/2"),
        // It stands for another topic from here on.
        (named("a/3", 1), "a/3"),
        (Topic::Alias(alias(1)), "a/3"),
    ] {
        peer.send(about(topic, "x", at_least_once(1))).await;
        let ack = Packet::PubAck(Ack::new(id(1), ReasonCode::Success));
        assert_eq!(peer.next().await, ack);
        assert_eq!(topic_and_payload(&reader.message().await).0, expected);
    }
}

#[tokio::test]
async fn a_number_that_stands_for_nothing_ends_the_connection() {
    let stage = Stage::open().await;
    for topic in [
        Topic::Alias(alias(1)),
        named("a", MQTT_TOPIC_ALIASES_MAX + 1),
        Topic::Alias(alias(u16::MAX)),
    ] {
        let mut peer = Peer::open(&stage, Version::V5).await;
        peer.send(about(topic, "x", at_least_once(1))).await;
        peer.ended(ReasonCode::TopicAliasInvalid).await;
    }
    let mut peer = Peer::open(&stage, Version::V5).await;
    peer.send_bytes(&[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 0]).await;
    peer.ended(ReasonCode::TopicAliasInvalid).await;
}

#[tokio::test]
async fn numbers_end_with_their_connection() {
    let stage = Stage::open().await;
    let stay = || connect_to_stay(&stage, Version::V5, "stays");
    let (mut peer, _) = Peer::with(&stage, stay()).await;
    peer.ask(about(named("a", 1), "x", at_least_once(1))).await;
    peer.leave().await;
    let (mut peer, answer) = Peer::with(&stage, stay()).await;
    assert!(answer.session_present);
    peer.send(about(Topic::Alias(alias(1)), "x", at_least_once(1)))
        .await;
    peer.ended(ReasonCode::TopicAliasInvalid).await;
}

#[tokio::test]
async fn a_client_is_sent_as_many_numbers_as_it_takes() {
    let stage = Stage::open().await;
    for (max, is_kept) in [(0, false), (1, false), (2, false), (2, true)] {
        let mut connect = connect(&stage, Version::V5, &format!("takes-{max}-{is_kept}"));
        connect.properties.topic_alias_max = Some(max);
        connect.properties.session_expiry_s = is_kept.then_some(600);
        let (mut peer, _) = Peer::with(&stage, connect).await;
        peer.subscribe(vec![subscription("+", Qos::ExactlyOnce)])
            .await;
        let mut publisher = Peer::open(&stage, Version::V5).await;
        let mut known: Vec<(Alias, String)> = Vec::new();
        for round in 0..3 {
            for topic in ["a", "b", "c"] {
                let said = format!("{topic}{round}");
                let packet = message(topic, &said, Delivery::AtMostOnce);
                publisher.send(Packet::Publish(packet)).await;
                let got = peer.receive().await;
                assert_eq!(payload(&got), said);
                let number = got.topic.alias();
                assert!(number.is_none_or(|number| number.get() <= max));
                match got.topic {
                    Topic::Name(name, Some(alias)) => {
                        assert_eq!(name.as_str(), topic);
                        known.push((alias, topic.to_owned()));
                    }
                    Topic::Name(name, None) => assert_eq!(name.as_str(), topic),
                    Topic::Alias(alias) => {
                        assert!(known.contains(&(alias, topic.to_owned())));
                        assert!(round > 0);
                    }
                    Topic::Invalid(..) => panic!("{got:?}"),
                }
            }
        }
        assert_eq!(known.len(), usize::from(max.min(3)), "each is given once");
    }
}

#[tokio::test]
async fn a_number_holds_for_every_qos() {
    let stage = Stage::open().await;
    let mut connect = connect(&stage, Version::V5, "");
    connect.properties.topic_alias_max = Some(1);
    let (mut peer, _) = Peer::with(&stage, connect).await;
    peer.subscribe(vec![subscription("a", Qos::ExactlyOnce)])
        .await;
    let mut publisher = Peer::open(&stage, Version::V5).await;
    let first = message("a", "0", Delivery::AtMostOnce);
    publisher.send(Packet::Publish(first)).await;
    publisher.publish("a", "1").await;
    let last = message("a", "2", super::peer::exactly_once(2));
    publisher.send(Packet::Publish(last)).await;
    assert_eq!(peer.receive().await.topic, named("a", 1));
    assert_eq!(peer.receive().await.topic, Topic::Alias(alias(1)));
    assert_eq!(peer.receive().await.topic, Topic::Alias(alias(1)));
}
