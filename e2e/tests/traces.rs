//! One trace shows a message from its publish to each delivery, whichever nodes it passes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use highwater_e2e::{
    Cluster, Door, Live,
    client::request,
    cluster::Setup,
    condition::within_deadline,
    eventually,
    mqtt::{self, Mqtt},
    socket::Socket,
};
use highwater_mqtt::{
    Qos, Text, Version,
    packet::{Publish, publish::Delivery},
};
use prost::Message;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

const PARENT: &str = "00f067aa0ba902b7";

/// A way to publish a message that is in a trace, and the trace.
#[derive(Debug, Clone, Copy)]
struct Publisher {
    protocol: &'static str,
    trace: &'static str,
}

const PUBLISHERS: [Publisher; 4] = [
    Publisher {
        protocol: "grpc",
        trace: "4bf92f3577b34da6a3ce929d0e0e4731",
    },
    Publisher {
        protocol: "http",
        trace: "4bf92f3577b34da6a3ce929d0e0e4732",
    },
    Publisher {
        protocol: "websocket",
        trace: "4bf92f3577b34da6a3ce929d0e0e4733",
    },
    Publisher {
        protocol: "mqtt",
        trace: "4bf92f3577b34da6a3ce929d0e0e4734",
    },
];

impl Publisher {
    fn topic(self) -> String {
        format!("traced/{}", self.protocol)
    }

    /// Publishes a message that is in no trace, and one in the publisher's.
    async fn publish(self, cluster: &Cluster) {
        let topic = self.topic();
        let traceparent = format!("00-{}-{PARENT}-01", self.trace);
        let client = cluster.client(0);
        client.publish(&topic, "untraced").await.unwrap();
        match self.protocol {
            "grpc" => {
                let mut request = request(&topic, "traced", "");
                request.message.as_mut().unwrap().traceparent = traceparent;
                client.publish_request(request).await.unwrap();
            }
            "http" => {
                let path = format!("/v1/messages/{topic}");
                let request = cluster.http().post(cluster.url(0, &path));
                let request = request.bearer_auth(cluster.key());
                let request = request
                    .header("content-type", "text/plain")
                    .header("traceparent", traceparent);
                let response = request.body("traced").send().await.unwrap();
                assert_eq!(response.status(), 201);
            }
            "websocket" => {
                let socket = Socket::open(cluster.address(0), cluster.key()).await;
                let mut socket = socket.unwrap();
                let publish = json!({
                    "type": "publish", "id": 1, "topic": topic, "data": "traced",
                    "traceparent": traceparent,
                });
                socket.send(&publish).await.unwrap();
                assert_eq!(socket.next().await.unwrap()["type"], "published");
            }
            "mqtt" => {
                let connect = mqtt::connect(Version::V5, "", cluster.key());
                let mut client = Mqtt::open(cluster.address(0), connect).await.unwrap();
                let payload = "traced".into();
                let mut publish = Publish::new(mqtt::name(&topic), Delivery::AtMostOnce, payload);
                let traceparent = Text::try_from(traceparent.as_str()).unwrap();
                let pair = (Text::from_static("traceparent"), traceparent);
                publish.properties.user_properties = vec![pair];
                publish.properties.payload_is_text = Some(true);
                client.finish(publish, Qos::AtLeastOnce).await.unwrap();
            }
            other => panic!("nobody publishes over {other}"),
        }
    }
}

/// The protocol of a door as a span names it.
fn protocol(door: Door) -> &'static str {
    match door {
        Door::Grpc => "grpc",
        Door::Sse => "sse",
        Door::WebSocket => "websocket",
        Door::LongPoll => "http",
        Door::Mqtt => "mqtt",
    }
}

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
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    text: String,
}

impl Span {
    /// An attribute that is text; nothing where there is none of this name.
    fn text(&self, key: &str) -> &str {
        let attribute = self.attributes.iter().find(|found| found.key == key);
        let value = attribute.and_then(|found| found.value.as_ref());
        value.map_or("", |value| &value.text)
    }
}

type Spans = Arc<Mutex<Vec<Span>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sampled_publish_over_any_protocol_is_followed_to_its_delivery_over_each() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let spans = Spans::default();
    let collector = tokio::spawn(collect(listener, spans.clone()));
    let cluster = Cluster::start_with(Setup {
        otlp_endpoint: Some(endpoint),
        ..Setup::default()
    })
    .await;
    let mut subscribers = Vec::new();
    for (number, door) in Door::ALL.into_iter().enumerate() {
        // A page has no receipt, so what it begins after is said.
        let from = match door {
            Door::LongPoll => "earliest",
            _ => "latest",
        };
        let at = (number % cluster.size(), door);
        let live = Live::open(&cluster, at, &["traced/+"], from).await;
        subscribers.push(live.unwrap());
    }

    for publisher in PUBLISHERS {
        publisher.publish(&cluster).await;
    }
    for live in &mut subscribers {
        let mut missing = 2 * PUBLISHERS.len();
        while missing > 0 {
            let records = within_deadline("delivery", live.next()).await;
            missing -= records.unwrap().len();
        }
    }

    eventually("each trace is whole", async || {
        let spans = spans.lock().await;
        let traces = PUBLISHERS.map(|publisher| whole(publisher, &spans));
        traces.into_iter().all(|is_whole| is_whole)
    })
    .await;
    let traces: BTreeMap<&str, String> = PUBLISHERS
        .map(|publisher| (publisher.trace, publisher.topic()))
        .into();
    for span in spans.lock().await.iter() {
        let topic = traces.get(hex(&span.trace_id).as_str());
        assert_eq!(topic.map(String::as_str), Some(span.text("topic")));
        assert_eq!(hex(&span.parent_span_id), PARENT, "{}", span.name);
    }
    collector.abort();
}

/// Whether a trace has one publish, what became of it, and a delivery through each door.
fn whole(publisher: Publisher, spans: &[Span]) -> bool {
    let of_trace = spans
        .iter()
        .filter(|span| hex(&span.trace_id) == publisher.trace);
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for span in of_trace {
        let protocols = found.entry(&span.name).or_default();
        protocols.push(span.text("protocol"));
    }
    // A proposal that has to be made again is another span, and leadership may move at any time.
    let names: Vec<&str> = found.keys().copied().collect();
    let delivered = found.get("deliver").map_or(&[][..], Vec::as_slice);
    let all: BTreeSet<&str> = delivered.iter().copied().collect();
    names == ["commit", "deliver", "propose", "publish"]
        && found["publish"].len() == 1
        && delivered.len() == Door::ALL.len()
        && all == BTreeSet::from(Door::ALL.map(protocol))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
