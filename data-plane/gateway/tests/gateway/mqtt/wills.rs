//! Wills (sections 3.1.2.5 and 3.1.3.2): what is said for a client that has gone, when, and when not.

use std::time::Duration;

use highwater_broker::Refusal;
use highwater_gateway::Options;
use highwater_mqtt::{
    Packet, Qos, ReasonCode, Version,
    packet::{Connect, Disconnect, connect::Will},
    topic::Name,
};
use highwater_proto::ErrorCode;

use super::peer::{Peer, VERSIONS, connect, payload, subscription, text, topic_and_payload, will};
use crate::stage::Stage;

fn with_will(stage: &Stage, version: Version, name: &str, will: Will) -> Connect {
    let mut connect = connect(stage, version, name);
    connect.will = Some(will);
    connect
}

/// A will that waits, of a session that lives on.
fn delayed(stage: &Stage, name: &str, delay_s: u32, expiry_s: u32) -> Connect {
    let mut left = will("wills/late", name);
    left.properties.delay_s = Some(delay_s);
    let mut connect = with_will(stage, Version::V5, name, left);
    connect.properties.session_expiry_s = Some(expiry_s);
    connect.clean_start = false;
    connect
}

async fn reader(stage: &Stage) -> Peer {
    let mut reader = Peer::open(stage, Version::V5).await;
    reader
        .subscribe(vec![subscription("wills/+", Qos::ExactlyOnce)])
        .await;
    reader
}

#[tokio::test]
async fn a_will_is_published_as_it_was_left() {
    let stage = Stage::open().await;
    let mut reader = reader(&stage).await;
    for version in VERSIONS {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut left = will("wills/a", "gone");
            left.qos = qos;
            if version == Version::V5 {
                let said = &mut left.properties;
                said.payload_is_text = Some(true);
                said.content_type = Some(text("text/plain"));
                said.message_expiry_s = Some(60);
                said.response_topic = Some(Name::try_from("back").unwrap());
                said.correlation_data = Some(bytes::Bytes::from_static(b"7").try_into().unwrap());
                said.user_properties = vec![(text("b"), text("1")), (text("a"), text("2"))];
            }
            let properties = left.properties.clone();
            let (peer, _) = Peer::with(&stage, with_will(&stage, version, "", left)).await;
            peer.vanish().await;
            let mut got = reader.receive().await;
            assert_eq!(topic_and_payload(&got), ("wills/a".into(), "gone".into()));
            assert_eq!((got.delivery.qos(), got.retain), (qos, false));
            got.properties.user_properties.remove(0);
            assert_eq!(got.properties.payload_is_text, properties.payload_is_text);
            assert_eq!(got.properties.content_type, properties.content_type);
            assert_eq!(got.properties.message_expiry_s, properties.message_expiry_s);
            assert_eq!(got.properties.response_topic, properties.response_topic);
            assert_eq!(got.properties.correlation_data, properties.correlation_data);
            assert_eq!(got.properties.user_properties, properties.user_properties);
        }
    }
    reader.silent().await;
}

#[tokio::test]
async fn a_retained_will_is_retained() {
    let stage = Stage::open().await;
    let mut left = will("wills/a", "gone");
    left.retain = true;
    let (peer, _) = Peer::with(&stage, with_will(&stage, Version::V3_1_1, "", left)).await;
    peer.vanish().await;
    let mut reader = reader(&stage).await;
    let got = reader.receive().await;
    assert_eq!((payload(&got), got.retain), ("gone", true));
}

#[tokio::test]
async fn a_will_is_void_when_its_client_says_goodbye() {
    let stage = Stage::open().await;
    let mut reader = reader(&stage).await;
    for version in VERSIONS {
        let (peer, _) =
            Peer::with(&stage, with_will(&stage, version, "", will("wills/a", "x"))).await;
        peer.leave().await;
        reader.silent().await;
    }
    // Unless it asks for it, or says that something is wrong.
    for reason in [ReasonCode::DisconnectWithWill, ReasonCode::UnspecifiedError] {
        let connect = with_will(&stage, Version::V5, "", will("wills/a", "asked for"));
        let (mut peer, _) = Peer::with(&stage, connect).await;
        peer.send(Packet::Disconnect(Disconnect::new(reason))).await;
        assert_eq!(payload(&reader.receive().await), "asked for");
        assert_eq!(peer.try_next().await, None);
    }
}

#[tokio::test]
async fn a_will_is_published_whatever_ends_the_connection() {
    let stage = Stage::open().await;
    let mut reader = reader(&stage).await;
    for version in VERSIONS {
        let mut silent = with_will(&stage, version, "", will("wills/a", "silent"));
        silent.keep_alive_s = 1;
        let (_kept, _) = Peer::with(&stage, silent).await;
        assert_eq!(payload(&reader.receive().await), "silent");
        let broken = with_will(&stage, version, "", will("wills/a", "broken"));
        let (mut peer, _) = Peer::with(&stage, broken).await;
        peer.send_bytes(&[0xC1, 0]).await;
        assert_eq!(payload(&reader.receive().await), "broken");
        let second = with_will(&stage, version, "", will("wills/a", "second"));
        let (mut peer, _) = Peer::with(&stage, second.clone()).await;
        peer.send(second.into()).await;
        assert_eq!(payload(&reader.receive().await), "second");
    }
    reader.silent().await;
}

#[tokio::test]
async fn a_client_leaves_what_it_could_say_itself() {
    let stage = Stage::open().await;
    let narrow = bytes::Bytes::from(stage.narrow_key.clone());
    for (topic, expected) in [
        ("a/x", ReasonCode::Success),
        ("b", ReasonCode::NotAuthorized),
        ("$SYS/x", ReasonCode::NotAuthorized),
    ] {
        let mut connect = with_will(&stage, Version::V5, "", will(topic, "x"));
        connect.password = Some(narrow.clone().try_into().unwrap());
        let (_peer, answer) = Peer::with(&stage, connect.clone()).await;
        assert_eq!(answer.reason, expected, "{topic}");
        connect.version = Version::V3_1_1;
        let mut peer = Peer::dial(&stage, Version::V3_1_1).await;
        peer.send(connect.into()).await;
        match peer.next().await {
            Packet::ConnAck(answer) => assert_eq!(answer.reason, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_will_waits_for_its_delay_or_the_end_of_its_session() {
    let mut stage = Stage::open().await;
    stage.keep_sessions();
    let mut reader = reader(&stage).await;
    for (delay_s, expiry_s, due_s) in [(20, 60, 20), (60, 20, 20), (20, 20, 20), (20, u32::MAX, 20)]
    {
        let name = format!("{delay_s}-{expiry_s}");
        let (peer, _) = Peer::with(&stage, delayed(&stage, &name, delay_s, expiry_s)).await;
        peer.vanish().await;
        stage.advance((due_s - 5) * 1_000);
        reader.silent().await;
        stage.advance(10_000);
        assert_eq!(payload(&reader.receive().await), name);
    }
    // Without a session there is nothing to wait for.
    for (delay_s, expiry_s) in [(60, 0), (0, 60)] {
        let name = format!("{delay_s}-{expiry_s}");
        let (peer, _) = Peer::with(&stage, delayed(&stage, &name, delay_s, expiry_s)).await;
        peer.vanish().await;
        assert_eq!(payload(&reader.receive().await), name);
    }
    // It is said once.
    stage.advance(1_000_000);
    let (peer, _) = Peer::with(&stage, delayed(&stage, "last", 20, 60)).await;
    peer.vanish().await;
    stage.advance(30_000);
    assert_eq!(payload(&reader.receive().await), "last");
    reader.silent().await;
}

#[tokio::test]
async fn a_client_that_is_back_in_time_makes_its_will_void() {
    let mut stage = Stage::open().await;
    stage.keep_sessions();
    let mut reader = reader(&stage).await;
    let (peer, _) = Peer::with(&stage, delayed(&stage, "back", 20, 60)).await;
    peer.vanish().await;
    let (back, answer) = Peer::with(&stage, delayed(&stage, "back", 20, 60)).await;
    assert!(answer.session_present);
    stage.advance(30_000);
    // Another one is published, so the first one was looked at before.
    let (peer, _) = Peer::with(&stage, delayed(&stage, "other", 1, 60)).await;
    peer.vanish().await;
    stage.advance(10_000);
    assert_eq!(payload(&reader.receive().await), "other");
    back.leave().await;
    stage.advance(30_000);
    reader.silent().await;
}

#[tokio::test]
async fn a_client_that_begins_anew_ends_its_session_and_lets_its_will_speak() {
    let stage = Stage::open().await;
    let mut reader = reader(&stage).await;
    let (peer, _) = Peer::with(&stage, delayed(&stage, "anew", 20, 60)).await;
    peer.vanish().await;
    let mut clean = delayed(&stage, "anew", 20, 60);
    clean.clean_start = true;
    let (_peer, answer) = Peer::with(&stage, clean).await;
    assert!(!answer.session_present);
    assert_eq!(payload(&reader.receive().await), "anew");
}

#[tokio::test]
async fn a_connection_that_is_taken_over_ends_without_goodbye() {
    let stage = Stage::open().await;
    let mut reader = reader(&stage).await;
    for version in VERSIONS {
        let connect = with_will(&stage, version, "taken", will("wills/a", "taken"));
        let (_first, _) = Peer::with(&stage, connect.clone()).await;
        let (second, _) = Peer::with(&stage, connect).await;
        assert_eq!(payload(&reader.receive().await), "taken");
        second.leave().await;
        reader.silent().await;
    }
    // One that waits is void, because the session goes on.
    let (_first, _) = Peer::with(&stage, delayed(&stage, "waits", 20, 60)).await;
    let (second, answer) = Peer::with(&stage, delayed(&stage, "waits", 20, 60)).await;
    assert!(answer.session_present);
    second.leave().await;
    reader.silent().await;
}

#[tokio::test]
async fn a_will_is_published_when_its_session_could_not_be_written() {
    let mut stage = Stage::open().await;
    stage.keep_sessions();
    let mut reader = reader(&stage).await;
    let mut connect = with_will(&stage, Version::V5, "unwritten", will("wills/a", "later"));
    connect.properties.session_expiry_s = Some(600);
    let (mut peer, _) = Peer::with(&stage, connect).await;
    // The answer needs the session to be written.
    stage.shards[0].refuse(Some(Refusal::new(ErrorCode::QuotaExceeded, "full")));
    peer.send(Packet::Subscribe(highwater_mqtt::packet::Subscribe::new(
        super::peer::id(1),
        vec![subscription("a", Qos::AtMostOnce)],
    )))
    .await;
    assert!(matches!(peer.next().await, Packet::Disconnect(_)));
    drop(peer);
    stage.shards[0].refuse(None);
    assert_eq!(payload(&reader.receive().await), "later");
}

#[tokio::test]
async fn a_client_that_is_sent_away_and_comes_back_was_never_gone() {
    let options = || Options {
        reconnect_spread: Duration::from_secs(1),
        ..Options::default()
    };
    let mut stage = Stage::with(1, options(), None).await;
    let mut peers = Vec::new();
    for (version, name) in [
        (Version::V5, "back"),
        (Version::V3_1_1, "old"),
        (Version::V5, "lost"),
    ] {
        let mut connect = with_will(&stage, version, name, will("wills/a", name));
        connect.clean_start = false;
        if version == Version::V5 {
            connect.properties.session_expiry_s = Some(0);
        }
        let (mut peer, _) = Peer::with(&stage, connect.clone()).await;
        peer.subscribe(vec![subscription("a", Qos::AtLeastOnce)])
            .await;
        peers.push((peer, connect));
    }
    stage.shutdown.cancel();
    for (peer, _) in &mut peers {
        peer.ended(ReasonCode::ServerShuttingDown).await;
    }
    stage.stopped().await;
    stage.restart(options()).await;
    stage.keep_sessions();
    let mut reader = reader(&stage).await;
    let mut back = Vec::new();
    for (_, connect) in peers.drain(..2) {
        let (mut peer, _) = Peer::with(&stage, connect).await;
        peer.silent().await;
        back.push(peer);
    }
    reader.silent().await;
    stage.advance(60_000);
    assert_eq!(payload(&reader.receive().await), "lost");
    reader.silent().await;
}
