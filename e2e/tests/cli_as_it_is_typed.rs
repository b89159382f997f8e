//! What a new user types, in that order, with the exit codes and the JSON that scripts rely on.

use highwater_e2e::{
    Cluster,
    cli::Cli,
    cluster::{Policy, Setup, free_port},
    dev::Dev,
    eventually_some,
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_published_followed_and_read() {
    let dev = Dev::start(1).await;
    let cli = dev.cli();

    let first = cli.json(&["pub", "orders/eu/42", r#"{"total": 7}"#]).await;
    assert_eq!(first.len(), 1);
    assert_eq!(first[0]["topic"], "orders/eu/42");
    assert_eq!(first[0]["offset"], 0);
    assert_eq!(first[0]["duplicate"], false);
    // The same with an idempotency key is one message.
    let keyed = ["pub", "orders/eu/42", "again", "--idempotency-key", "k"];
    assert_eq!(cli.json(&keyed).await[0]["duplicate"], false);
    let again = cli.json(&keyed).await;
    assert_eq!(again[0]["duplicate"], true);
    assert_eq!(again[0]["offset"], 1);
    let lines = ["pub", "orders/us/1", "--lines", "-o", "json"];
    let lines = cli.run_with(&lines, "a\nb\nc\n").await;
    assert_eq!(lines.code, 0, "{lines:?}");
    let offsets = lines.json();
    let offsets: Vec<&Value> = offsets.iter().map(|result| &result["offset"]).collect();
    assert_eq!(offsets, [0, 1, 2]);

    let followed = ["sub", "orders/#", "--from", "earliest", "--count", "5"];
    let followed = cli.json(&followed).await;
    assert_eq!(followed.len(), 5);
    assert_eq!(followed[0]["data"], r#"{"total": 7}"#);
    assert_eq!(followed[0]["content_type"], "application/json");
    // The cursor of a record goes on behind it.
    let from = format!("cursor:{}", followed[2]["cursor"].as_str().unwrap());
    let rest = ["sub", "orders/#", "--from", &from, "--count", "2"];
    assert_eq!(cli.json(&rest).await, followed[3..]);

    let page = cli
        .json(&["read", "orders/us/1", "--from", "last:2", "--limit", "1"])
        .await;
    assert_eq!(page.len(), 2);
    assert_eq!(page[0]["data"], "b");
    let next = format!("cursor:{}", page[1]["next"].as_str().unwrap());
    let raw = cli
        .run(&["read", "orders/us/1", "--from", &next, "--raw"])
        .await;
    assert_eq!((raw.code, raw.stdout.as_str()), (0, "c\n"));

    // What is retained, and where an answer is expected.
    let retained = [
        "pub",
        "orders/eu/1",
        "kept",
        "--retain",
        "--reply-to",
        "answers/1",
    ];
    cli.json(&retained).await;
    cli.json(&["pub", "orders/eu/1", "later"]).await;
    let retained = ["sub", "orders/#", "--from", "retained", "--count", "1"];
    let retained = cli.json(&retained).await;
    assert_eq!(retained[0]["data"], "kept");
    assert_eq!(retained[0]["retain"], true);
    assert_eq!(retained[0]["reply_to"], "answers/1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_listed_shown_and_deleted() {
    let dev = Dev::start(1).await;
    let cli = dev.cli();
    for topic in ["a/1", "a/2", "b/ä %"] {
        cli.json(&["pub", topic, "x"]).await;
    }
    let listed = cli.json(&["topic", "list"]).await;
    let names: Vec<&Value> = listed.iter().map(|topic| &topic["topic"]).collect();
    assert_eq!(names, ["a/1", "a/2", "b/ä %"]);
    assert_eq!(cli.json(&["topic", "list", "a/"]).await, listed[..2]);
    assert_eq!(cli.json(&["topic", "show", "b/ä %"]).await, listed[2..]);
    let deleted = cli.json(&["topic", "delete", "b/ä %"]).await;
    assert_eq!(deleted, [json!({ "deleted": "b/ä %" })]);
    for command in ["show", "delete"] {
        let gone = cli.run(&["topic", command, "b/ä %"]).await;
        assert_eq!(gone.code, 5, "{gone:?}");
        assert_eq!(gone.stdout, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tools_around_it_do_their_work() {
    let dev = Dev::start(1).await;
    let cli = dev.cli();

    let bench = ["bench", "--duration", "0.5", "--warmup", "0.1"];
    let report = cli
        .json(&[&bench[..], &["--subscribers", "2"]].concat())
        .await;
    assert_eq!(report.len(), 1);
    assert!(report[0]["messages"].as_u64().unwrap() > 0, "{report:?}");
    assert_eq!(report[0]["lost"], 0);
    assert_eq!(report[0]["deliveries"]["missing"], 0);

    let findings = cli.json(&["doctor"]).await;
    let key = format!("key at {}", cli.servers);
    let key = findings
        .iter()
        .find(|finding| finding["check"] == key.as_str());
    assert_eq!(key.expect("the key is checked")["grade"], "ok");
    assert!(findings.iter().all(|f| f["grade"] != "failed"));

    let script = cli.run(&["completion", "bash"]).await;
    assert_eq!(script.code, 0);
    assert!(script.stdout.contains("complete -F _highwater"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_say_what_to_do() {
    let dev = Dev::start(1).await;
    let cli = dev.cli();
    let foreign = Cli {
        key: format!("hw_{}_{}", "0".repeat(32), "x".repeat(43)),
        ..cli.clone()
    };
    let nowhere = Cli {
        servers: format!("http://127.0.0.1:{}", free_port()),
        ..cli.clone()
    };
    for (who, arguments, code) in [
        (&cli, &["pub", "a/#", "a filter"][..], 1),
        (&cli, &["pub", "a", "x", "--header", "no value"], 2),
        (&cli, &["read", "a", "--from", "cursor:forged"], 1),
        (&cli, &["frobnicate"], 2),
        (&cli, &["node", "--config", "missing.toml"], 2),
        (&nowhere, &["pub", "a", "x", "--timeout", "0"], 3),
        (&nowhere, &["read", "a", "--timeout", "0"], 3),
        (&nowhere, &["topic", "list", "--timeout", "0"], 3),
        (&nowhere, &["topic", "delete", "a", "--timeout", "0"], 3),
        (&foreign, &["pub", "a", "x"], 4),
        (&foreign, &["sub", "a", "--count", "1"], 4),
        (&foreign, &["topic", "list"], 4),
        (&cli, &["topic", "show", "no/such/topic"], 5),
    ] {
        let ended = who.run(arguments).await;
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{arguments:?}");
        assert!(ended.stderr.contains("error"), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_goes_on_to_the_next_server() {
    let dev = Dev::start(1).await;
    let cli = dev.cli();
    let second = Cli {
        servers: format!("http://127.0.0.1:{},{}", free_port(), cli.servers),
        ..cli
    };
    for arguments in [
        &["pub", "a", "x"][..],
        &["read", "a"],
        &["sub", "a", "--from", "earliest", "--count", "1"],
        &["topic", "list"],
        &["topic", "show", "a"],
        &["topic", "delete", "a"],
    ] {
        second.json(arguments).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_tells_of_the_gaps_of_all_its_topics() {
    let policy = Policy {
        filter: "short/#".into(),
        retention_records: Some(10),
        ..Policy::default()
    };
    let cluster = Cluster::start_with(Setup {
        nodes: 1,
        policies: vec![policy],
        ..Setup::default()
    })
    .await;
    let client = cluster.client(0);
    let topics = ["short/a", "short/b", "short/c"];
    for topic in topics {
        client
            .publish_stream(topic, "first", 100, 100)
            .await
            .unwrap();
    }
    let start = client.read("short/#", "earliest", 1).await.unwrap();
    for topic in topics {
        client
            .publish_stream(topic, "later", 100, 100)
            .await
            .unwrap();
    }
    let cli = Cli {
        servers: cluster.url(0, ""),
        key: cluster.key().to_owned(),
        folder: cluster.folder().to_owned(),
    };
    let from = format!("cursor:{}", start.next);
    let read = ["read", "short/#", "--from", &from];
    let gaps = eventually_some("all three topics have lost records", async || {
        let page = cli.json(&read).await;
        let gaps = page.iter().filter_map(|line| line["gap"]["topic"].as_str());
        let mut gaps: Vec<String> = gaps.map(str::to_owned).collect();
        gaps.sort();
        (gaps.len() >= topics.len()).then_some(gaps)
    })
    .await;
    assert_eq!(gaps, topics);
    let text = cli.run(&read).await;
    assert_eq!(
        text.stderr.matches("gap (retention)").count(),
        3,
        "{text:?}"
    );
}
