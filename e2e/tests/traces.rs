//! One trace shows a message from its publish to each delivery, whichever nodes it passes.

use std::{collections::BTreeSet, sync::Arc};

use highwater_e2e::{
    Cluster, client::request, cluster::Setup, condition::within_deadline, eventually,
};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// What is read of `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
}

type Spans = Arc<Mutex<Vec<Span>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sampled_publish_is_followed_from_publish_to_each_delivery() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let spans = Spans::default();
    let collector = tokio::spawn(collect(listener, spans.clone()));
    let cluster = Cluster::start_with(Setup {
        otlp_endpoint: Some(endpoint),
        ..Setup::default()
    })
    .await;
    let mut subscriptions = Vec::new();
    for client in cluster.clients() {
        subscriptions.push(client.subscribe(&["traced"], "latest").await.unwrap());
    }

    let client = cluster.client(0);
    client
        .publish("traced", "nobody asks for a trace")
        .await
        .unwrap();
    let mut traced = request("traced", "traced", "");
    traced.message.as_mut().unwrap().traceparent = format!("00-{TRACE}-{PARENT}-01");
    client.publish_request(traced).await.unwrap();
    for subscription in &mut subscriptions {
        let records = within_deadline("delivery", subscription.records(2)).await;
        assert_eq!(records.unwrap().len(), 2);
    }

    // A proposal that has to be made again is another span, and leadership may move at any time.
    let expected = BTreeSet::from(["commit", "deliver", "propose", "publish"]);
    eventually("all spans arrive", async || {
        let spans = spans.lock().await;
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        let count = |name| names.iter().filter(|n| **n == name).count();
        let all: BTreeSet<&str> = names.iter().copied().collect();
        all == expected && count("publish") == 1 && count("deliver") == subscriptions.len()
    })
    .await;
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    for span in spans.lock().await.iter() {
        assert_eq!(hex(&span.trace_id), TRACE, "{}", span.name);
        assert_eq!(hex(&span.parent_span_id), PARENT, "{}", span.name);
    }
    collector.abort();
}

/// A collector: takes what is exported and says that all is well.
async fn collect(listener: TcpListener, spans: Spans) {
    while let Ok((connection, _)) = listener.accept().await {
        let spans = spans.clone();
        tokio::spawn(async move { serve(connection, &spans).await });
    }
}

async fn serve(mut connection: TcpStream, spans: &Spans) -> Option<()> {
    let mut received = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = received.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            more(&mut connection, &mut received).await?;
        };
        let text = String::from_utf8_lossy(&received[..head]).to_lowercase();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length?.trim().parse().ok()?;
        while received.len() < head + length {
            more(&mut connection, &mut received).await?;
        }
        let rest = received.split_off(head + length);
        let export = Export::decode(&received[head..]).expect("an export");
        received = rest;
        let scopes = export
            .resource_spans
            .into_iter()
            .flat_map(|r| r.scope_spans);
        spans
            .lock()
            .await
            .extend(scopes.flat_map(|scope| scope.spans));
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        connection.write_all(answer).await.ok()?;
    }
}

async fn more(connection: &mut TcpStream, received: &mut Vec<u8>) -> Option<()> {
    let count = connection.read_buf(received).await.ok()?;
    (count > 0).then_some(())
}
