//! Wills: said once by whichever node is left, and not at all for a client that comes back in time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use highwater_e2e::{
    Cluster,
    ledger::text,
    mqtt::{self, Memory, Mqtt, connect_to_session},
};
use highwater_mqtt::{
    Binary, Packet, Qos, ReasonCode, Version,
    packet::{Connect, Disconnect, connect::Will, connect::WillProperties},
};

use super::{LONG_S, cluster, connected, next, observer};

/// What is promised is about ten seconds; a machine that does much else at the same time may be late.
const LATEST: Duration = Duration::from_secs(30);

/// A will of text.
pub fn will(topic: &str, payload: &str, delay_s: u32) -> Will {
    Will {
        topic: mqtt::name(topic),
        payload: Binary::try_from(Bytes::copy_from_slice(payload.as_bytes())).expect("short"),
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: WillProperties {
            delay_s: (delay_s > 0).then_some(delay_s),
            ..WillProperties::default()
        },
    }
}

fn with_will(cluster: &Cluster, name: &str, expiry_s: u32, delay_s: u32) -> Connect {
    let mut connect = connect_to_session(name, cluster.key(), expiry_s);
    connect.will = Some(will("wills/said", name, delay_s));
    connect
}

async fn is_connected(cluster: &Cluster, node: usize, connect: &Connect) -> Mqtt {
    connected(cluster, node, connect, &Memory::default()).await
}

/// All wills that were said so far, in order of the log. A will that is not in it was not due before the last
/// one was.
async fn said(cluster: &Cluster, node: usize) -> Vec<String> {
    let client = cluster.client(node);
    let (records, gaps) = client.read_all("wills/said", "earliest").await.unwrap();
    assert_eq!(gaps, []);
    records
        .iter()
        .map(|record| text(record).to_owned())
        .collect()
}

/// Has another client lose its connection, and waits for its will: whatever was due before was said before.
async fn mark(cluster: &Cluster, node: usize, observer: &mut Mqtt, name: &str) {
    let client = is_connected(cluster, node, &with_will(cluster, name, 0, 0)).await;
    drop(client);
    assert_eq!(next(observer).await, ("wills/said".into(), name.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "the measured time is worth seeing")]
async fn the_wills_of_a_node_that_is_killed_are_said_once_by_the_others() {
    let mut cluster = cluster().await;
    let mut seeing = observer(&cluster, 1, "wills/#").await;
    let mut open = Vec::new();
    // One whose session ends with the connection, one whose session goes on, and one of 3.1.1.
    open.push(is_connected(&cluster, 0, &with_will(&cluster, "ends", 0, 0)).await);
    open.push(is_connected(&cluster, 0, &with_will(&cluster, "stays", LONG_S, 0)).await);
    let mut old = mqtt::connect(Version::V3_1_1, "old", cluster.key());
    old.will = Some(will("wills/said", "old", 0));
    open.push(is_connected(&cluster, 0, &old).await);
    // Who is given longer than the test takes.
    open.push(is_connected(&cluster, 0, &with_will(&cluster, "late", LONG_S, LONG_S)).await);
    // Who has said goodbye.
    let mut left = is_connected(&cluster, 0, &with_will(&cluster, "left", LONG_S, 0)).await;
    let goodbye = Disconnect::new(ReasonCode::Success);
    left.send(Packet::Disconnect(goodbye)).await.unwrap();
    assert_eq!(super::end(&mut left).await, None);

    let start = Instant::now();
    cluster.kill(0).await;
    let mut wills = Vec::new();
    for _ in 0..3 {
        wills.push(next(&mut seeing).await.1);
        eprintln!("a will was said after {:?}", start.elapsed());
    }
    assert!(start.elapsed() < LATEST, "after {:?}", start.elapsed());
    wills.sort();
    assert_eq!(wills, ["ends", "old", "stays"]);
    // Also when the node is back, and finds what it had served.
    cluster.restart(0).await;
    for node in 0..cluster.size() {
        mark(&cluster, node, &mut seeing, &format!("mark {node}")).await;
    }
    assert_eq!(said(&cluster, 0).await.len(), 3 + cluster.size());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_returns_in_time_or_says_goodbye_leaves_no_will() {
    let mut cluster = cluster().await;
    let mut seeing = observer(&cluster, 1, "wills/#").await;
    let returning = with_will(&cluster, "returning", LONG_S, 20);
    let mut first = is_connected(&cluster, 0, &returning).await;
    cluster.kill(0).await;
    super::end(&mut first).await;
    let mut second = is_connected(&cluster, 2, &returning).await;
    assert!(second.accepted.session_present);
    mark(&cluster, 1, &mut seeing, "mark 1").await;
    cluster.restart(0).await;
    mark(&cluster, 0, &mut seeing, "mark 2").await;

    // A goodbye that asks for the will all the same (section 3.14.2.1).
    let mut asking = is_connected(&cluster, 0, &with_will(&cluster, "asking", LONG_S, 0)).await;
    let goodbye = Disconnect::new(ReasonCode::DisconnectWithWill);
    asking.send(Packet::Disconnect(goodbye)).await.unwrap();
    assert_eq!(next(&mut seeing).await.1, "asking");

    let goodbye = Disconnect::new(ReasonCode::Success);
    second.send(Packet::Disconnect(goodbye)).await.unwrap();
    super::end(&mut second).await;
    mark(&cluster, 2, &mut seeing, "mark 3").await;
    assert_eq!(
        said(&cluster, 0).await,
        ["mark 1", "mark 2", "asking", "mark 3"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_says_no_wills_of_clients_that_return() {
    let mut cluster = cluster().await;
    let size = cluster.size();
    let connects: Vec<Connect> = (0..2 * size)
        .map(|number| {
            // Half of them have sessions that end with their connections, if the server does not ask them to come back.
            let expiry_s = if number % 2 == 0 { LONG_S } else { 0 };
            with_will(&cluster, &format!("client {number}"), expiry_s, 0)
        })
        .collect();
    let mut clients = Vec::new();
    for (number, connect) in connects.iter().enumerate() {
        clients.push((
            number % size,
            is_connected(&cluster, number % size, connect).await,
        ));
    }
    for node in 0..size {
        cluster.pid(node).terminate();
        let mut there = Vec::new();
        for (number, (at, client)) in clients.iter_mut().enumerate() {
            if *at == node {
                let said = super::end(client).await;
                let expected = mqtt::code(ReasonCode::ServerShuttingDown);
                assert_eq!(said, Some(expected), "client {number}");
                there.push(number);
            }
        }
        for number in there {
            let elsewhere = (node + 1 + number % 2) % size;
            let client = is_connected(&cluster, elsewhere, &connects[number]).await;
            clients[number] = (elsewhere, client);
        }
        cluster.stop(node).await;
        cluster.restart(node).await;
    }
    let mut seeing = observer(&cluster, 0, "wills/#").await;
    for node in 0..size {
        mark(&cluster, node, &mut seeing, &format!("mark {node}")).await;
    }
    assert_eq!(said(&cluster, 0).await, ["mark 0", "mark 1", "mark 2"]);
}
