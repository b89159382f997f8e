//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11, 4.7).

use std::num::NonZeroU16;

use highwater_mqtt::{
    Packet, Qos, ReasonCode, SubscriptionId, Version,
    packet::{Ack, FilterAck, Subscribe, Unsubscribe, publish::Delivery, subscribe::Subscription},
    topic::Filter,
};
use highwater_proto::names::TopicName;
use serde_json::Value;

use super::peer::{
    Peer, VERSIONS, connect, connect_to_stay, id, payload, subscription, text, topic_and_payload,
    user_property,
};
use crate::{sse::Events, stage::Stage};

/// A subscription to whatever text.
fn asked(filter: &str) -> Subscription {
    let mut asked = subscription("unused", Qos::AtLeastOnce);
    asked.filter = Filter::try_from(text(filter));
    asked
}

#[tokio::test]
async fn every_filter_of_a_packet_is_answered_in_its_place() {
    let stage = Stage::open().await;
    use ReasonCode::{GrantedQos1, NotAuthorized, TopicFilterInvalid as Invalid};
    let cases = [
        ("a/b", GrantedQos1),
        ("a/#b", Invalid),
        ("a/b+", Invalid),
        ("#/a", Invalid),
        ("", Invalid),
        ("$share/x", Invalid),
        ("$share//a", Invalid),
        ("c", NotAuthorized),
        ("a/+", NotAuthorized),
        ("#", NotAuthorized),
        ("a/b", GrantedQos1),
    ];
    for version in VERSIONS {
        let mut connect = connect(&stage, version, "");
        let narrow = bytes::Bytes::from(stage.narrow_key.clone());
        connect.password = Some(narrow.try_into().unwrap());
        let (mut peer, _) = Peer::with(&stage, connect).await;
        let answers = peer
            .subscribe(cases.map(|(filter, _)| asked(filter)).to_vec())
            .await;
        let expected = cases.map(|(_, reason)| match version {
            Version::V3_1_1 if reason.is_failure() => ReasonCode::UnspecifiedError,
            _ => reason,
        });
        assert_eq!(answers, expected, "{version}");
        stage.publish("a/b", "x").await;
        assert_eq!(payload(&peer.receive().await), "x");
        peer.silent().await;
    }
}

#[tokio::test]
async fn each_qos_is_granted_as_it_was_asked_for() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let mut peer = Peer::open(&stage, version).await;
        for (qos, granted) in [
            (Qos::AtMostOnce, ReasonCode::Success),
            (Qos::AtLeastOnce, ReasonCode::GrantedQos1),
            (Qos::ExactlyOnce, ReasonCode::GrantedQos2),
        ] {
            assert_eq!(
                peer.subscribe(vec![subscription("a", qos)]).await,
                [granted]
            );
        }
    }
}

#[tokio::test]
async fn a_malformed_subscribe_ends_the_connection() {
    let stage = Stage::open().await;
    use ReasonCode::{MalformedPacket, ProtocolError};
    let of_old = [
        ("no filter", &[0x82, 2, 0, 1][..]),
        ("wrong flags", &[0x80, 6, 0, 1, 0, 1, b'a', 0]),
        ("QoS 3", &[0x82, 6, 0, 1, 0, 1, b'a', 3]),
        ("reserved bits", &[0x82, 6, 0, 1, 0, 1, b'a', 4]),
        ("identifier 0", &[0x82, 6, 0, 0, 0, 1, b'a', 0]),
        ("no options", &[0x82, 5, 0, 1, 0, 1, b'a']),
        ("UNSUBSCRIBE of nothing", &[0xA2, 2, 0, 1]),
        ("UNSUBSCRIBE with wrong flags", &[0xA0, 5, 0, 1, 0, 1, b'a']),
        ("UNSUBSCRIBE of no UTF-8", &[0xA2, 5, 0, 1, 0, 1, 0xFF]),
    ];
    for (what, bytes) in of_old {
        let mut peer = Peer::open(&stage, Version::V3_1_1).await;
        peer.send_bytes(bytes).await;
        assert_eq!(peer.try_next().await, None, "{what}");
    }
    let of_5 = [
        ("no filter", &[0x82, 3, 0, 1, 0][..], ProtocolError),
        (
            "wrong flags",
            &[0x80, 7, 0, 1, 0, 0, 1, b'a', 0],
            MalformedPacket,
        ),
        ("QoS 3", &[0x82, 7, 0, 1, 0, 0, 1, b'a', 3], ProtocolError),
        (
            "retain handling 3",
            &[0x82, 7, 0, 1, 0, 0, 1, b'a', 0x30],
            ProtocolError,
        ),
        (
            "reserved bits",
            &[0x82, 7, 0, 1, 0, 0, 1, b'a', 0x40],
            MalformedPacket,
        ),
        (
            "identifier 0",
            &[0x82, 7, 0, 0, 0, 0, 1, b'a', 0],
            ProtocolError,
        ),
        (
            "its identifier 0",
            &[0x82, 9, 0, 1, 2, 0x0B, 0, 0, 1, b'a', 0],
            ProtocolError,
        ),
        (
            "two identifiers",
            &[0x82, 11, 0, 1, 4, 0x0B, 1, 0x0B, 2, 0, 1, b'a', 0],
            ProtocolError,
        ),
        ("UNSUBSCRIBE of nothing", &[0xA2, 3, 0, 1, 0], ProtocolError),
        (
            "UNSUBSCRIBE with wrong flags",
            &[0xA0, 6, 0, 1, 0, 0, 1, b'a'],
            MalformedPacket,
        ),
    ];
    for (what, bytes, reason) in of_5 {
        let mut peer = Peer::open(&stage, Version::V5).await;
        peer.send_bytes(bytes).await;
        peer.ended_by(what, reason).await;
    }
    let mut shared = asked("$share/group/a");
    shared.no_local = true;
    let mut peer = Peer::open(&stage, Version::V5).await;
    peer.send(Packet::Subscribe(Subscribe::new(id(1), vec![shared])))
        .await;
    peer.ended(ProtocolError).await;
}

#[tokio::test]
async fn filters_match_as_they_should() {
    let stage = Stage::with(2, Default::default(), None).await;
    let topics = ["a", "/a", "a/", "a/b", "a/b/c", "b", "a//c"];
    for (filter, expected) in [
        ("a", &["a"][..]),
        ("a/#", &["a", "a/", "a/b", "a/b/c", "a//c"]),
        ("a/+", &["a/", "a/b"]),
        ("+", &["a", "b"]),
        ("+/+", &["/a", "a/", "a/b"]),
        ("/+", &["/a"]),
        ("a/+/c", &["a/b/c", "a//c"]),
        ("#", &topics),
    ] {
        let mut peer = Peer::open(&stage, Version::V3_1_1).await;
        peer.subscribe(vec![subscription(filter, Qos::AtMostOnce)])
            .await;
        let mut publisher = Peer::open(&stage, Version::V3_1_1).await;
        for topic in topics {
            publisher.publish(topic, topic).await;
        }
        let mut got = Vec::new();
        for _ in expected {
            let (topic, payload) = topic_and_payload(&peer.message().await);
            assert_eq!(topic, payload);
            got.push(topic);
        }
        got.sort();
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(got, expected, "{filter}");
        peer.silent().await;
    }
}

#[tokio::test]
async fn every_subscription_that_matches_has_its_message_with_its_own_qos_and_identifier() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    for (filter, qos, number) in [
        ("a/+", Qos::AtMostOnce, Some(1)),
        ("a/#", Qos::AtLeastOnce, Some(268_435_455)),
        ("a/b", Qos::ExactlyOnce, None),
    ] {
        let mut subscribe = Subscribe::new(id(1), vec![subscription(filter, qos)]);
        subscribe.subscription_id = number.and_then(SubscriptionId::new);
        peer.ask(Packet::Subscribe(subscribe)).await;
    }
    stage.publish("a/b", "x").await;
    let mut got = Vec::new();
    for _ in 0..3 {
        let message = peer.receive().await;
        let ids = message.properties.subscription_ids.iter();
        let ids: Vec<u32> = ids.map(|id| id.get()).collect();
        got.push((message.delivery.qos() as u8, ids));
    }
    got.sort();
    assert_eq!(got, [(0, vec![1]), (1, vec![268_435_455]), (2, vec![])]);
    peer.silent().await;
    // The identifier is changed with the subscription.
    let mut subscribe = Subscribe::new(id(1), vec![subscription("a/b", Qos::AtMostOnce)]);
    subscribe.subscription_id = SubscriptionId::new(7);
    peer.ask(Packet::Subscribe(subscribe)).await;
    stage.publish("a/b", "y").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(peer.receive().await.properties.subscription_ids[0].get());
    }
    ids.sort();
    assert_eq!(ids, [1, 7, 268_435_455]);
}

#[tokio::test]
async fn no_local_leaves_out_the_clients_own_messages_and_no_others() {
    let stage = Stage::open().await;
    let stay = || connect_to_stay(&stage, Version::V5, "talks");
    let (mut peer, _) = Peer::with(&stage, stay()).await;
    let mut asked = subscription("a", Qos::AtLeastOnce);
    asked.no_local = true;
    peer.subscribe(vec![asked]).await;
    peer.publish("a", "own").await;
    stage.publish("a", "of HTTP").await;
    assert_eq!(payload(&peer.receive().await), "of HTTP");
    let mut other = Peer::open(&stage, Version::V5).await;
    other.publish("a", "of another").await;
    assert_eq!(payload(&peer.receive().await), "of another");
    // Its own are its own when it is back.
    peer.publish("a", "own").await;
    peer.leave().await;
    other.publish("a", "missed").await;
    let (mut peer, _) = Peer::with(&stage, stay()).await;
    assert_eq!(payload(&peer.receive().await), "missed");
    peer.publish("a", "own").await;
    peer.silent().await;
}

#[tokio::test]
async fn subscribing_again_loses_nothing_and_repeats_nothing() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let topic = format!("again/{}", version as u8);
        let mut peer = Peer::open(&stage, version).await;
        let mut publisher = Peer::open(&stage, version).await;
        peer.subscribe(vec![subscription(&topic, Qos::AtLeastOnce)])
            .await;
        let mut got = Vec::new();
        let total = 300;
        for round in 0..total {
            publisher.publish(&topic, &round.to_string()).await;
            if round % 50 == 49 {
                let again = subscription(&topic, Qos::AtLeastOnce);
                peer.send(Packet::Subscribe(Subscribe::new(id(9), vec![again])))
                    .await;
            }
        }
        while got.len() < total {
            match peer.next().await {
                Packet::Publish(publish) => {
                    got.push(payload(&publish).parse::<usize>().unwrap());
                    let ack = Ack::new(publish.delivery.packet_id().unwrap(), ReasonCode::Success);
                    peer.send(Packet::PubAck(ack)).await;
                }
                Packet::SubAck(ack) => assert_eq!(ack.reasons, [ReasonCode::GrantedQos1]),
                other => panic!("{other:?}"),
            }
        }
        assert!(got.iter().copied().eq(0..total), "{got:?}");
    }
}

#[tokio::test]
async fn a_subscription_begins_where_it_is_told_to() {
    let stage = Stage::open().await;
    let mut cursors = Vec::new();
    for said in ["1", "2", "3"] {
        stage.advance(1_000);
        cursors.push(stage.publish("h", said).await);
    }
    let second = cursors[1]["cursor"].as_str().unwrap();
    for (from, expected) in [
        ("latest".to_owned(), &[][..]),
        ("earliest".to_owned(), &["1", "2", "3"]),
        ("last:2".to_owned(), &["2", "3"]),
        (format!("cursor:{second}"), &["3"]),
        ("time:1002000".to_owned(), &["2", "3"]),
        ("retained".to_owned(), &[]),
    ] {
        for version in VERSIONS {
            let mut peer = Peer::open(&stage, version).await;
            let as_filter = format!("$from/{from}/h");
            let mut subscribe =
                Subscribe::new(id(1), vec![subscription(&as_filter, Qos::AtLeastOnce)]);
            if version == Version::V5 {
                subscribe.subscriptions = vec![subscription("h", Qos::AtLeastOnce)];
                subscribe.user_properties = vec![(text("hw-from"), text(&from))];
            }
            let Packet::SubAck(ack) = peer.ask(Packet::Subscribe(subscribe)).await else {
                panic!("no SUBACK");
            };
            assert_eq!(ack.reasons, [ReasonCode::GrantedQos1], "{from}");
            for said in expected {
                let got = topic_and_payload(&peer.receive().await);
                assert_eq!(got, ("h".to_owned(), (*said).to_owned()), "{from}");
            }
            peer.silent().await;
            stage.publish("other", "x").await;
        }
    }
}

#[tokio::test]
async fn a_beginning_that_is_none_is_refused() {
    let stage = Stage::open().await;
    for from in ["yesterday", "last:x", "cursor:x", ""] {
        let mut peer = Peer::open(&stage, Version::V5).await;
        let mut subscribe = Subscribe::new(id(1), vec![subscription("h", Qos::AtLeastOnce)]);
        subscribe.user_properties = vec![(text("hw-from"), text(from))];
        let Packet::SubAck(ack) = peer.ask(Packet::Subscribe(subscribe)).await else {
            panic!("no SUBACK");
        };
        assert!(ack.reasons[0].is_failure(), "{from}");
        let mut old = Peer::open(&stage, Version::V3_1_1).await;
        let filter = format!("$from/{from}/h");
        let answers = old.subscribe(vec![asked(&filter)]).await;
        assert_eq!(answers, [ReasonCode::UnspecifiedError], "{filter}");
    }
    for filter in ["$from", "$from/earliest", "$SYS/#", "$x"] {
        let mut old = Peer::open(&stage, Version::V3_1_1).await;
        let answers = old.subscribe(vec![asked(filter)]).await;
        assert_eq!(answers, [ReasonCode::UnspecifiedError], "{filter}");
        old.silent().await;
    }
}

#[tokio::test]
async fn every_delivery_has_the_cursor_that_another_protocol_goes_on_from() {
    for (shards, filter, query) in [(1, "a/b", "topic=a/b"), (3, "a/#", "topic=a/%23")] {
        let stage = Stage::with(shards, Default::default(), None).await;
        let mut peer = Peer::open(&stage, Version::V5).await;
        peer.subscribe(vec![subscription(filter, Qos::AtMostOnce)])
            .await;
        let topics = ["a/b", "a/c", "a/d"].map(|t| if shards == 1 { "a/b" } else { t });
        for round in 0..9 {
            stage.publish(topics[round % 3], &round.to_string()).await;
        }
        let mut seen = Vec::new();
        for _ in 0..9 {
            let message = peer.message().await;
            let cursor = user_property(&message, "hw-cursor").unwrap().to_owned();
            seen.push((payload(&message).to_owned(), cursor));
        }
        for at in 0..9 {
            let mut events = Events::resume(&stage, query, Some(&seen[at].1)).await;
            let mut rest: Vec<String> = seen[..=at].iter().map(|(said, _)| said.clone()).collect();
            for _ in at + 1..9 {
                let record: Value = events.next().await.unwrap().json();
                rest.push(record["data"].as_str().unwrap().to_owned());
            }
            rest.sort();
            assert_eq!(rest, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
        }
    }
}

#[tokio::test]
async fn what_is_unsubscribed_does_not_come_any_more() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let mut peer = Peer::open(&stage, version).await;
        peer.subscribe(vec![asked("a/+"), asked("a/b")]).await;
        let filters = ["a/b", "a/b", "never", "$share/group/a"];
        let mut unsubscribe = Unsubscribe::new(id(3), Vec::new());
        unsubscribe.filters = filters.iter().map(|f| Filter::try_from(text(f))).collect();
        unsubscribe.filters.push(Filter::try_from(text("a/#/b")));
        let Packet::UnsubAck(FilterAck {
            packet_id, reasons, ..
        }) = peer.ask(Packet::Unsubscribe(unsubscribe)).await
        else {
            panic!("no UNSUBACK");
        };
        assert_eq!(packet_id, id(3));
        use ReasonCode::{NoSubscriptionExisted as None, Success, TopicFilterInvalid};
        match version {
            Version::V5 => assert_eq!(reasons, [Success, None, None, None, TopicFilterInvalid]),
            Version::V3_1_1 => assert!(reasons.is_empty()),
        }
        stage.publish("a/b", "once").await;
        assert_eq!(payload(&peer.receive().await), "once");
        peer.silent().await;
        peer.unsubscribe("a/+").await;
        stage.publish("a/b", "never").await;
        peer.silent().await;
        // It is a new one, and begins now.
        peer.subscribe(vec![asked("a/b")]).await;
        stage.publish("a/b", "again").await;
        assert_eq!(payload(&peer.receive().await), "again");
    }
}

#[tokio::test]
async fn what_was_sent_before_it_was_unsubscribed_is_completed() {
    let stage = Stage::open().await;
    let mut connect = connect(&stage, Version::V5, "");
    connect.properties.receive_max = NonZeroU16::new(1);
    let (mut peer, _) = Peer::with(&stage, connect).await;
    peer.subscribe(vec![subscription("a", Qos::ExactlyOnce)])
        .await;
    stage.publish("a", "1").await;
    stage.publish("a", "2").await;
    let Delivery::ExactlyOnce { id: first, .. } = peer.message().await.delivery else {
        panic!("another QoS");
    };
    peer.unsubscribe("a").await;
    let ack = Ack::new(first, ReasonCode::Success);
    let released = peer.ask(Packet::PubRec(ack.clone())).await;
    assert_eq!(released, Packet::PubRel(ack.clone()));
    peer.send(Packet::PubComp(ack)).await;
    // What was not sent is not.
    peer.silent().await;
    peer.subscribe(vec![subscription("b", Qos::AtLeastOnce)])
        .await;
    stage.publish("b", "3").await;
    assert_eq!(payload(&peer.receive().await), "3");
}

#[tokio::test]
async fn a_connection_has_its_number_of_subscriptions() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    let many = (0..256).map(|n| asked(&format!("many/{n}"))).collect();
    let answers = peer.subscribe(many).await;
    assert!(
        answers
            .iter()
            .all(|reason| *reason == ReasonCode::GrantedQos1)
    );
    let answers = peer
        .subscribe(vec![asked("many/0"), asked("one/more")])
        .await;
    assert_eq!(
        answers,
        [ReasonCode::GrantedQos1, ReasonCode::QuotaExceeded]
    );
    peer.unsubscribe("many/1").await;
    let answers = peer.subscribe(vec![asked("one/more")]).await;
    assert_eq!(answers, [ReasonCode::GrantedQos1]);
    let too_many = (0..257).map(|n| asked(&format!("many/{n}"))).collect();
    peer.send(Packet::Subscribe(Subscribe::new(id(1), too_many)))
        .await;
    peer.ended(ReasonCode::QuotaExceeded).await;
}

#[tokio::test]
async fn what_is_lost_is_said_with_the_next_message() {
    let stage = Stage::open().await;
    let first = stage.publish("g", "1").await;
    for said in ["2", "3", "4"] {
        stage.publish("g", said).await;
    }
    let topic = TopicName::try_from("g").unwrap();
    stage.shards[0].trim(stage.project.id, &topic, 2);
    let cursor = first["cursor"].as_str().unwrap();
    let filter = format!("$from/cursor:{cursor}/g");
    let mut peer = Peer::open(&stage, Version::V5).await;
    peer.subscribe(vec![subscription(&filter, Qos::AtLeastOnce)])
        .await;
    let third = peer.receive().await;
    assert_eq!(payload(&third), "3");
    let gap: Value = serde_json::from_str(user_property(&third, "hw-gap").unwrap()).unwrap();
    assert_eq!(gap["requested"], cursor);
    assert!(gap["first_available"].is_string() && gap["reason"].is_string());
    let fourth = peer.receive().await;
    assert_eq!(payload(&fourth), "4");
    assert_eq!(user_property(&fourth, "hw-gap"), None);
}

#[tokio::test]
async fn everything_a_filter_has_lost_is_said() {
    // One by one, or in one that has all of them in it.
    for (topics, told) in [(3, 3), (20, 1)] {
        let stage = Stage::open().await;
        for number in 0..topics {
            let name = format!("lost/{number}");
            stage.publish(&name, "x").await;
            let topic = TopicName::try_from(name.as_str()).unwrap();
            stage.shards[0].trim(stage.project.id, &topic, 1);
        }
        stage.publish("kept", "y").await;
        let mut peer = Peer::open(&stage, Version::V5).await;
        peer.subscribe(vec![subscription("$from/earliest/#", Qos::AtLeastOnce)])
            .await;
        let message = peer.receive().await;
        assert_eq!(payload(&message), "y");
        let said = message.properties.user_properties.iter();
        let gaps: Vec<Value> = said
            .filter(|(name, _)| name.as_str() == "hw-gap")
            .map(|(_, gap)| serde_json::from_str(gap.as_str()).unwrap())
            .collect();
        assert_eq!(gaps.len(), told, "{gaps:?}");
        let named = gaps.iter().filter(|gap| gap["topic"].is_string()).count();
        assert_eq!(named, if told == topics { topics } else { 0 });
        let ends = (&gaps[0]["requested"], &gaps[told - 1]["first_available"]);
        assert_ne!(ends.0, ends.1);
    }
}
