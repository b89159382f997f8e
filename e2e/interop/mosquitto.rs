//! Mosquitto's own clients, as a shell script uses them.

use std::time::Duration;

use highwater_e2e::Cluster;
use tokio::process::Command;

use crate::{
    cluster,
    foreign::{Foreign, has},
};

/// A client of one node.
fn client(cluster: &Cluster, program: &str, node: usize, arguments: &[&str]) -> Foreign {
    let (host, port) = cluster.address(node).split_once(':').expect("host:port");
    let mut command = Command::new(program);
    command
        .args([
            "-h",
            host,
            "-p",
            port,
            "-u",
            "mosquitto",
            "-P",
            cluster.key(),
        ])
        .args(arguments);
    Foreign::start(command, cluster)
}

async fn publish(cluster: &Cluster, node: usize, arguments: &[&str]) {
    client(cluster, "mosquitto_pub", node, arguments)
        .finish()
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_mosquitto_pub_publishes_reaches_mosquitto_sub_on_another_node() {
    if !has("mosquitto") {
        return;
    }
    let cluster = cluster().await;
    for version in ["mqttv311", "mqttv5"] {
        let filter = format!("{version}/#");
        let show = ["-v", "-V", version, "-q", "2", "-t", &filter];
        // Retained, so that it comes whenever the subscriber is there.
        for (node, qos) in [(0, "0"), (1, "1"), (2, "2")] {
            let topic = format!("{version}/{qos}");
            let said = ["-V", version, "-q", qos, "-r", "-t", &topic, "-m", "kept"];
            publish(&cluster, node, &said).await;
        }
        let mut subscriber = client(&cluster, "mosquitto_sub", 1, &show);
        let mut kept = Vec::new();
        for _ in 0..3 {
            kept.push(subscriber.line().await);
        }
        kept.sort();
        assert_eq!(kept, [0, 1, 2].map(|qos| format!("{version}/{qos} kept")));
        for node in 0..cluster.size() {
            let topic = format!("{version}/live");
            let said = ["-V", version, "-q", "2", "-t", &topic, "-m", "now"];
            publish(&cluster, node, &said).await;
            assert_eq!(subscriber.line().await, format!("{version}/live now"));
        }
        subscriber.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_mosquitto_sub_goes_on_at_another_node_after_its_node_was_killed() {
    if !has("mosquitto") {
        return;
    }
    let mut cluster = cluster().await;
    for version in ["mqttv311", "mqttv5"] {
        let topic = format!("jobs/{version}");
        let session = [
            "-V", version, "-c", "-i", version, "-q", "2", "-t", &topic, "-x", "3600",
        ];
        // 3.1.1 has no expiry to tell.
        let session = match version {
            "mqttv5" => &session[..],
            _ => &session[..9],
        };
        let once = [session, &["-E"]].concat();
        client(&cluster, "mosquitto_sub", 0, &once).finish().await;
        for number in 0..20 {
            let text = number.to_string();
            let said = ["-q", "2", "-t", &topic, "-m", &text];
            publish(&cluster, 1 + number % 2, &said).await;
        }
        cluster.kill(0).await;
        let all = [session, &["-C", "20"]].concat();
        let all = client(&cluster, "mosquitto_sub", 2, &all).finish().await;
        let numbers: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        assert_eq!(all, numbers, "{version}");
        cluster.restart(0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_will_of_a_mosquitto_sub_that_is_killed_is_said() {
    if !has("mosquitto") {
        return;
    }
    let cluster = cluster().await;
    let mut observer = client(
        &cluster,
        "mosquitto_sub",
        1,
        &["-v", "-t", "wills/#", "-t", "up"],
    );
    let will = [
        "-t",
        "none",
        "--will-topic",
        "wills/x",
        "--will-payload",
        "gone",
        "--will-qos",
        "1",
        "-k",
        "5",
    ];
    let doomed = client(&cluster, "mosquitto_sub", 0, &will);
    // Both are known to be there once what is published comes.
    let up = async {
        loop {
            publish(&cluster, 2, &["-t", "up", "-m", "?"]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = up => {}
        line = observer.line() => assert_eq!(line, "up ?"),
    }
    highwater_e2e::condition::eventually("it is connected", async || {
        cluster.metric(0, "highwater_connections").await >= 1.0
    })
    .await;
    doomed.kill().await;
    assert_eq!(observer.line_with("wills/x").await, "gone");
    observer.kill().await;
}
