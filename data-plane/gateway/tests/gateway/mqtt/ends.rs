//! How a connection ends, and what is left of it (sections 3.14 and 4.13).

use highwater_mqtt::{
    Packet, Qos, ReasonCode, Version,
    packet::{Disconnect, publish::Delivery},
};

use super::peer::{Peer, VERSIONS, at_least_once, connect_to_stay, message, payload, subscription};
use crate::stage::{Stage, within};

#[tokio::test]
async fn a_node_that_stops_tells_its_clients_and_their_sessions_go_on_elsewhere() {
    let mut stage = Stage::open().await;
    let mut peers = Vec::new();
    for version in VERSIONS {
        let name = format!("stays-{version}");
        let (mut peer, _) = Peer::with(&stage, connect_to_stay(&stage, version, &name)).await;
        peer.subscribe(vec![subscription("a", Qos::AtLeastOnce)])
            .await;
        stage.publish("a", "unacknowledged").await;
        peer.message().await;
        peers.push((peer, name));
    }
    stage.shutdown.cancel();
    for (peer, _) in &mut peers {
        // The second message may be on its way to the first client.
        peer.ended(ReasonCode::ServerShuttingDown).await;
    }
    stage.stopped().await;
    stage.restart(Default::default()).await;
    for (peer, name) in peers {
        let connect = connect_to_stay(&stage, peer.version, &name);
        let (mut peer, answer) = Peer::with(&stage, connect).await;
        assert!(answer.session_present);
        let again = peer.receive().await;
        assert!(matches!(
            again.delivery,
            Delivery::AtLeastOnce { dup: true, .. }
        ));
    }
}

#[tokio::test]
async fn what_was_taken_is_answered_before_a_node_stops() {
    let mut stage = Stage::open().await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    stage.shards[0].hold(true);
    peer.send(Packet::Publish(message("a", "x", at_least_once(1))))
        .await;
    within(async {
        while stage.shards[0].waiting() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stage.shutdown.cancel();
    stage.shards[0].hold(false);
    assert!(matches!(peer.next().await, Packet::PubAck(_)));
    peer.ended(ReasonCode::ServerShuttingDown).await;
    stage.stopped().await;
}

#[tokio::test]
async fn nothing_is_said_after_a_goodbye() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let mut peer = Peer::open(&stage, version).await;
        peer.subscribe(vec![subscription("a", Qos::AtMostOnce)])
            .await;
        let mut bytes = bytes::BytesMut::new();
        let goodbye = Packet::Disconnect(Disconnect::new(ReasonCode::Success));
        goodbye.encode(version, &mut bytes).unwrap();
        // What comes after it is not looked at.
        Packet::PingReq.encode(version, &mut bytes).unwrap();
        let after = message("a", "x", Delivery::AtMostOnce);
        Packet::Publish(after).encode(version, &mut bytes).unwrap();
        peer.send_bytes(&bytes).await;
        assert_eq!(peer.try_next().await, None);
    }
    let mut reader = Peer::open(&stage, Version::V5).await;
    let all = subscription("$from/earliest/a", Qos::AtMostOnce);
    reader.subscribe(vec![all]).await;
    reader.silent().await;
}

#[tokio::test]
async fn a_goodbye_that_is_none_is_a_protocol_error() {
    let stage = Stage::open().await;
    for bytes in [
        // Reasons that are the server's to give.
        &[0xE0, 1, 0x8D][..],
        &[0xE0, 1, 0x8B],
        // A server reference, and a reason that does not exist.
        &[0xE0, 6, 0, 4, 0x1C, 0, 1, b'x'],
        &[0xE0, 1, 0x03],
    ] {
        let mut peer = Peer::open(&stage, Version::V5).await;
        peer.send_bytes(bytes).await;
        let reason = peer.disconnected().await;
        let expected = [ReasonCode::ProtocolError, ReasonCode::MalformedPacket];
        assert!(expected.contains(&reason), "{bytes:?}: {reason:?}");
    }
}

#[tokio::test]
async fn a_client_that_closes_after_its_last_message_is_heard() {
    let stage = Stage::open().await;
    let mut reader = Peer::open(&stage, Version::V5).await;
    reader
        .subscribe(vec![subscription("a", Qos::AtMostOnce)])
        .await;
    let mut peer = Peer::open(&stage, Version::V3_1_1).await;
    for said in 0..1_000 {
        let publish = message("a", &said.to_string(), Delivery::AtMostOnce);
        peer.send(Packet::Publish(publish)).await;
    }
    peer.vanish().await;
    for said in 0..1_000 {
        assert_eq!(payload(&reader.message().await), said.to_string());
    }
}
