//! P11: a revoked key is refused, and what it has open is closed, within a second on every node.

use std::{
    fs::{self, File},
    time::{Duration, Instant},
};

use highwater_e2e::{
    Cluster, Door, Live,
    client::Subscription,
    condition::{eventually, within_deadline},
    events::Events,
    refusal::Refusal,
    socket::Socket,
};
use toml::{Table, Value};
use tonic::Code;

/// What is promised is a second; a machine that does much else at the same time may be late.
const LATEST: Duration = Duration::from_secs(10);

/// The keys of a catalogue.
fn keys(catalogue: &mut Table) -> &mut Vec<Value> {
    let keys = catalogue.get_mut("keys").and_then(Value::as_array_mut);
    keys.expect("there are keys")
}

/// Waits until a subscription is ended by the server, and says why it was.
async fn end_of(mut live: Subscription) -> Code {
    loop {
        let next = within_deadline("the subscription is closed", live.next()).await;
        if let Err(error) = next {
            let status = error.downcast_ref::<tonic::Status>();
            return status.map_or(Code::Ok, tonic::Status::code);
        }
    }
}

/// The code in the last event of a stream, which ends with it.
async fn end_of_events(mut events: Events) -> String {
    let mut code = None;
    let mut next = async || within_deadline("the stream is closed", events.next()).await;
    while let Some(event) = next().await.unwrap() {
        assert_eq!(code, None, "{event:?} comes after the end");
        if event.name == "error" {
            code = event.json().unwrap()["code"].as_str().map(str::to_owned);
        }
    }
    code.expect("it is told why")
}

/// The code in the last message of a connection, and the one with which it is closed.
async fn end_of_socket(mut socket: Socket) -> (String, Option<u16>) {
    let mut code = None;
    loop {
        let next = within_deadline("the connection is closed", socket.next()).await;
        match next.map_err(anyhow::Error::downcast::<Refusal>) {
            Ok(_) => assert_eq!(code, None, "nothing comes after the end"),
            Err(Ok(refusal)) => code = Some(refusal.code),
            Err(Err(_)) => break (code.expect("it is told why"), socket.close_code()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "the measured time is worth seeing")]
async fn a_revoked_key_is_refused_and_its_subscriptions_are_closed_on_every_node() {
    let cluster = Cluster::start().await;
    let mut open = Vec::new();
    for node in 0..cluster.size() {
        let revoked = cluster.client_of(node, 1);
        open.push(revoked.subscribe(&["a"], "latest").await.unwrap());
    }
    let mut other = cluster.client(0).subscribe(&["a"], "latest").await.unwrap();
    cluster.client_of(0, 1).publish("a", "p#0").await.unwrap();

    let start = Instant::now();
    cluster.edit_catalogue(|catalogue| {
        keys(catalogue).remove(1);
    });
    for (node, live) in open.into_iter().enumerate() {
        assert_eq!(end_of(live).await, Code::Unauthenticated);
        let took = start.elapsed();
        eprintln!("node {node} closed it after {took:?}");
        assert!(took < LATEST, "node {node} took {took:?}");
        // Refused by then, not only cut off.
        let revoked = cluster.client_of(node, 1);
        let refused = revoked.publish("a", "p#1").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
        let refused = revoked.read("a", "earliest", 1).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
        let request = cluster.http().get(cluster.url(node, "/v1/topics"));
        let refused = request.bearer_auth(cluster.key_of(1)).send().await;
        assert_eq!(refused.unwrap().status(), 401);
    }

    // Nobody else notices anything.
    cluster.client(1).publish("a", "p#0").await.unwrap();
    let records = within_deadline("others go on", other.records(1)).await;
    assert_eq!(records.unwrap()[0].payload, "p#0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_are_its_event_streams_and_websockets() {
    let cluster = Cluster::start().await;
    let peer = |node| (cluster.address(node), cluster.key_of(1));
    let mut open = Vec::new();
    for node in 0..cluster.size() {
        let events = Events::open(cluster.http(), peer(node), &["a"], "latest").await;
        let mut socket = Socket::open(peer(node).0, peer(node).1).await.unwrap();
        socket.subscribe(1, &["a"], "latest").await.unwrap();
        open.push((events.unwrap(), socket));
    }
    let mut others = Vec::new();
    for door in [Door::Sse, Door::WebSocket] {
        let live = Live::open(&cluster, (0, door), &["a"], "latest").await;
        others.push(live.unwrap());
    }
    cluster.client_of(0, 1).publish("a", "p#0").await.unwrap();

    let start = Instant::now();
    cluster.edit_catalogue(|catalogue| {
        keys(catalogue).remove(1);
    });
    for (node, (events, socket)) in open.into_iter().enumerate() {
        assert_eq!(end_of_events(events).await, "unauthenticated");
        let end = ("unauthenticated".to_owned(), Some(4401));
        assert_eq!(end_of_socket(socket).await, end);
        let took = start.elapsed();
        assert!(took < LATEST, "node {node} took {took:?}");
        // Refused by then, not only cut off.
        let events = Events::open(cluster.http(), peer(node), &["a"], "latest").await;
        let socket = Socket::open(peer(node).0, peer(node).1).await;
        for error in [events.unwrap_err(), socket.unwrap_err()] {
            let refusal: Refusal = error.downcast().unwrap();
            assert_eq!(refusal.code, "unauthenticated", "{refusal}");
        }
    }

    // Nobody else notices anything.
    cluster.client(1).publish("a", "p#1").await.unwrap();
    for mut live in others {
        let records = within_deadline("others go on", live.next()).await;
        assert_eq!(records.unwrap()[0].payload, "p#1");
    }
}

/// The digit that a hexadecimal hash begins with, changed.
fn spoil(key: &mut Value) {
    let hash = key["secret_hash"].as_str().expect("a hash").to_owned();
    let digit = if hash.starts_with('0') { "1" } else { "0" };
    key["secret_hash"] = Value::String(format!("{digit}{}", &hash[1..]));
}

/// A file that looks unchanged, by its size and its time, is read only because the signal asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reads_the_catalogue_again() {
    let cluster = Cluster::start().await;
    let client = cluster.client_of(0, 1);
    client.publish("a", "p#0").await.unwrap();
    let before = fs::metadata(cluster.catalogue()).unwrap();
    let reads = || {
        cluster
            .log(0)
            .matches("the catalogue was read again")
            .count()
    };
    let text = fs::read_to_string(cluster.catalogue()).unwrap();
    let mut catalogue: Table = text.parse().unwrap();
    spoil(&mut keys(&mut catalogue)[1]);
    let spoilt = keys(&mut catalogue)[1]["secret_hash"].as_str().unwrap();
    let original: Table = text.parse().unwrap();
    let original = original["keys"][1]["secret_hash"].as_str().unwrap();
    // Beside it first, so that no node sees the new content with a new time.
    let new = cluster.folder().join("catalogue.new");
    fs::write(&new, text.replace(original, spoilt)).unwrap();
    let file = File::options().write(true).open(&new).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    fs::rename(&new, cluster.catalogue()).unwrap();
    assert_eq!(reads(), 0, "nobody has looked");
    assert!(client.publish("a", "p#1").await.is_ok());

    for node in 0..cluster.size() {
        cluster.pid(node).hang_up();
    }
    for node in 0..cluster.size() {
        let client = cluster.client_of(node, 1);
        eventually("the key is refused", async || {
            let outcome = client.publish("a", "p#2").await;
            outcome.is_err_and(|status| status.code() == Code::Unauthenticated)
        })
        .await;
    }
    eventually("it was read once", async || reads() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalogue_that_cannot_be_used_changes_nothing_and_is_told() {
    let mut cluster = Cluster::start().await;
    cluster.allow_warning("the catalogue in force stays");
    let mut live = cluster.client(1).subscribe(&["a"], "latest").await.unwrap();
    let good = fs::read(cluster.catalogue()).unwrap();
    cluster.edit_catalogue(|catalogue| {
        let key = keys(catalogue)[0].as_table_mut().expect("a key");
        key.insert("permisions".into(), Value::Boolean(true));
    });
    for node in 0..cluster.size() {
        eventually("the mistake is told", async || {
            let text = cluster.get(node, "/readyz?verbose").await.unwrap();
            text.contains("[!] catalogue: ") && text.contains("permisions")
        })
        .await;
        assert!(cluster.is_ready(node).await, "requests are served");
        cluster.client(node).publish("a", "p#0").await.unwrap();
    }
    let records = within_deadline("what is open goes on", live.records(3)).await;
    assert_eq!(records.unwrap().len(), 3);

    let new = cluster.folder().join("catalogue.new");
    fs::write(&new, good).unwrap();
    fs::rename(&new, cluster.catalogue()).unwrap();
    for node in 0..cluster.size() {
        eventually("the mistake is gone", async || {
            let text = cluster.get(node, "/readyz?verbose").await.unwrap();
            text.contains("[+] catalogue: ok")
        })
        .await;
    }
}
