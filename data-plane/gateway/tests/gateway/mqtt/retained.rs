//! Retained messages (sections 3.3.1.3 and 3.8.3.1).

use highwater_mqtt::{
    Packet, Qos, ReasonCode, Version,
    packet::{
        Publish,
        publish::Delivery,
        subscribe::{RetainHandling, Subscription},
    },
};
use reqwest::StatusCode;

use super::peer::{
    Peer, VERSIONS, at_least_once, connect_to_stay, exactly_once, message, payload, subscription,
    topic_and_payload,
};
use crate::stage::{Stage, expect};

/// Publishes a message that is kept; an empty one ends that.
async fn retain(stage: &Stage, topic: &str, payload: &str, delivery: Delivery) {
    let mut publisher = Peer::open(stage, Version::V5).await;
    let mut publish = message(topic, payload, delivery);
    publish.retain = true;
    publisher.send(Packet::Publish(publish)).await;
    if delivery != Delivery::AtMostOnce {
        publisher.next().await;
    }
    publisher.leave().await;
}

/// The next messages in order of their topics.
async fn kept(peer: &mut Peer, count: usize) -> Vec<(String, String)> {
    let mut kept = Vec::new();
    for _ in 0..count {
        let message = peer.receive().await;
        assert!(message.retain, "{message:?}");
        kept.push(topic_and_payload(&message));
    }
    kept.sort();
    kept
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec()
}

#[tokio::test]
async fn a_new_subscriber_begins_with_the_last_retained_message_of_each_topic() {
    for shards in [1, 3] {
        let stage = Stage::with(shards, Default::default(), None).await;
        for (topic, said) in [
            ("a/1", "old"),
            ("a/1", "new"),
            ("a/2", "x"),
            ("a/3", "x"),
            ("b", "x"),
        ] {
            retain(&stage, topic, said, at_least_once(1)).await;
        }
        stage.publish("a/2", "not retained").await;
        retain(&stage, "a/3", "", at_least_once(1)).await;
        for version in VERSIONS {
            let mut peer = Peer::open(&stage, version).await;
            peer.subscribe(vec![subscription("a/+", Qos::AtLeastOnce)])
                .await;
            assert_eq!(
                kept(&mut peer, 2).await,
                pairs([("a/1", "new"), ("a/2", "x")])
            );
            peer.silent().await;
            // A filter of no topic has none; a topic that had one has none.
            peer.subscribe(vec![subscription("a/3", Qos::AtLeastOnce)])
                .await;
            peer.subscribe(vec![subscription("none/#", Qos::AtLeastOnce)])
                .await;
            peer.silent().await;
            peer.subscribe(vec![subscription("b", Qos::AtLeastOnce)])
                .await;
            assert_eq!(kept(&mut peer, 1).await, pairs([("b", "x")]));
        }
    }
}

#[tokio::test]
async fn a_retained_message_is_an_ordinary_one_to_those_who_are_there() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    let plain = subscription("a/+", Qos::AtLeastOnce);
    let as_published = Subscription {
        retain_as_published: true,
        ..subscription("a/#", Qos::AtLeastOnce)
    };
    peer.subscribe(vec![plain, as_published]).await;
    let mut old = Peer::open(&stage, Version::V3_1_1).await;
    old.subscribe(vec![subscription("a/+", Qos::AtLeastOnce)])
        .await;
    for (said, retained) in [("kept", true), ("passing", false), ("", true)] {
        match retained {
            true => retain(&stage, "a/1", said, at_least_once(1)).await,
            false => drop(stage.publish("a/1", said).await),
        }
        let mut flags = Vec::new();
        for _ in 0..2 {
            let message = peer.receive().await;
            assert_eq!(payload(&message), said);
            flags.push(message.retain);
        }
        flags.sort();
        assert_eq!(flags, [false, retained], "{said}");
        let message = old.receive().await;
        assert_eq!((payload(&message), message.retain), (said, false));
    }
}

#[tokio::test]
async fn a_subscriber_says_when_it_wants_what_is_retained() {
    let stage = Stage::open().await;
    retain(&stage, "a", "kept", at_least_once(1)).await;
    for (handling, on_new, on_known) in [
        (RetainHandling::Send, 1, 1),
        (RetainHandling::SendIfNew, 1, 0),
        (RetainHandling::DoNotSend, 0, 0),
    ] {
        let stay = || connect_to_stay(&stage, Version::V5, &format!("{handling:?}"));
        let asked = Subscription {
            retain_handling: handling,
            ..subscription("+", Qos::AtLeastOnce)
        };
        let (mut peer, _) = Peer::with(&stage, stay()).await;
        for expected in [on_new, on_known, on_known] {
            let mut granted = false;
            peer.send(subscribe(&asked)).await;
            // The answer is held until the session is written, what is retained is not.
            let mut got = 0;
            while !granted || got < expected {
                match peer.next().await {
                    Packet::SubAck(_) => granted = true,
                    Packet::Publish(publish) => {
                        assert!(publish.retain);
                        got += 1;
                        let id = publish.delivery.packet_id().unwrap();
                        let ack = highwater_mqtt::packet::Ack::new(id, ReasonCode::Success);
                        peer.send(Packet::PubAck(ack)).await;
                    }
                    other => panic!("{other:?}"),
                }
            }
            peer.silent().await;
            assert_eq!(got, expected, "{handling:?}");
        }
        // A session that goes on has its subscriptions, and nothing is sent for them again.
        peer.leave().await;
        let (mut peer, _) = Peer::with(&stage, stay()).await;
        peer.silent().await;
        // After it was ended it is a new one.
        peer.unsubscribe("+").await;
        peer.send(subscribe(&asked)).await;
        let mut got = 0;
        let mut granted = false;
        while !granted || got < on_new {
            match peer.next().await {
                Packet::SubAck(_) => granted = true,
                Packet::Publish(_) => got += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(got, on_new);
    }
}

fn subscribe(asked: &Subscription) -> Packet {
    let asked = vec![asked.clone()];
    Packet::Subscribe(highwater_mqtt::packet::Subscribe::new(
        super::peer::id(1),
        asked,
    ))
}

#[tokio::test]
async fn a_retained_message_comes_with_the_lower_of_both_qos() {
    let stage = Stage::open().await;
    retain(&stage, "q/0", "x", Delivery::AtMostOnce).await;
    retain(&stage, "q/1", "x", at_least_once(1)).await;
    retain(&stage, "q/2", "x", exactly_once(1)).await;
    for version in VERSIONS {
        for asked in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut peer = Peer::open(&stage, version).await;
            peer.subscribe(vec![subscription("q/+", asked)]).await;
            let mut got = Vec::new();
            for _ in 0..3 {
                let Publish { delivery, .. } = peer.receive().await;
                got.push(delivery.qos());
            }
            got.sort();
            let all = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
            assert_eq!(got, all.map(|qos| qos.min(asked)));
        }
    }
}

#[tokio::test]
async fn a_retained_message_that_has_expired_is_gone() {
    let stage = Stage::open().await;
    let mut publisher = Peer::open(&stage, Version::V5).await;
    let mut publish = message("a", "for a while", at_least_once(1));
    publish.retain = true;
    publish.properties.message_expiry_s = Some(30);
    publisher.ask(Packet::Publish(publish)).await;
    stage.advance(10_000);
    for (advance, expected) in [(0, Some(20)), (15_000, Some(5)), (10_000, None)] {
        stage.advance(advance);
        let mut peer = Peer::open(&stage, Version::V5).await;
        peer.subscribe(vec![subscription("+", Qos::AtMostOnce)])
            .await;
        if expected.is_some() {
            let message = peer.message().await;
            assert_eq!(message.properties.message_expiry_s, expected);
        }
        peer.silent().await;
    }
}

#[tokio::test]
async fn what_is_retained_is_the_same_in_every_protocol() {
    let stage = Stage::open().await;
    retain(&stage, "a", "of MQTT", at_least_once(1)).await;
    let page = stage.get("/v1/messages/a?from=retained");
    let page = expect(page, StatusCode::OK).await;
    assert_eq!(page["records"].as_array().unwrap().len(), 1);
    let request = stage
        .post("/v1/messages/b", "of HTTP")
        .header("content-type", "text/plain")
        .header("highwater-retain", "true");
    expect(request, StatusCode::CREATED).await;
    let mut peer = Peer::open(&stage, Version::V3_1_1).await;
    peer.subscribe(vec![subscription("#", Qos::AtMostOnce)])
        .await;
    let expected = pairs([("a", "of MQTT"), ("b", "of HTTP")]);
    assert_eq!(kept(&mut peer, 2).await, expected);
}
