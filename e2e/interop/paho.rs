//! Eclipse Paho for Python, 3.1.1 and 5.0, over TCP and in WebSockets.

use crate::{
    cluster,
    foreign::{Foreign, has, python},
};

/// Runs all scenarios of the script, each of which ends with a line of its own.
async fn check(version: &str, transport: &str) {
    if !has("paho") {
        return;
    }
    let cluster = cluster().await;
    let mut command = python("paho_client.py");
    command.args([version, transport]);
    let said = Foreign::start(command, &cluster).finish().await;
    let ok = said.iter().filter(|line| line.starts_with("ok ")).count();
    assert!(ok >= 5, "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_3_1_1_over_tcp() {
    check("3.1.1", "tcp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_5_0_over_tcp() {
    check("5.0", "tcp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_3_1_1_in_websockets() {
    check("3.1.1", "websockets").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_5_0_in_websockets() {
    check("5.0", "websockets").await;
}
