//! Sessions: what is there when a client comes back.

use highwater_mqtt::{
    Packet, Qos, ReasonCode, Version,
    packet::{Ack, publish::Delivery},
};

use super::peer::{
    Peer, connect, connect_to_stay, exactly_once, id, message, subscription, topic_and_payload,
};
use crate::stage::Stage;

const VERSIONS: [Version; 2] = [Version::V3_1_1, Version::V5];

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
