//! What clients are told when a shard does not work says what to do, and nothing about the inside.

use highwater_broker::handle::ShardHandle;

use super::*;
use crate::stage::{Stage, until};

const PROJECT: ProjectId = ProjectId::from_bytes([1; 16]);

fn publish() -> Publish {
    Publish {
        project: PROJECT,
        topic: TopicName::try_from("a").unwrap(),
        message: Bytes::from_static(b"m"),
        idempotency: None,
        key: None,
        if_end: None,
        policy: Default::default(),
        retain: Default::default(),
        with_previous: false,
        protocol: highwater_broker::metering::Protocol::Unspecified,
    }
}

async fn put(shard: &ShardHandle) -> Result<Vec<Result<Published>>> {
    shard.publish(vec![publish()]).await?.await.unwrap()
}

fn request(kind: Kind, body: impl Into<Bytes>) -> Frame {
    Frame {
        kind,
        shard: ShardId(0),
        id: 1,
        body: body.into(),
    }
}

/// What a peer is told that asks this.
async fn refusal_to(replica: &Arc<Replica>, request: Frame) -> Refusal {
    let answer = answer(request, replica, &Mutex::default()).await;
    assert_eq!(answer.kind, Kind::Refused);
    refusal_from_wire(wire::Refusal::decode(answer.body).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_refusal_names_an_address_or_speaks_of_the_inside() {
    let stage = Stage::start(3).await;
    let (leader, [follower, _]) = stage.parts().await;
    let mut refusals = Vec::new();

    // Of those that do not lead, and of requests that are none.
    let replica = stage.replica(follower);
    refusals.push(replica.read_index_here().await.unwrap_err());
    for kind in [Kind::Vote, Kind::SnapshotBegin, Kind::Heartbeat, Kind::Ping] {
        refusals.push(refusal_to(replica, request(kind, &b"\xff\xff"[..])).await);
    }
    refusals.push(refusal_to(replica, request(Kind::SnapshotEnd, Bytes::new())).await);

    // Of a leader that no majority hears, and of those that do not reach it.
    stage.isolate(leader);
    until("the connections are broken", || {
        !stage.replica(follower).links.is_up(leader)
    })
    .await;
    let cut_off = stage.replica(leader);
    match cut_off.read_index_here().await {
        Err(refusal) => refusals.push(refusal),
        Ok(_) => panic!("nobody confirmed it"),
    }

    // Of a shard that has stopped.
    cut_off.raft.shutdown().await.unwrap();
    refusals.push(cut_off.read_index_here().await.unwrap_err());
    let handle = stage.cluster(leader).handles()[0].clone();
    refusals.push(put(&handle).await.unwrap_err());
    for kind in [Kind::Vote, Kind::Heartbeat, Kind::TransferLeader] {
        refusals.push(refusal_to(cut_off, request(kind, Bytes::new())).await);
    }

    let addresses = stage.members.iter().map(|member| member.address.as_str());
    let inside = [
        "127.0.0.1",
        "raft",
        "fatal",
        "forward",
        "quorum",
        "vote",
        "term",
        "metrics",
        "membership",
        "log id",
        "panic",
        "prost",
        "wire type",
        "tag",
    ];
    let words: Vec<&str> = addresses.chain(inside).collect();
    for refusal in &refusals {
        let message = refusal.message().to_lowercase();
        for word in &words {
            assert!(!message.contains(word), "{word:?} in {message:?}");
        }
    }
    stage.stop().await;
}
