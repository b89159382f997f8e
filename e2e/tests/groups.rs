//! Groups of consumers on several nodes, some of which die.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Result;
use highwater_e2e::{Cluster, Load, condition::eventually, socket::Socket};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const TOPIC: &str = "jobs/a";
const FILTER: &str = "jobs/+";
const MEMBERS: usize = 6;
const ROOM: u64 = 40;

/// What the members have done with each record, by its offset: how often it came, and how often it was
/// acknowledged.
type Seen = Arc<Mutex<HashMap<u64, (u32, u32)>>>;

/// A consumer that joins again, on another node, when its connection ends.
async fn consume(addresses: Vec<String>, key: String, first: usize, seen: Seen) {
    for node in (0..addresses.len()).cycle().skip(first) {
        // Whatever it was that ended, the group goes on.
        let _ = follow(&addresses[node], &key, &seen).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn follow(address: &str, key: &str, seen: &Seen) -> Result<()> {
    let mut socket = Socket::open(address, key).await?;
    socket.join(1, ("workers", FILTER), ROOM).await?;
    loop {
        let message = socket.next().await?;
        let records = message["records"].as_array().cloned().unwrap_or_default();
        let count = records.len();
        for record in &records {
            let offset = record["offset"].as_u64().unwrap_or(u64::MAX);
            seen.lock().unwrap().entry(offset).or_default().0 += 1;
        }
        let cursors: Vec<&Value> = records.iter().map(|record| &record["cursor"]).collect();
        socket
            .send(&json!({"type": "ack", "sub": 1, "cursors": cursors}))
            .await?;
        for record in &records {
            let offset = record["offset"].as_u64().unwrap_or(u64::MAX);
            seen.lock().unwrap().entry(offset).or_default().1 += 1;
        }
        let flow = json!({"type": "flow", "sub": 1, "credit": {"messages": count}});
        socket.send(&flow).await?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_is_done_by_some_member_though_nodes_are_killed() {
    let mut cluster = Cluster::start().await;
    let addresses: Vec<String> = (0..cluster.size())
        .map(|node| cluster.address(node).to_owned())
        .collect();
    let seen = Seen::default();
    let mut members = JoinSet::new();
    // A group begins with its first member.
    let mut first = Socket::open(&addresses[0], cluster.key()).await.unwrap();
    first.join(1, ("workers", FILTER), 1).await.unwrap();
    for number in 0..MEMBERS {
        members.spawn(consume(
            addresses.clone(),
            cluster.key().to_owned(),
            number,
            seen.clone(),
        ));
    }
    drop(first);
    let load = Load::start(&cluster.clients(), &[TOPIC], 4);
    load.more_acks(500).await;
    for node in [1, 2, 0] {
        cluster.kill(node).await;
        load.more_acks(300).await;
        cluster.start_node(node);
        cluster.ready(node).await;
        load.more_acks(300).await;
    }
    load.finish().await;
    let end = cluster.client(0).topic(TOPIC).await.unwrap().next_offset;
    eventually("every record is acknowledged", async || {
        let seen = seen.lock().unwrap();
        (0..end).all(|offset| seen.get(&offset).is_some_and(|(_, acked)| *acked > 0))
    })
    .await;
    members.shutdown().await;
    let seen = seen.lock().unwrap();
    let again = seen.values().filter(|(came, _)| *came > 1).count();
    // What came again was with a member whose node was killed or whose connection broke, and each had room for
    // so many. A killed node had two members, and a third of the connections are to it afterwards.
    let broken = 3 * MEMBERS as u64;
    assert!(
        again as u64 <= broken * 2 * ROOM,
        "{again} of {end} records came more than once"
    );
}
