//! A browser as it is: EventSource that reconnects by itself, WebSocket with a ticket, gRPC-web.

use highwater_e2e::{Cluster, Random};
use serde_json::{Value, json};

use crate::{browser::Browser, cluster, foreign::has, forwarder::Forwarder};

async fn ticket(cluster: &Cluster, node: usize) -> String {
    let request = cluster.http().post(cluster.url(node, "/v1/tickets"));
    let response = request.bearer_auth(cluster.key()).send().await.unwrap();
    let issued: Value = response.error_for_status().unwrap().json().await.unwrap();
    issued["ticket"].as_str().unwrap().to_owned()
}

async fn publish(cluster: &Cluster, node: usize, number: usize) {
    let client = cluster.client(node);
    let key = format!("k{number}");
    let publish = highwater_e2e::client::request("events/a", format!("m{number}"), &key);
    let published = highwater_e2e::client::retry("a publish", async || {
        client.publish_request(publish.clone()).await
    });
    assert_eq!(published.await.unwrap().offset, number as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_source_that_is_cut_again_and_again_loses_and_repeats_nothing() {
    if !has("chromium") {
        return;
    }
    let mut cluster = cluster().await;
    let mut random = Random::seeded();
    let forwarder = Forwarder::to(cluster.address(0)).await;
    let ticket = ticket(&cluster, 1).await;
    let url = format!(
        "http://{}/v1/sse?topic=events/%23&from=earliest&ticket={ticket}",
        forwarder.address()
    );
    let mut browser = Browser::open(&cluster, "events", &json!({ "url": url })).await;
    let (mut seen, mut losses, mut published, mut at) = (0, 0, 0, 0);
    let check = |post: &Value, seen: &mut usize, losses: &mut usize| {
        if post["record"].is_object() {
            assert_eq!(post["record"]["data"], format!("m{seen}"), "{post}");
            assert_eq!(post["record"]["cursor"], post["id"]);
            *seen += 1;
        }
        *losses += usize::from(post["lost"] == true);
    };
    for round in 0..8 {
        let elsewhere = (at + 1 + random.below(2)) % cluster.size();
        let before = 1 + random.below(20);
        for _ in 0..before {
            publish(&cluster, elsewhere, published).await;
            published += 1;
        }
        // Cut somewhere in what is on its way.
        let until = seen + random.below(published - seen) + 1;
        while seen < until {
            check(&browser.post().await, &mut seen, &mut losses);
        }
        let killed = (round % 2 == 1).then_some(at);
        if let Some(node) = killed {
            cluster.kill(node).await;
        }
        forwarder.lead_to(cluster.address(elsewhere));
        at = elsewhere;
        publish(&cluster, at, published).await;
        published += 1;
        while seen < published {
            check(&browser.post().await, &mut seen, &mut losses);
        }
        if let Some(node) = killed {
            cluster.restart(node).await;
        }
    }
    assert!(losses >= 8, "the stream was cut {losses} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_of_a_page_is_opened_with_a_ticket() {
    if !has("chromium") {
        return;
    }
    let cluster = cluster().await;
    let ticket = ticket(&cluster, 2).await;
    let url = format!("ws://{}/v1/ws?ticket={ticket}", cluster.address(1));
    let mut browser = Browser::open(&cluster, "socket", &json!({ "url": url, "count": 100 })).await;
    let numbers: Vec<u64> = (0..100).collect();
    assert_eq!(browser.post().await["received"], json!(numbers));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_web_publishes_and_reads_from_a_page() {
    if !has("chromium") || !has("node") {
        return;
    }
    let cluster = cluster().await;
    let host = format!("http://{}", cluster.address(0));
    let parameters = json!({ "host": host, "key": cluster.key(), "count": 5 });
    let mut browser = Browser::open(&cluster, "grpc", &parameters).await;
    let told = browser.post().await;
    assert_eq!(told["payloads"], json!(["m0", "m1", "m2", "m3", "m4"]));
    assert_eq!(told["refused"], 16, "UNAUTHENTICATED");
}
