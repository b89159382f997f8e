//! Keep alive (section 3.1.2.10), and the PINGREQ that makes up for silence.

use std::time::{Duration, Instant};

use highwater_mqtt::{ReasonCode, packet::Connect};
use tokio::time::interval;

use super::peer::{Peer, VERSIONS, connect};
use crate::stage::Stage;

fn short(stage: &Stage, version: highwater_mqtt::Version) -> Connect {
    let mut connect = connect(stage, version, "");
    connect.keep_alive_s = 1;
    connect
}

#[tokio::test]
async fn a_client_that_is_silent_for_one_and_a_half_keep_alives_is_closed() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let begun = Instant::now();
        let (mut peer, _) = Peer::with(&stage, short(&stage, version)).await;
        peer.ended(ReasonCode::KeepAliveTimeout).await;
        let silent = begun.elapsed();
        assert!(silent >= Duration::from_millis(1_500), "{silent:?}");
        assert!(silent < Duration::from_millis(4_000), "{silent:?}");
    }
}

#[tokio::test]
async fn any_packet_keeps_a_connection_alive() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let (mut peer, _) = Peer::with(&stage, short(&stage, version)).await;
        let mut pace = interval(Duration::from_millis(500));
        for round in 0..5 {
            pace.tick().await;
            match round % 2 {
                0 => peer.silent().await,
                _ => peer.publish("a", "x").await,
            }
        }
        peer.leave().await;
    }
}

#[tokio::test]
async fn a_part_of_a_packet_does_not_keep_a_connection_alive() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let (mut peer, _) = Peer::with(&stage, short(&stage, version)).await;
        peer.send_bytes(&[0xC0]).await;
        peer.ended(ReasonCode::KeepAliveTimeout).await;
    }
}
