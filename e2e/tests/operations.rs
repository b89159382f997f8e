//! What operators ask of a node over HTTP: whether it lives, whether it is ready, and what it counts.

use std::{collections::BTreeMap, fs, path::Path};

use highwater_e2e::{
    Cluster,
    cluster::{PEER_LOSS_WARNINGS, Setup},
    eventually,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_without_a_credential() {
    let setup = Setup {
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    let all_well =
        "[+] phase: ok\n[+] catalogue: ok\n[+] storage: ok\n[+] shards: ok\n[+] peers: ok\nready\n";
    for (path, expected) in [
        ("/livez", "ok\n"),
        ("/readyz", "ready\n"),
        ("/readyz?verbose", all_well),
    ] {
        let response = cluster.http().get(cluster.url(0, path)).send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.text().await.unwrap(), expected, "{path}");
    }

    // A peer that is away is worth a word, and no reason to send clients elsewhere.
    cluster.kill(2).await;
    eventually("the loss is told", async || {
        let text = cluster.get(0, "/readyz?verbose").await.unwrap();
        text.contains("[!] peers: no connection to node 3\n") && cluster.is_ready(0).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_tells_its_clients_and_takes_all_steps_in_order() {
    let mut cluster = Cluster::start_with(Setup {
        nodes: 1,
        ..Setup::default()
    })
    .await;
    let client = cluster.client(0);
    // Keeps the connection, and so the node, for as long as it takes to see it.
    let mut live = client.subscribe(&["a"], "latest").await.unwrap();
    cluster.pid(0).terminate();
    let told = highwater_e2e::condition::within_deadline("it is told", live.next()).await;
    assert!(told.unwrap().draining.is_some());
    cluster.stop(0).await;
    let log = cluster.log(0);
    let steps = log.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(line["step"].as_str()?.to_owned())
    });
    let steps: Vec<String> = steps.collect();
    let order = [
        "not ready",
        "stop accepting",
        "tell clients",
        "drain",
        "hand over",
        "flush",
    ];
    assert_eq!(steps, order);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_open_metrics_and_their_names_are_those_that_are_committed() {
    let cluster = Cluster::start_with(Setup {
        nodes: 1,
        ..Setup::default()
    })
    .await;
    // One that depends on an error has no line before there was one.
    cluster.client(0).publish("a/#", "x").await.unwrap_err();
    cluster.client(0).publish("a", "x").await.unwrap();
    let response = cluster.http().get(cluster.url(0, "/metrics")).send().await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = response.text().await.unwrap();
    assert!(text.ends_with("\n# EOF\n"), "it ends as it should");

    let found = list(&text);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("metrics.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        committed, found,
        "the metrics have changed: run this test again with UPDATE=1"
    );
}

/// Name, kind and meaning of each metric, by name.
fn list(text: &str) -> String {
    let (mut kinds, mut meanings) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some((name, kind)) = described(line, "# TYPE ") {
            assert_eq!(kinds.insert(name, kind), None, "{name} is there twice");
        }
        if let Some((name, meaning)) = described(line, "# HELP ") {
            meanings.insert(name, meaning);
        }
    }
    let kinds = kinds.iter();
    let line = |(name, kind): (&&str, &&str)| {
        let meaning = meanings[name].trim_end_matches('.');
        format!("{name} ({kind}): {meaning}\n")
    };
    kinds.map(line).collect()
}

fn described<'a>(line: &'a str, start: &str) -> Option<(&'a str, &'a str)> {
    line.strip_prefix(start)?.split_once(' ')
}
