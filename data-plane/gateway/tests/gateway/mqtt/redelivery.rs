//! What was under way when a connection ended, and how the next one goes on with it (sections 4.4 and 4.6).

use std::{collections::HashMap, num::NonZeroU16};

use highwater_broker::Refusal;
use highwater_mqtt::{
    Packet, Qos, ReasonCode, Version,
    packet::{Ack, Disconnect, Publish, Subscribe, publish::Delivery},
};
use highwater_proto::ErrorCode;

use super::peer::{
    Peer, VERSIONS, connect_to_stay, exactly_once, id, message, payload, subscription,
};
use crate::stage::Stage;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Goodbye,
    Silence,
    /// The next one is there before.
    TakenOver,
}

const ENDS: [End; 3] = [End::Goodbye, End::Silence, End::TakenOver];

/// Ends a connection, and gives the next one of the same session.
async fn again(stage: &Stage, mut peer: Peer, name: &str, end: End) -> Peer {
    let connect = connect_to_stay(stage, peer.version, name);
    let taken = match end {
        End::Goodbye => {
            let goodbye = Packet::Disconnect(Disconnect::new(ReasonCode::Success));
            peer.send(goodbye).await;
            // What was on its way still comes.
            while peer.try_next().await.is_some() {}
            None
        }
        End::Silence => {
            peer.vanish().await;
            None
        }
        End::TakenOver => Some(peer),
    };
    let (next, answer) = Peer::with(stage, connect).await;
    assert!(answer.session_present);
    drop(taken);
    next
}

fn dup(publish: &Publish) -> bool {
    match publish.delivery {
        Delivery::AtMostOnce => false,
        Delivery::AtLeastOnce { dup, .. } | Delivery::ExactlyOnce { dup, .. } => dup,
    }
}

async fn acknowledge(peer: &mut Peer, publish: &Publish) {
    let id = publish.delivery.packet_id().unwrap();
    let ack = Ack::new(id, ReasonCode::Success);
    match publish.delivery {
        Delivery::AtLeastOnce { .. } => peer.send(Packet::PubAck(ack)).await,
        _ => {
            assert_eq!(
                peer.ask(Packet::PubRec(ack.clone())).await,
                Packet::PubRel(ack.clone())
            );
            peer.send(Packet::PubComp(ack)).await;
        }
    }
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_in_order_under_its_identifiers() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            for end in ENDS {
                let name = format!("{version}-{qos:?}-{end:?}");
                let topic = name.replace([' ', '.'], "-");
                let stay = connect_to_stay(&stage, version, &name);
                let (mut peer, _) = Peer::with(&stage, stay).await;
                peer.subscribe(vec![subscription(&topic, qos)]).await;
                for said in ["0", "1", "2", "3"] {
                    stage.publish(&topic, said).await;
                }
                let mut sent = Vec::new();
                for _ in 0..4 {
                    let got = peer.message().await;
                    assert!(!dup(&got), "{name}");
                    sent.push(got);
                }
                // One in the middle is done with.
                acknowledge(&mut peer, &sent.remove(1)).await;
                peer.silent().await;
                for _ in 0..2 {
                    peer = again(&stage, peer, &name, end).await;
                    for before in &sent {
                        let got = peer.message().await;
                        assert!(dup(&got), "{name}");
                        assert_eq!(payload(&got), payload(before), "{name}");
                        let ids = [&got, before].map(|m| m.delivery.packet_id());
                        assert_eq!(ids[0], ids[1], "{name}");
                        assert_eq!(got.delivery.qos(), qos);
                    }
                    peer.silent().await;
                }
                stage.publish(&topic, "new").await;
                let new = peer.message().await;
                assert!(!dup(&new) && payload(&new) == "new", "{name}");
                for message in sent.iter().chain([&new]) {
                    acknowledge(&mut peer, message).await;
                }
                peer.silent().await;
                let mut peer = again(&stage, peer, &name, end).await;
                peer.silent().await;
            }
        }
    }
}

#[tokio::test]
async fn a_release_that_was_not_completed_comes_again() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        for end in ENDS {
            let name = format!("{version}-{end:?}");
            let topic = name.replace([' ', '.'], "-");
            let stay = connect_to_stay(&stage, version, &name);
            let (mut peer, _) = Peer::with(&stage, stay).await;
            peer.subscribe(vec![subscription(&topic, Qos::ExactlyOnce)])
                .await;
            stage.publish(&topic, "x").await;
            let got = peer.message().await.delivery.packet_id().unwrap();
            let ack = Ack::new(got, ReasonCode::Success);
            let released = Packet::PubRel(ack.clone());
            assert_eq!(peer.ask(Packet::PubRec(ack.clone())).await, released);
            let mut peer = again(&stage, peer, &name, end).await;
            assert_eq!(peer.next().await, released, "{name}");
            // Said again, it is answered again, and the message does not come again.
            assert_eq!(peer.ask(Packet::PubRec(ack.clone())).await, released);
            peer.send(Packet::PubComp(ack)).await;
            peer.silent().await;
            let mut peer = again(&stage, peer, &name, end).await;
            peer.silent().await;
        }
    }
}

#[tokio::test]
async fn a_message_of_qos_2_is_appended_once_however_often_its_connection_breaks() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let name = format!("once-{version}");
        let topic = format!("once/{}", version as u8);
        let (mut peer, _) = Peer::with(&stage, connect_to_stay(&stage, version, &name)).await;
        let total = 10;
        for number in 1..=total {
            let publish = |dup| {
                let delivery = Delivery::ExactlyOnce { id: id(1), dup };
                Packet::Publish(message(&topic, &number.to_string(), delivery))
            };
            let end = ENDS[number % 3];
            // It is sent, and nobody knows whether it has arrived.
            peer.send(publish(false)).await;
            if number % 2 == 0 {
                peer.next().await;
            }
            peer = again(&stage, peer, &name, end).await;
            let received = Packet::PubRec(Ack::new(id(1), ReasonCode::Success));
            assert_eq!(peer.ask(publish(true)).await, received);
            let release = Packet::PubRel(Ack::new(id(1), ReasonCode::Success));
            peer.send(release.clone()).await;
            peer = again(&stage, peer, &name, end).await;
            let complete = Packet::PubComp(Ack::new(id(1), ReasonCode::Success));
            assert_eq!(peer.ask(release).await, complete);
        }
        let mut reader = Peer::open(&stage, version).await;
        let all = format!("$from/earliest/{topic}");
        reader
            .subscribe(vec![subscription(&all, Qos::AtMostOnce)])
            .await;
        for number in 1..=total {
            assert_eq!(payload(&reader.message().await), number.to_string());
        }
        reader.silent().await;
    }
}

#[tokio::test]
async fn a_client_that_takes_less_than_before_is_not_sent_more_at_once() {
    let stage = Stage::open().await;
    let stay = |max| {
        let mut connect = connect_to_stay(&stage, Version::V5, "less");
        connect.properties.receive_max = NonZeroU16::new(max);
        connect
    };
    let (mut peer, _) = Peer::with(&stage, stay(10)).await;
    peer.subscribe(vec![subscription("l", Qos::AtLeastOnce)])
        .await;
    for said in 0..8 {
        stage.publish("l", &said.to_string()).await;
    }
    for _ in 0..8 {
        peer.message().await;
    }
    peer.leave().await;
    stage.publish("l", "8").await;
    let (mut peer, _) = Peer::with(&stage, stay(2)).await;
    let mut waiting = vec![peer.message().await, peer.message().await];
    for said in 0..9 {
        peer.silent().await;
        let oldest = waiting.remove(0);
        assert_eq!(payload(&oldest), said.to_string());
        assert_eq!(dup(&oldest), said < 8);
        acknowledge(&mut peer, &oldest).await;
        if said < 7 {
            waiting.push(peer.message().await);
        }
    }
    peer.silent().await;
}

#[tokio::test]
async fn a_subscription_is_granted_once_the_session_has_it() {
    let stage = Stage::open().await;
    let (mut peer, _) = Peer::with(&stage, connect_to_stay(&stage, Version::V5, "sub")).await;
    // As soon as it is granted, losing the connection loses nothing.
    peer.subscribe(vec![subscription("s", Qos::AtLeastOnce)])
        .await;
    stage.publish("s", "x").await;
    let mut peer = again(&stage, peer, "sub", End::Silence).await;
    assert_eq!(payload(&peer.receive().await), "x");
    peer.unsubscribe("s").await;
    stage.publish("s", "y").await;
    let mut peer = again(&stage, peer, "sub", End::TakenOver).await;
    peer.silent().await;
}

#[tokio::test]
async fn what_was_taken_before_the_end_is_published_all_the_same() {
    let stage = Stage::open().await;
    let mut reader = Peer::open(&stage, Version::V5).await;
    reader
        .subscribe(vec![subscription("last", Qos::AtMostOnce)])
        .await;
    for (version, delivery) in [
        (Version::V3_1_1, Delivery::AtMostOnce),
        (Version::V5, Delivery::AtMostOnce),
        (Version::V5, exactly_once(1)),
    ] {
        let mut peer = Peer::open(&stage, version).await;
        peer.send(Packet::Publish(message("last", "words", delivery)))
            .await;
        peer.vanish().await;
        assert_eq!(payload(&reader.message().await), "words");
    }
}

#[tokio::test]
async fn a_retained_message_that_was_not_acknowledged_comes_again_like_any_other() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            for end in ENDS {
                let name = format!("{version}-{qos:?}-{end:?}");
                let level = name.replace([' ', '.'], "-");
                let mut publisher = Peer::open(&stage, version).await;
                for topic in 0..4 {
                    let topic = format!("{level}/{topic}");
                    let mut publish = message(&topic, &topic, exactly_once(1));
                    publish.retain = true;
                    publisher.ask(Packet::Publish(publish)).await;
                    let release = Packet::PubRel(Ack::new(id(1), ReasonCode::Success));
                    publisher.ask(release).await;
                }
                let stay = connect_to_stay(&stage, version, &name);
                let (mut peer, _) = Peer::with(&stage, stay).await;
                let asked = vec![subscription(&format!("{level}/+"), qos)];
                peer.send(Packet::Subscribe(Subscribe::new(id(1), asked)))
                    .await;
                let mut sent = Vec::new();
                while sent.len() < 4 {
                    match peer.next().await {
                        Packet::Publish(publish) => sent.push(publish),
                        other => assert!(matches!(other, Packet::SubAck(_))),
                    }
                }
                peer.silent().await;
                acknowledge(&mut peer, &sent.remove(0)).await;
                let received = sent.remove(0).delivery.packet_id().unwrap();
                let received = Ack::new(received, ReasonCode::Success);
                let released = Packet::PubRel(received.clone());
                match qos {
                    Qos::ExactlyOnce => {
                        let answer = peer.ask(Packet::PubRec(received.clone())).await;
                        assert_eq!(answer, released);
                    }
                    _ => peer.send(Packet::PubAck(received.clone())).await,
                }
                peer.silent().await;
                let mut peer = again(&stage, peer, &name, end).await;
                if qos == Qos::ExactlyOnce {
                    assert_eq!(peer.ask(Packet::PubComp(received)).await, released);
                }
                for before in &sent {
                    let got = peer.message().await;
                    assert!(dup(&got) && got.retain, "{name}");
                    assert_eq!(payload(&got), payload(before), "{name}");
                    assert_eq!(got.delivery.packet_id(), before.delivery.packet_id());
                }
                peer.silent().await;
                for message in &sent {
                    acknowledge(&mut peer, message).await;
                }
                peer.silent().await;
                let mut peer = again(&stage, peer, &name, end).await;
                peer.silent().await;
            }
        }
    }
}

#[tokio::test]
async fn a_message_of_qos_2_that_is_refused_the_second_time_hides_no_other() {
    let stage = Stage::open().await;
    let stay = || connect_to_stay(&stage, Version::V5, "refused");
    let publish = |said: &str, dup| {
        let delivery = Delivery::ExactlyOnce { id: id(5), dup };
        Packet::Publish(message("b", said, delivery))
    };
    let received = Packet::PubRec(Ack::new(id(5), ReasonCode::Success));
    let mut reader = Peer::open(&stage, Version::V5).await;
    reader
        .subscribe(vec![subscription("b", Qos::AtMostOnce)])
        .await;
    let (mut peer, _) = Peer::with(&stage, stay()).await;
    peer.send(publish("first", false)).await;
    peer.vanish().await;
    assert_eq!(payload(&reader.message().await), "first");
    // For the moment: the client has to ask again, and learns that it was taken.
    let (mut peer, _) = Peer::with(&stage, stay()).await;
    let busy = Refusal::new(ErrorCode::Overloaded, "busy");
    stage.shards[0].refuse(Some(busy));
    peer.send(publish("first", true)).await;
    let Packet::Disconnect(end) = peer.next().await else {
        panic!("it was answered");
    };
    assert_eq!(end.reason, ReasonCode::QuotaExceeded);
    stage.shards[0].refuse(None);
    let (mut peer, _) = Peer::with(&stage, stay()).await;
    assert_eq!(peer.ask(publish("first", true)).await, received);
    peer.vanish().await;
    // For good: the identifier is free, for another message.
    let mut narrow = stay();
    let key = bytes::Bytes::from(stage.narrow_key.clone());
    narrow.password = Some(key.try_into().unwrap());
    let (mut peer, _) = Peer::with(&stage, narrow).await;
    let Packet::PubRec(refused) = peer.ask(publish("first", true)).await else {
        panic!("another answer");
    };
    assert_eq!(refused.reason, ReasonCode::NotAuthorized);
    peer.vanish().await;
    let (mut peer, _) = Peer::with(&stage, stay()).await;
    assert_eq!(peer.ask(publish("second", false)).await, received);
    assert_eq!(payload(&reader.message().await), "second");
    reader.silent().await;
}

#[tokio::test]
async fn what_comes_again_is_found_by_a_filter_of_many_shards() {
    let stage = Stage::with(3, Default::default(), None).await;
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        for end in ENDS {
            let name = format!("{qos:?}-{end:?}");
            let stay = connect_to_stay(&stage, Version::V5, &name);
            let (mut peer, _) = Peer::with(&stage, stay).await;
            let filter = format!("{name}/+");
            peer.subscribe(vec![subscription(&filter, qos)]).await;
            for said in 0..12 {
                let topic = format!("{name}/{}", said % 4);
                stage.publish(&topic, &said.to_string()).await;
            }
            let mut sent = HashMap::new();
            for _ in 0..12 {
                let got = peer.message().await;
                sent.insert(got.delivery.packet_id().unwrap(), got);
            }
            for number in [1, 4, 5, 12] {
                let done = sent.remove(&id(number)).unwrap();
                acknowledge(&mut peer, &done).await;
            }
            peer.silent().await;
            let mut peer = again(&stage, peer, &name, end).await;
            for _ in 0..sent.len() {
                let got = peer.receive().await;
                let before = sent.remove(&got.delivery.packet_id().unwrap()).unwrap();
                assert!(dup(&got));
                assert_eq!((got.topic, got.payload), (before.topic, before.payload));
            }
            assert!(sent.is_empty());
            peer.silent().await;
            stage.publish(&format!("{name}/0"), "new").await;
            assert_eq!(payload(&peer.receive().await), "new");
        }
    }
}

#[tokio::test]
async fn a_client_that_lost_its_network_goes_on_though_its_last_connection_is_full() {
    let stage = Stage::open().await;
    let stay = || connect_to_stay(&stage, Version::V5, "lost");
    let (mut peer, _) = Peer::with(&stage, stay()).await;
    let flood = subscription("flood", Qos::AtMostOnce);
    peer.subscribe(vec![subscription("a", Qos::AtLeastOnce), flood])
        .await;
    for said in ["acknowledged", "not acknowledged"] {
        stage.publish("a", said).await;
    }
    let first = peer.message().await;
    acknowledge(&mut peer, &first).await;
    let second = peer.message().await;
    peer.silent().await;
    // More than queues and sockets hold: nobody reads it.
    let mut publisher = Peer::open(&stage, Version::V5).await;
    let filler = "x".repeat(500_000);
    for _ in 0..40 {
        publisher.publish("flood", &filler).await;
    }
    let (mut next, answer) = Peer::with(&stage, stay()).await;
    assert!(answer.session_present);
    let again = loop {
        let got = next.message().await;
        if got.delivery.qos() == Qos::AtLeastOnce {
            break got;
        }
    };
    assert_eq!(payload(&again), "not acknowledged");
    assert_eq!(again.delivery.packet_id(), second.delivery.packet_id());
    assert!(dup(&again));
}
