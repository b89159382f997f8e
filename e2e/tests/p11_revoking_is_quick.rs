//! P11: a revoked key is refused, and what it has open is closed, within a second on every node.

use std::time::{Duration, Instant};

use highwater_e2e::{
    Cluster, Door, Live,
    condition::{eventually, within_deadline},
    events::Events,
    refusal::Refusal,
    socket::Socket,
};
use highwater_proto::control::{self, document::Resource};
use tonic::Code;

/// What is promised is a second; a machine that does much else at the same time may be late.
const LATEST: Duration = Duration::from_secs(10);

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
    cluster.revoke_key(1).await;
    for (node, live) in open.into_iter().enumerate() {
        assert_eq!(live.end().await, Code::Unauthenticated);
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
    cluster.revoke_key(1).await;
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

/// What a key's owner sees on every node when something is suspended, and that it is over when it is not any more.
async fn is_suspended(cluster: &Cluster, suspend: impl AsyncFn(control::State)) {
    let mut open = Vec::new();
    for node in 0..cluster.size() {
        let client = cluster.client_of(node, 1);
        open.push(client.subscribe(&["a"], "latest").await.unwrap());
    }
    suspend(control::State::Suspended).await;
    for (node, live) in open.into_iter().enumerate() {
        assert_eq!(live.end().await, Code::PermissionDenied);
        let refused = cluster.client_of(node, 1).publish("a", "p#1").await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    }
    suspend(control::State::Active).await;
    for node in 0..cluster.size() {
        let client = cluster.client_of(node, 1);
        eventually("it is let in again", async || {
            client.publish("a", "p#2").await.is_ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_project_is_closed_until_it_is_active_again() {
    let cluster = Cluster::start().await;
    is_suspended(&cluster, async |state| {
        let edit = cluster.edit_project(1, |project| project.set_state(state));
        edit.await;
    })
    .await;
    let tenant = format!("ten_{:032x}", 1);
    is_suspended(&cluster, async |state| {
        let edit = cluster.edit(&tenant, |resource| match resource {
            Some(Resource::Tenant(tenant)) => tenant.set_state(state),
            other => panic!("{other:?} is no tenant"),
        });
        edit.await;
    })
    .await;
}
