//! curl as a client of event streams.

use highwater_e2e::Cluster;
use serde_json::Value;
use tokio::process::Command;

use crate::{
    cluster,
    foreign::{Foreign, has},
};

const MESSAGES: usize = 60;

fn stream(cluster: &Cluster, node: usize, last: Option<&str>) -> Foreign {
    let mut command = Command::new("curl");
    command
        .args([
            "--silent",
            "--show-error",
            "--no-buffer",
            "--fail-with-body",
        ])
        .arg("--oauth2-bearer")
        .arg(cluster.key());
    if let Some(last) = last {
        command
            .arg("--header")
            .arg(format!("Last-Event-ID: {last}"));
    }
    command.arg(cluster.url(node, "/v1/sse?topic=curl/%23&from=earliest"));
    Foreign::start(command, cluster)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_reads_on_at_another_node_from_the_last_event_it_saw() {
    if !has("curl") {
        return;
    }
    let cluster = cluster().await;
    for number in 0..MESSAGES {
        let mut post = Command::new("curl");
        post.args([
            "--silent",
            "--show-error",
            "--fail-with-body",
            "--data-binary",
        ])
        .arg(format!("m{number}"))
        .args(["--header", "Content-Type: text/plain", "--oauth2-bearer"])
        .arg(cluster.key())
        .arg(cluster.url(number % 3, &format!("/v1/messages/curl/{}", number % 2)));
        let said = Foreign::start(post, &cluster).finish().await.join("\n");
        let result: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(result["offset"], number / 2);
    }
    let (mut seen, mut last) = (Vec::new(), None::<String>);
    for round in 0.. {
        if seen.len() == MESSAGES {
            break;
        }
        let mut events = stream(&cluster, round % 3, last.as_deref());
        // The receipt and some records, or the receipt alone.
        for _ in 0..=(round % 5).min(MESSAGES - seen.len()) {
            let id = events.line_with("id:").await;
            let record: Value = serde_json::from_str(&events.line_with("data:").await).unwrap();
            if record["data"].is_null() {
                // The receipt: its cursor is as good as that of a record.
                assert!(record["cursor"].is_string());
            } else {
                seen.push(record["data"].as_str().unwrap().to_owned());
            }
            last = Some(id);
        }
        events.kill().await;
    }
    for topic in 0..2 {
        let of_topic = |text: &&String| text[1..].parse::<usize>().unwrap() % 2 == topic;
        let found: Vec<&String> = seen.iter().filter(of_topic).collect();
        let expected: Vec<String> = (topic..MESSAGES)
            .step_by(2)
            .map(|n| format!("m{n}"))
            .collect();
        assert_eq!(found, expected.iter().collect::<Vec<_>>());
    }
}
