//! What a project has used is what its clients have really sent and received: once, whatever is sent again, whoever is
//! killed, and whichever node is asked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use highwater_e2e::{
    Client, Cluster,
    client::{request, retry},
    cluster::{PEER_LOSS_WARNINGS, Setup},
    condition::within_deadline,
    events::Events,
    eventually,
    mqtt::{Mqtt, connect},
    socket::Socket,
};
use highwater_mqtt::{Qos, Version};
use highwater_proto::control::{Hour, ReadUsageRequest, Traffic};
use prost::Message as _;
use serde_json::json;

/// The project of the test: whether nodes are ready is tried out in another one.
const PROJECT: usize = 1;

/// A cluster whose nodes are killed and stopped.
async fn start() -> Cluster {
    Cluster::start_with(Setup {
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    })
    .await
}

/// The usage of the project, all hours of this test together, as a node tells it.
async fn used(cluster: &Cluster, node: usize) -> Vec<Hour> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let hour = since_epoch.as_secs() / 3_600;
    let request = ReadUsageRequest {
        project: format!("prj_{:032x}", PROJECT + 1),
        spread: 2,
        from_hour: hour - 1,
        to_hour: hour + 1,
    };
    let answer = cluster.catalogue_at(node).read_usage(request).await;
    answer
        .map(|answer| answer.into_inner().hours)
        .unwrap_or_default()
}

async fn of(cluster: &Cluster, node: usize, protocol: &str) -> Traffic {
    let hours = used(cluster, node).await;
    let of_protocol = hours.iter().flat_map(|hour| &hour.traffic);
    let of_protocol = of_protocol.filter(|traffic| traffic.protocol == protocol);
    of_protocol.fold(Traffic::default(), |sum, more| Traffic {
        protocol: protocol.to_owned(),
        messages_in: sum.messages_in + more.messages_in,
        bytes_in: sum.bytes_in + more.bytes_in,
        messages_out: sum.messages_out + more.messages_out,
        bytes_out: sum.bytes_out + more.bytes_out,
        connection_ms: sum.connection_ms + more.connection_ms,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_in_is_counted_once_while_leaders_are_killed() {
    const MESSAGES: usize = 300;
    let mut cluster = start().await;
    let payload = "x".repeat(100);
    let mut sent = 0;
    for round in 0..3 {
        let clients: Vec<Client> = (0..cluster.size())
            .map(|node| cluster.client_of(node, PROJECT))
            .collect();
        for number in 0..MESSAGES {
            // Each is sent at least twice, to other nodes: a retry with its key is no other message.
            let key = format!("{round}-{number}");
            let one = request("orders", payload.clone(), &key);
            for again in 0..2 {
                let client = &clients[(number + again) % clients.len()];
                retry("publishing", async || {
                    client.publish_request(one.clone()).await
                })
                .await
                .unwrap();
            }
            sent += 1;
            if number == MESSAGES / 2 {
                let leader = cluster.leader("orders").await;
                cluster.kill(leader).await;
                cluster.start_node(leader);
                cluster.all_ready().await;
            }
        }
    }
    let message = request("orders", payload, "").message.unwrap();
    let bytes = sent as u64 * message.encoded_len() as u64;
    for node in 0..cluster.size() {
        let counted = of(&cluster, node, "grpc").await;
        assert_eq!(
            (counted.messages_in, counted.bytes_in),
            (sent as u64, bytes)
        );
    }
    let stored: u64 = used(&cluster, 0).await.last().unwrap().stored_bytes;
    assert_eq!(stored, bytes);
    cluster.restart_all().await;
    let counted = of(&cluster, 1, "grpc").await;
    assert_eq!(
        (counted.messages_in, counted.bytes_in),
        (sent as u64, bytes)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_out_is_counted_over_each_protocol_and_not_lost_when_nodes_stop() {
    const MESSAGES: usize = 50;
    let mut cluster = start().await;
    let address = cluster.address(1).to_owned();
    let door = (&*address, cluster.key_of(PROJECT));
    let mut events = Events::open(cluster.http(), door, &["a"], "latest")
        .await
        .unwrap();
    let mut socket = Socket::open(&address, cluster.key_of(PROJECT))
        .await
        .unwrap();
    socket.subscribe(1, &["a"], "latest").await.unwrap();
    let mut mqtt = Mqtt::open(&address, connect(Version::V5, "m", cluster.key_of(PROJECT)))
        .await
        .unwrap();
    mqtt.subscribe(&[("a", Qos::AtMostOnce)], None)
        .await
        .unwrap();
    let mut grpc = cluster
        .client_of(1, PROJECT)
        .subscribe(&["a"], "latest")
        .await
        .unwrap();

    let publisher = cluster.client_of(0, PROJECT);
    for number in 0..MESSAGES {
        publisher.publish("a", format!("{number}")).await.unwrap();
    }
    within_deadline("all have received all", async {
        grpc.records(MESSAGES).await.unwrap();
        for _ in 0..MESSAGES {
            mqtt.message().await.unwrap();
        }
        let mut received = 0;
        while received < MESSAGES {
            let event = events.next().await.unwrap().unwrap();
            received += usize::from(!event.data.is_empty() && !event.id.is_empty());
        }
        let mut received = 0;
        while received < MESSAGES {
            let next = socket.next().await.unwrap();
            received += next["records"].as_array().map_or(0, Vec::len);
        }
    })
    .await;
    // A message back over the WebSocket, so that its way in is its own.
    socket
        .send(&json!({"type": "publish", "id": 9, "topic": "b", "data": "x"}))
        .await
        .unwrap();
    eventually("the publish is counted", async || {
        of(&cluster, 0, "websocket").await.messages_in == 1
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // The node has its last reading taken before it goes.
    cluster.stop(1).await;
    for protocol in ["grpc", "sse", "websocket", "mqtt"] {
        let counted = of(&cluster, 0, protocol).await;
        assert_eq!(
            counted.messages_out, MESSAGES as u64,
            "{protocol}: {counted:?}"
        );
        assert!(counted.connection_ms >= 1_000, "{protocol}: {counted:?}");
    }
    let hours = used(&cluster, 0).await;
    let peak: u64 = hours
        .iter()
        .map(|hour| hour.peak_connections)
        .max()
        .unwrap();
    assert!(peak >= 4, "{hours:?}");
    assert_eq!(of(&cluster, 0, "grpc").await.messages_in, MESSAGES as u64);
}
