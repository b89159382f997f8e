//! Sessions: what is there when a client comes back.

use highwater_mqtt::{
    Packet, Qos, ReasonCode, Version,
    packet::{Ack, Connect, Disconnect, publish::Delivery},
};

use super::peer::{
    Peer, VERSIONS, at_least_once, connect, connect_to_stay, exactly_once, id, message, payload,
    subscription, topic_and_payload,
};
use crate::stage::{Stage, within};

#[tokio::test]
async fn a_client_that_comes_back_finds_its_subscriptions_and_what_it_has_missed() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let name = format!("stays-{version}");
        let (mut peer, answer) = Peer::with(&stage, connect_to_stay(&stage, version, &name)).await;
        assert!(!answer.session_present);
        peer.subscribe(vec![subscription("a/+", Qos::AtLeastOnce)])
            .await;
        peer.leave().await;
        stage.publish("a/b", "missed").await;
        let (mut peer, answer) = Peer::with(&stage, connect_to_stay(&stage, version, &name)).await;
        assert!(answer.session_present, "{version}");
        let got = peer.message().await;
        assert_eq!(topic_and_payload(&got), ("a/b".into(), "missed".into()));
        let Delivery::AtLeastOnce {
            id: first,
            dup: false,
        } = got.delivery
        else {
            panic!("{got:?}");
        };
        // It is not acknowledged: it comes again, under the same identifier.
        peer.leave().await;
        let (mut peer, answer) = Peer::with(&stage, connect_to_stay(&stage, version, &name)).await;
        assert!(answer.session_present);
        let again = peer.message().await;
        assert_eq!(
            again.delivery,
            Delivery::AtLeastOnce {
                id: first,
                dup: true
            }
        );
        peer.send(Packet::PubAck(Ack::new(first, ReasonCode::Success)))
            .await;
        peer.silent().await;
        peer.leave().await;
        let (mut peer, answer) = Peer::with(&stage, connect_to_stay(&stage, version, &name)).await;
        assert!(answer.session_present);
        peer.silent().await;
        peer.leave().await;
        let (_, answer) = Peer::with(&stage, connect(&stage, version, &name)).await;
        assert!(!answer.session_present, "a clean start");
    }
}

#[tokio::test]
async fn a_second_connection_takes_the_session_over() {
    let stage = Stage::open().await;
    let mut first = Peer::named(&stage, Version::V5, "twice").await;
    let _second = Peer::named(&stage, Version::V5, "twice").await;
    assert_eq!(first.disconnected().await, ReasonCode::SessionTakenOver);
}

#[tokio::test]
async fn a_message_that_is_sent_again_after_the_connection_is_appended_once() {
    let stage = Stage::open().await;
    let (mut peer, _) = Peer::with(&stage, connect_to_stay(&stage, Version::V5, "exact")).await;
    peer.send(Packet::Publish(message("a/b", "once", exactly_once(5))))
        .await;
    assert_eq!(
        peer.next().await,
        Packet::PubRec(Ack::new(id(5), ReasonCode::Success))
    );
    drop(peer);
    let (mut peer, answer) =
        Peer::with(&stage, connect_to_stay(&stage, Version::V5, "exact")).await;
    assert!(answer.session_present);
    let again = Delivery::ExactlyOnce {
        id: id(5),
        dup: true,
    };
    peer.send(Packet::Publish(message("a/b", "once", again)))
        .await;
    assert_eq!(
        peer.next().await,
        Packet::PubRec(Ack::new(id(5), ReasonCode::Success))
    );
    for _ in 0..2 {
        peer.send(Packet::PubRel(Ack::new(id(5), ReasonCode::Success)))
            .await;
        assert_eq!(
            peer.next().await,
            Packet::PubComp(Ack::new(id(5), ReasonCode::Success))
        );
    }
    // The identifier is free for another message.
    peer.send(Packet::Publish(message("a/b", "another", exactly_once(5))))
        .await;
    assert_eq!(
        peer.next().await,
        Packet::PubRec(Ack::new(id(5), ReasonCode::Success))
    );
    let page = stage.get("/v1/messages/a/b?from=earliest");
    let page = crate::stage::expect(page, reqwest::StatusCode::OK).await;
    let payloads: Vec<_> = page["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r.to_string())
        .collect();
    assert_eq!(payloads.len(), 2, "{payloads:?}");
}

/// A CONNECT that goes on with a session, and lets it live on for this long.
fn lasting(stage: &Stage, name: &str, expiry_s: Option<u32>) -> Connect {
    let mut connect = connect(stage, Version::V5, name);
    connect.clean_start = false;
    connect.properties.session_expiry_s = expiry_s;
    connect
}

async fn is_present(stage: &Stage, name: &str) -> bool {
    let (peer, answer) = Peer::with(stage, lasting(stage, name, Some(600))).await;
    peer.leave().await;
    answer.session_present
}

#[tokio::test]
async fn a_session_lives_as_long_as_it_was_asked_to() {
    for is_kept in [false, true] {
        let mut stage = Stage::open().await;
        if is_kept {
            stage.keep_sessions();
        }
        for (expiry_s, after_ms, expected) in [
            (None, 0, false),
            (Some(0), 0, false),
            (Some(10), 0, true),
            (Some(10), 9_000, true),
            (Some(10), 10_000, false),
            (Some(u32::MAX - 1), 10_000_000, true),
            (Some(u32::MAX), 10_000_000_000, true),
        ] {
            let name = format!("{expiry_s:?}-{after_ms}");
            let (mut peer, answer) = Peer::with(&stage, lasting(&stage, &name, expiry_s)).await;
            assert!(!answer.session_present);
            peer.subscribe(vec![subscription("a", Qos::AtLeastOnce)])
                .await;
            peer.leave().await;
            stage.advance(after_ms);
            assert_eq!(is_present(&stage, &name).await, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_session_that_is_over_is_removed_by_the_node_itself() {
    let mut stage = Stage::open().await;
    stage.keep_sessions();
    let (peer, _) = Peer::with(&stage, lasting(&stage, "brief", Some(10))).await;
    let sessions = async || {
        let filter = highwater_broker::session::SessionKey::filter();
        let broker = stage.broker.clone();
        let system = broker.system().clone();
        let from = highwater_broker::from::From::Retained;
        let open = highwater_broker::subscription::Subscription::open;
        let mut all = open(broker, system, vec![filter], from).await.unwrap();
        let limits = highwater_broker::handle::PageLimits {
            records: 10,
            bytes: 10_000,
        };
        let next = all.try_next(limits, &*stage.clock).await.unwrap();
        next.is_some_and(|delivery| delivery.is_retained)
    };
    assert!(sessions().await);
    peer.leave().await;
    assert!(sessions().await);
    stage.advance(15_000);
    within(async {
        while sessions().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_clean_start_begins_anew() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let name = format!("clean-{version}");
        let (mut peer, _) = Peer::with(&stage, connect_to_stay(&stage, version, &name)).await;
        peer.subscribe(vec![subscription("a", Qos::AtLeastOnce)])
            .await;
        stage.publish("a", "unacknowledged").await;
        peer.message().await;
        peer.leave().await;
        stage.publish("a", "missed").await;
        let mut clean = connect_to_stay(&stage, version, &name);
        clean.clean_start = true;
        let (mut peer, answer) = Peer::with(&stage, clean).await;
        assert!(!answer.session_present);
        stage.publish("a", "nobody asked").await;
        peer.silent().await;
        peer.leave().await;
        // In 3.1.1 a clean session leaves nothing behind; in 5.0 that is another matter.
        let (mut peer, answer) = Peer::with(&stage, connect_to_stay(&stage, version, &name)).await;
        assert_eq!(answer.session_present, version == Version::V5);
        peer.silent().await;
    }
}

#[tokio::test]
async fn a_client_may_change_how_long_its_session_lives_as_it_leaves() {
    let stage = Stage::open().await;
    for (at_connect, at_disconnect, is_kept) in [
        (Some(10), Some(0), false),
        (Some(10), Some(100), true),
        (Some(100), Some(10), false),
        (Some(u32::MAX), Some(10), false),
        (Some(100), None, true),
        (Some(0), Some(0), false),
    ] {
        let name = format!("{at_connect:?}-{at_disconnect:?}");
        let (mut peer, _) = Peer::with(&stage, lasting(&stage, &name, at_connect)).await;
        let mut disconnect = Disconnect::new(ReasonCode::Success);
        disconnect.session_expiry_s = at_disconnect;
        peer.send(Packet::Disconnect(disconnect)).await;
        assert_eq!(peer.try_next().await, None);
        stage.advance(50_000);
        assert_eq!(is_present(&stage, &name).await, is_kept, "{name}");
    }
    // What was to end with the connection cannot be made to stay (MQTT-3.14.2-2).
    for at_connect in [None, Some(0)] {
        let (mut peer, _) = Peer::with(&stage, lasting(&stage, "late", at_connect)).await;
        let mut disconnect = Disconnect::new(ReasonCode::Success);
        disconnect.session_expiry_s = Some(10);
        peer.send(Packet::Disconnect(disconnect)).await;
        peer.ended(ReasonCode::ProtocolError).await;
    }
}

#[tokio::test]
async fn what_a_client_has_missed_comes_with_its_qos() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let name = format!("offline-{version}");
        let stay = || connect_to_stay(&stage, version, &name);
        let (mut peer, _) = Peer::with(&stage, stay()).await;
        let filter = format!("o{}/+", version as u8);
        peer.subscribe(vec![subscription(&filter, Qos::ExactlyOnce)])
            .await;
        peer.leave().await;
        let mut publisher = Peer::open(&stage, version).await;
        for (topic, delivery) in [
            ("0", Delivery::AtMostOnce),
            ("1", at_least_once(1)),
            ("2", exactly_once(2)),
        ] {
            let topic = filter.replace('+', topic);
            publisher
                .send(Packet::Publish(message(&topic, "x", delivery)))
                .await;
        }
        publisher.next().await;
        publisher.next().await;
        let (mut peer, answer) = Peer::with(&stage, stay()).await;
        assert!(answer.session_present);
        let mut got = Vec::new();
        for _ in 0..3 {
            got.push(peer.receive().await.delivery.qos() as u8);
        }
        got.sort();
        assert_eq!(got, [0, 1, 2]);
        peer.silent().await;
    }
}

#[tokio::test]
async fn a_session_goes_on_in_the_other_version() {
    let stage = Stage::open().await;
    let (mut peer, _) = Peer::with(&stage, connect_to_stay(&stage, Version::V3_1_1, "both")).await;
    peer.subscribe(vec![subscription("a", Qos::AtLeastOnce)])
        .await;
    peer.leave().await;
    stage.publish("a", "missed").await;
    let (mut peer, answer) = Peer::with(&stage, connect_to_stay(&stage, Version::V5, "both")).await;
    assert!(answer.session_present);
    assert_eq!(payload(&peer.receive().await), "missed");
}

#[tokio::test]
async fn sessions_of_the_same_name_in_other_projects_are_others() {
    let stage = Stage::open().await;
    let (mut ours, _) = Peer::with(&stage, connect_to_stay(&stage, Version::V5, "same")).await;
    let mut connect = connect_to_stay(&stage, Version::V5, "same");
    let key = bytes::Bytes::from(stage.strangers_key.clone());
    connect.password = Some(key.try_into().unwrap());
    let (mut theirs, answer) = Peer::with(&stage, connect).await;
    assert!(!answer.session_present);
    ours.silent().await;
    theirs.silent().await;
}

#[tokio::test]
async fn of_many_connections_of_a_session_the_last_one_stays() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let mut peers = Vec::new();
        for _ in 0..5 {
            let (peer, answer) = Peer::with(&stage, connect_to_stay(&stage, version, "many")).await;
            assert_eq!(answer.reason, ReasonCode::Success);
            peers.push(peer);
        }
        let mut last = peers.pop().unwrap();
        for mut peer in peers {
            peer.ended(ReasonCode::SessionTakenOver).await;
        }
        last.silent().await;
        last.leave().await;
    }
}
