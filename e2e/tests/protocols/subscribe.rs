//! A record as each protocol's subscriber is told it. What a protocol has no word for is left empty.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use highwater_e2e::{
    Cluster,
    client::Subscription as Grpc,
    condition::within_deadline,
    events::Events,
    mqtt::{self, Mqtt, topic_of},
    socket::Socket,
};
use highwater_mqtt::{
    Packet, PacketId, Qos, Version,
    packet::{
        Publish, Subscribe,
        subscribe::{RetainHandling, Subscription as Asked},
    },
    topic::Filter,
};
use highwater_proto::client::{
    Header, Record, SocketRequest, socket_request::Request, socket_response::Response,
    subscribe_request::Start,
};
use serde_json::Value;

use super::{binary_socket::BinarySocket, table::Out};

/// A subscriber of one filter.
pub enum Subscriber {
    Page {
        cluster_url: String,
        key: String,
        http: reqwest::Client,
        from: String,
    },
    Sse(Events),
    WebSocket(Socket),
    WebSocketProtobuf(BinarySocket),
    Grpc(Grpc),
    Mqtt5(Mqtt),
    Mqtt3(Mqtt),
}

impl Subscriber {
    /// One of each kind, on all nodes in turn. What is published from now on is delivered to them.
    pub async fn all(cluster: &Cluster, filter: &str) -> Vec<Subscriber> {
        let node = |number: usize| number % cluster.size();
        let peer = |number| (cluster.address(node(number)), cluster.key());
        let topics = &[filter];
        let encoded = filter.replace('/', "%2F").replace('#', "%23");
        let page = format!("/v1/messages?topic={encoded}&wait=20s&from=");
        let events = Events::open(cluster.http(), peer(1), topics, "latest").await;
        let mut socket = Socket::open(peer(2).0, peer(2).1).await.unwrap();
        socket.subscribe(1, topics, "latest").await.unwrap();
        let mut binary = BinarySocket::open(cluster, node(3)).await;
        let start = Start {
            topics: vec![filter.to_owned()],
            ..Start::default()
        };
        let subscribe = Request::Subscribe(start);
        binary
            .send(SocketRequest {
                id: "1".into(),
                request: Some(subscribe),
            })
            .await;
        let receipt = binary.next().await;
        assert!(matches!(receipt, Response::Subscribed(_)), "{receipt:?}");
        let grpc = cluster.client(node(4)).subscribe(topics, "latest").await;
        vec![
            Subscriber::Page {
                cluster_url: cluster.url(node(0), &page),
                key: cluster.key().to_owned(),
                http: cluster.http().clone(),
                from: "earliest".to_owned(),
            },
            Subscriber::Sse(events.unwrap()),
            Subscriber::WebSocket(socket),
            Subscriber::WebSocketProtobuf(binary),
            Subscriber::Grpc(grpc.unwrap()),
            Subscriber::Mqtt5(mqtt_subscriber(peer(5), Version::V5, filter).await),
            Subscriber::Mqtt3(mqtt_subscriber(peer(6), Version::V3_1_1, filter).await),
        ]
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Subscriber::Page { .. } => "an HTTP page",
            Subscriber::Sse(_) => "SSE",
            Subscriber::WebSocket(_) => "WebSocket",
            Subscriber::WebSocketProtobuf(_) => "WebSocket's protobuf",
            Subscriber::Grpc(_) => "gRPC",
            Subscriber::Mqtt5(_) => "MQTT 5.0",
            Subscriber::Mqtt3(_) => "MQTT 3.1.1",
        }
    }

    /// Its words.
    pub fn words(&self) -> Out {
        match self {
            Subscriber::Page { .. } | Subscriber::Sse(_) | Subscriber::WebSocket(_) => Out::Json,
            Subscriber::WebSocketProtobuf(_) | Subscriber::Grpc(_) => Out::Protobuf,
            Subscriber::Mqtt5(_) => Out::Mqtt5,
            Subscriber::Mqtt3(_) => Out::Mqtt3,
        }
    }

    /// The next record.
    pub async fn next(&mut self) -> Record {
        within_deadline("there is a record", self.read()).await
    }

    async fn read(&mut self) -> Record {
        match self {
            Subscriber::Page {
                cluster_url,
                key,
                http,
                from,
            } => {
                let url = format!("{cluster_url}{from}");
                let page = http.get(url).bearer_auth(key).send().await.unwrap();
                let page: Value = page.error_for_status().unwrap().json().await.unwrap();
                let next = page["next"].as_str().expect("a page has a next");
                *from = format!("cursor:{next}");
                only(page["records"].as_array().expect("records"), of_json)
            }
            Subscriber::Sse(events) => {
                let event = events.next().await.unwrap().expect("the stream goes on");
                let record = of_json(&event.json().unwrap());
                assert_eq!(record.cursor, event.id);
                record
            }
            Subscriber::WebSocket(socket) => {
                let message = socket.next().await.unwrap();
                only(message["records"].as_array().expect("records"), of_json)
            }
            Subscriber::WebSocketProtobuf(socket) => match socket.next().await {
                Response::Delivery(delivery) => only(&delivery.records, Record::clone),
                other => panic!("{other:?} is no delivery"),
            },
            Subscriber::Grpc(live) => only(&live.next().await.unwrap().records, Record::clone),
            Subscriber::Mqtt5(client) | Subscriber::Mqtt3(client) => {
                of_mqtt(&client.message().await.unwrap())
            }
        }
    }
}

/// One is published at a time, so that one comes at a time.
fn only<T>(records: &[T], read: impl Fn(&T) -> Record) -> Record {
    assert_eq!(records.len(), 1);
    read(&records[0])
}

async fn mqtt_subscriber((address, key): (&str, &str), version: Version, filter: &str) -> Mqtt {
    let connect = mqtt::connect(version, "", key);
    let mut client = Mqtt::open(address, connect).await.unwrap();
    let filter = Filter::try_from(filter).unwrap();
    let mut asked = Asked::new(filter, Qos::AtLeastOnce);
    if version == Version::V5 {
        asked.retain_as_published = true;
        asked.retain_handling = RetainHandling::DoNotSend;
    }
    let id = PacketId::new(1).expect("not 0");
    let subscribe = Packet::Subscribe(Subscribe::new(id, vec![asked]));
    client.send(subscribe).await.unwrap();
    let answer = client.step().await.unwrap();
    assert!(
        matches!(answer, mqtt::Step::Answer(Packet::SubAck(_))),
        "{answer:?}"
    );
    client
}

/// Every member of the object is one that is known here.
fn of_json(body: &Value) -> Record {
    let mut record = Record::default();
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let bytes = |value: &Value| {
        STANDARD
            .decode(value.as_str().expect("a string"))
            .expect("base64")
    };
    for (name, value) in body.as_object().expect("an object") {
        match name.as_str() {
            "topic" => record.topic = text(value),
            "offset" => record.offset = value.as_u64().expect("a number"),
            "cursor" => record.cursor = text(value),
            "published_at_ms" => record.published_at_ms = value.as_u64().expect("a number"),
            "content_type" => record.content_type = text(value),
            "headers" => {
                let pairs = value.as_array().expect("pairs").iter();
                record.headers = pairs
                    .map(|pair| header(&text(&pair[0]), &text(&pair[1])))
                    .collect();
            }
            "key" => record.key = text(value),
            "ttl_ms" => record.ttl_ms = value.as_u64().expect("a number"),
            "traceparent" => record.traceparent = text(value),
            "retain" => record.retain = value == true,
            "reply_to" => record.reply_to = text(value),
            "correlation_base64" => record.correlation = bytes(value).into(),
            "is_text" => record.is_text = value == true,
            "data" => record.payload = text(value).into(),
            "data_base64" => record.payload = bytes(value).into(),
            other => panic!("{other} is in no table"),
        }
    }
    record
}

fn header(name: &str, value: &str) -> Header {
    Header {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

fn of_mqtt(message: &Publish) -> Record {
    let properties = &message.properties;
    let mut record = Record {
        topic: topic_of(message).to_owned(),
        payload: message.payload.clone(),
        retain: message.retain,
        is_text: properties.payload_is_text == Some(true),
        ttl_ms: properties
            .message_expiry_s
            .map_or(0, |left_s| u64::from(left_s) * 1_000),
        ..Record::default()
    };
    if let Some(content_type) = &properties.content_type {
        record.content_type = content_type.as_str().to_owned();
    }
    if let Some(topic) = &properties.response_topic {
        record.reply_to = topic.as_str().to_owned();
    }
    if let Some(correlation) = &properties.correlation_data {
        record.correlation = correlation.clone().into_bytes();
    }
    for (name, value) in &properties.user_properties {
        match name.as_str() {
            "hw-cursor" => record.cursor = value.as_str().to_owned(),
            "hw-key" => record.key = value.as_str().to_owned(),
            "traceparent" => record.traceparent = value.as_str().to_owned(),
            name => record.headers.push(header(name, value.as_str())),
        }
    }
    record
}
