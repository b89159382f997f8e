//! A session on several nodes: whichever one its client comes to goes on with it, and sees to it when another is
//! gone.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use highwater_gateway::{Gateway, Options, Peers};
use highwater_mqtt::{
    Packet, Qos, ReasonCode, Version,
    packet::{Ack, publish::Delivery},
};
use highwater_proto::ids::NodeId;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::peer::{
    Peer, VERSIONS, connect, connect_to_stay, id, message, payload, subscription, will,
};
use crate::stage::Stage;

/// Another node of the stage's cluster.
struct Second {
    address: SocketAddr,
    /// Whether most nodes have lost the first one.
    has_lost_first: Arc<AtomicBool>,
    _running: JoinSet<()>,
}

async fn second(stage: &Stage) -> Second {
    let options = Options {
        node: 1,
        ..Options::default()
    };
    let gateway = Gateway::new(stage.broker.clone(), stage.clock.clone(), options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let has_lost_first = Arc::new(AtomicBool::new(false));
    let asked = has_lost_first.clone();
    let first = Peers::new(
        vec![NodeId(0)],
        Arc::new(move |_| {
            let is_lost = asked.load(Ordering::SeqCst);
            Box::pin(async move { is_lost })
        }),
    );
    let mut running = JoinSet::new();
    let keeper = gateway.clone();
    running.spawn(async move { keeper.keep_sessions(first, CancellationToken::new()).await });
    running.spawn(async move {
        let never = CancellationToken::new();
        gateway.serve(listener, None, never).await.unwrap();
    });
    Second {
        address,
        has_lost_first,
        _running: running,
    }
}

#[tokio::test]
async fn a_client_that_comes_to_another_node_takes_its_session_along() {
    let mut stage = Stage::open().await;
    stage.keep_sessions();
    let second = second(&stage).await;
    for version in VERSIONS {
        let name = format!("moves-{version}");
        let topic = format!("moves/{}", version as u8);
        let stay = || connect_to_stay(&stage, version, &name);
        let (mut peer, _) = Peer::with(&stage, stay()).await;
        peer.subscribe(vec![subscription(&topic, Qos::ExactlyOnce)])
            .await;
        stage.publish(&topic, "under way").await;
        let before = peer.message().await.delivery;
        // The first node finds out by itself.
        let (mut moved, answer) = Peer::with_at(second.address, stay()).await;
        assert!(answer.session_present);
        peer.ended(ReasonCode::SessionTakenOver).await;
        let again = moved.message().await;
        assert_eq!(payload(&again), "under way");
        let id = before.packet_id().unwrap();
        assert_eq!(again.delivery, Delivery::ExactlyOnce { id, dup: true });
        // And back.
        let (mut back, answer) = Peer::with(&stage, stay()).await;
        assert!(answer.session_present);
        moved.ended(ReasonCode::SessionTakenOver).await;
        assert_eq!(back.receive().await.delivery, again.delivery);
        back.silent().await;
        back.leave().await;
    }
}

#[tokio::test]
async fn a_message_of_qos_2_that_two_nodes_are_sent_is_appended_once() {
    let mut stage = Stage::open().await;
    stage.keep_sessions();
    let second = second(&stage).await;
    let stay = || connect_to_stay(&stage, Version::V5, "moves");
    let ack = || Ack::new(id(5), ReasonCode::Success);
    let publish = |said: &str, dup| {
        let delivery = Delivery::ExactlyOnce { id: id(5), dup };
        Packet::Publish(message("once", said, delivery))
    };
    let mut reader = Peer::open(&stage, Version::V5).await;
    reader
        .subscribe(vec![subscription("once", Qos::AtMostOnce)])
        .await;
    for said in ["1", "2", "3"] {
        let (mut peer, _) = Peer::with(&stage, stay()).await;
        assert_eq!(peer.ask(publish(said, false)).await, Packet::PubRec(ack()));
        let (mut moved, _) = Peer::with_at(second.address, stay()).await;
        assert_eq!(moved.ask(publish(said, true)).await, Packet::PubRec(ack()));
        assert_eq!(
            moved.ask(Packet::PubRel(ack())).await,
            Packet::PubComp(ack())
        );
        let (mut back, _) = Peer::with(&stage, stay()).await;
        assert_eq!(
            back.ask(Packet::PubRel(ack())).await,
            Packet::PubComp(ack())
        );
        assert_eq!(payload(&reader.message().await), said);
        reader.silent().await;
    }
}

#[tokio::test]
async fn the_will_of_a_client_of_a_lost_node_is_published_by_another_once() {
    let stage = Stage::ticking().await;
    let second = second(&stage).await;
    let mut left = connect(&stage, Version::V5, "on-the-first");
    left.will = Some(will("wills/a", "lost"));
    left.properties.session_expiry_s = Some(600);
    let (_peer, _) = Peer::with(&stage, left).await;
    let mut reader = connect(&stage, Version::V5, "reader");
    reader.properties.session_expiry_s = Some(0);
    let (mut reader, _) = Peer::with_at(second.address, reader).await;
    reader
        .subscribe(vec![subscription("wills/+", Qos::AtLeastOnce)])
        .await;
    reader.silent().await;
    second.has_lost_first.store(true, Ordering::SeqCst);
    assert_eq!(payload(&reader.receive().await), "lost");
    // Its client goes on elsewhere.
    let mut back = connect(&stage, Version::V5, "on-the-first");
    back.clean_start = false;
    let (mut back, answer) = Peer::with_at(second.address, back).await;
    assert!(answer.session_present);
    back.silent().await;
    reader.silent().await;
}
