//! `highwater dev` as scripts use it: one line of JSON when ready, and it ends all it started.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use highwater_e2e::{Client, binary, condition::within_deadline, process::Pid};
use serde_json::Value;

/// A running `highwater dev`, ended in order when dropped.
struct Dev(std::process::Child);

impl Drop for Dev {
    fn drop(&mut self) {
        Pid(self.0.id()).terminate();
        let _ = self.0.wait();
    }
}

async fn check(nodes: usize) {
    let mut dev = Command::new(binary::highwater());
    dev.args([
        "dev",
        "--nodes",
        &nodes.to_string(),
        "--ephemeral",
        "--port",
        "0",
        "-o",
        "json",
    ])
    .stdin(Stdio::null())
    .stdout(Stdio::piped())
    .stderr(Stdio::null());
    let mut dev = Dev(dev.spawn().unwrap());
    let stdout = dev.0.stdout.take().unwrap();
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map(|_| line)
    });
    let line = within_deadline("the line comes", line)
        .await
        .unwrap()
        .unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let key = ready["key"].as_str().expect("a key");
    let started = ready["nodes"].as_array().expect("nodes");
    assert_eq!(started.len(), nodes);

    // Ready means ready: the first publish on each node works.
    let address = |node: &Value| {
        let address = node["http"].as_str().expect("a client address");
        address.trim_start_matches("http://").to_owned()
    };
    for (number, node) in started.iter().enumerate() {
        let client = Client::new(&address(node), key);
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
