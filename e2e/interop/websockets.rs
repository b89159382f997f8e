//! WebSocket clients of Python and Node, which speak the JSON subprotocol.

use crate::{
    cluster,
    foreign::{Foreign, has, node, python},
};
use tokio::process::Command;

/// Each script publishes, reads a while on one node, and reads on at the next one from its cursor.
async fn check(command: Command) {
    let cluster = cluster().await;
    let said = Foreign::start(command, &cluster).finish().await;
    assert_eq!(said.last().map(String::as_str), Some("ok"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_websockets() {
    if has("websockets") {
        check(python("websockets_client.py")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_ws() {
    if has("node") {
        check(node("ws_client.cjs")).await;
    }
}
