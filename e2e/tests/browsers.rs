//! Browsers at a cluster of real processes: tickets and pages are the same at every node, and a key's end is kept.

use std::{
    fmt::Debug,
    time::{Duration, SystemTime},
};

use anyhow::{Error, Result};
use highwater_e2e::{
    Cluster,
    condition::{eventually, within_deadline},
    events::Events,
    refusal::Refusal,
    socket::Socket,
};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// A new ticket, from one of the nodes.
async fn ticket(cluster: &Cluster, node: usize, project: usize) -> String {
    let request = cluster.http().post(cluster.url(node, "/v1/tickets"));
    let response = request.bearer_auth(cluster.key_of(project)).send().await;
    let response = response.unwrap().error_for_status().unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let issued: Value = response.json().await.unwrap();
    issued["ticket"].as_str().unwrap().to_owned()
}

/// A request for a stream of `a`, with nothing but a ticket.
fn stream(cluster: &Cluster, node: usize, ticket: &str) -> RequestBuilder {
    let path = format!("/v1/sse?topic=a&from=earliest&ticket={ticket}");
    cluster.http().get(cluster.url(node, &path))
}

async fn socket(cluster: &Cluster, node: usize, ticket: &str) -> Result<Socket> {
    let url = format!("ws://{}/v1/ws?ticket={ticket}", cluster.address(node));
    Socket::of(url.into_client_request()?).await
}

/// The code of a refusal.
fn code<T: Debug>(outcome: Result<T>) -> String {
    let refusal = outcome.map_err(Error::downcast::<Refusal>);
    refusal.unwrap_err().expect("a refusal").code
}

/// The data of the next record.
async fn data(events: &mut Events) -> String {
    let next = within_deadline("there is a record", events.next()).await;
    let event = next.unwrap().expect("the stream goes on");
    assert_eq!(event.name, "", "{event:?}");
    event.json().unwrap()["data"].as_str().unwrap().to_owned()
}

async fn publish(cluster: &Cluster, node: usize, payload: String) {
    let request = cluster.http().post(cluster.url(node, "/v1/messages/a"));
    let request = request.header("content-type", "text/plain").body(payload);
    let response = request.bearer_auth(cluster.key()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_good_at_every_node_and_once_in_the_cluster() {
    let cluster = Cluster::start().await;
    publish(&cluster, 0, "x".into()).await;
    for node in 0..cluster.size() {
        let [elsewhere, third] = [1, 2].map(|step| (node + step) % cluster.size());
        let used = ticket(&cluster, node, 0).await;
        let mut events = Events::of(stream(&cluster, elsewhere, &used))
            .await
            .unwrap();
        assert_eq!(data(&mut events).await, "x");
        for again in [third, node, elsewhere] {
            let refused = Events::of(stream(&cluster, again, &used)).await;
            assert_eq!(code(refused), "unauthenticated");
            let refused = socket(&cluster, again, &used).await;
            assert_eq!(code(refused), "unauthenticated");
        }
        let used = ticket(&cluster, node, 0).await;
        let mut connection = socket(&cluster, elsewhere, &used).await.unwrap();
        connection.subscribe(1, &["a"], "latest").await.unwrap();
        let refused = socket(&cluster, third, &used).await;
        assert_eq!(code(refused), "unauthenticated");
    }
    // Of several who come with the same ticket at once, one gets in.
    let used = ticket(&cluster, 0, 0).await;
    let attempts = (0..9).map(|n| Events::of(stream(&cluster, n % 3, &used)));
    let outcomes = futures_util::future::join_all(attempts).await;
    let opened = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(opened, 1, "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_comes_back_by_itself_loses_and_repeats_nothing() {
    let cluster = Cluster::start().await;
    let address = ticket(&cluster, 0, 0).await;
    let mut events = Events::of(stream(&cluster, 0, &address)).await.unwrap();
    let mut published = 0;
    for round in 0..12 {
        for _ in 0..3 {
            publish(&cluster, published % 3, published.to_string()).await;
            published += 1;
        }
        // One is read of three, so that it comes back from further and further behind.
        assert_eq!(data(&mut events).await, round.to_string());
        let cookie = events.header("set-cookie");
        let (cookie, _) = cookie.split_once(';').expect("a cookie");
        let again = stream(&cluster, round % 3, &address)
            .header("cookie", cookie)
            .header("last-event-id", events.cursor());
        events = Events::of(again).await.unwrap();
    }
    for seen in 12..published {
        assert_eq!(data(&mut events).await, seen.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_allowed_by_project_at_every_node() {
    const APP: &str = "https://app.example.com";
    let cluster = Cluster::start().await;
    let ask = async |node: usize, project: usize, origin: &str| {
        let request = cluster.http().get(cluster.url(node, "/v1/topics"));
        let request = request.header("origin", origin);
        let response = request.bearer_auth(cluster.key_of(project)).send().await;
        let response = response.unwrap();
        let readable = &response.headers()["access-control-allow-origin"];
        assert_eq!(readable, origin, "it may read why");
        response.status()
    };
    for node in 0..cluster.size() {
        assert_eq!(ask(node, 0, APP).await, StatusCode::FORBIDDEN);
    }
    cluster
        .edit_project(0, |project| project.origins = vec![APP.to_owned()])
        .await;
    for node in 0..cluster.size() {
        eventually("the page is allowed", async || {
            ask(node, 0, APP).await == StatusCode::OK
        })
        .await;
        let foreign = ask(node, 0, "https://evil.example.com").await;
        assert_eq!(foreign, StatusCode::FORBIDDEN);
        assert_eq!(ask(node, 1, APP).await, StatusCode::FORBIDDEN);
        // A refused page leaves its ticket for another.
        let address = ticket(&cluster, node, 0).await;
        let foreign = stream(&cluster, node, &address).header("origin", "null");
        assert_eq!(code(Events::of(foreign).await), "forbidden");
        let ours = stream(&cluster, node, &address).header("origin", APP);
        Events::of(ours).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_ends_at_its_time_at_every_node() {
    let cluster = Cluster::start().await;
    let mut open = Vec::new();
    for node in 0..cluster.size() {
        let events = Events::of(stream(&cluster, node, &ticket(&cluster, node, 1).await));
        let mut socket = Socket::open(cluster.address(node), cluster.key_of(1))
            .await
            .unwrap();
        socket.subscribe(1, &["a"], "latest").await.unwrap();
        open.push((events.await.unwrap(), socket));
    }
    // Long enough for every node to have heard of it before.
    let end = SystemTime::now() + Duration::from_secs(8);
    let end_ms = end
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64;
    cluster.edit_key(1, |key| key.expires_at_ms = end_ms).await;
    for (node, (mut events, mut socket)) in open.into_iter().enumerate() {
        let mut next = async || within_deadline("there is an event", events.next()).await;
        let warning = next().await.unwrap().unwrap();
        assert_eq!(warning.name, "auth-expiring");
        assert_eq!(warning.json().unwrap()["expires_at_ms"], end_ms);
        let error = next().await.unwrap().unwrap();
        assert_eq!(error.name, "error");
        assert_eq!(error.json().unwrap()["code"], "unauthenticated");
        assert!(SystemTime::now() >= end, "not before its time");
        assert_eq!(next().await.unwrap(), None);

        let mut next = async || within_deadline("there is a message", socket.next()).await;
        let warning = next().await.unwrap();
        assert_eq!(warning["type"], "auth_expiring");
        assert_eq!(warning["expires_at_ms"], end_ms);
        assert_eq!(code(next().await), "unauthenticated");
        assert!(next().await.is_err(), "it is closed");
        assert_eq!(socket.close_code(), Some(4401));

        let request = cluster.http().post(cluster.url(node, "/v1/tickets"));
        let refused = request.bearer_auth(cluster.key_of(1)).send().await;
        assert_eq!(refused.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    publish(&cluster, 0, "others go on".into()).await;
}
