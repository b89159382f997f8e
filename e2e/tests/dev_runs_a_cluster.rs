//! `highwater dev` as scripts use it: one line of JSON when ready, and it ends all it started.

use highwater_e2e::{Client, dev::Dev, process::Pid};
use serde_json::Value;

async fn check(nodes: usize) {
    let dev = Dev::start(nodes).await;
    let started = dev.nodes().to_vec();
    assert_eq!(started.len(), nodes);

    // Ready means ready: the first publish on each node works.
    let address = |node: &Value| {
        let address = node["http"].as_str().expect("a client address");
        address.trim_start_matches("http://").to_owned()
    };
    for (number, node) in started.iter().enumerate() {
        let client = Client::new(&address(node), dev.key());
        let result = client.publish("dev", format!("p#{number}")).await.unwrap();
        assert_eq!(result.offset, number as u64);
    }
    let pids: Vec<Pid> = started
        .iter()
        .map(|node| Pid(node["pid"].as_u64().expect("a pid") as u32))
        .collect();
    drop(dev);
    for pid in pids {
        pid.ended().await;
    }
}

#[tokio::test]
async fn one_node_is_ready_when_the_line_is_printed() {
    check(1).await;
}

#[tokio::test]
async fn three_nodes_are_ready_when_the_line_is_printed() {
    check(3).await;
}
