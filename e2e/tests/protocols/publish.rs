//! A message as each protocol's publisher says it. What a protocol has no word for is left out.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use highwater_e2e::{
    Cluster,
    mqtt::{self, Mqtt, name},
    socket::Socket,
};
use highwater_mqtt::{
    Binary, Qos, Text, Version,
    packet::{Publish, publish::Delivery},
};
use highwater_proto::client::{
    Message, PublishRequest, Record, SocketRequest, socket_request::Request,
};
use serde_json::{Value, json};

use super::{binary_socket::BinarySocket, table::In};

/// A way to publish.
#[derive(Debug, Clone, Copy)]
pub enum Publisher {
    Http,
    HttpBatch,
    WebSocket,
    WebSocketProtobuf,
    Grpc,
    Mqtt5,
    Mqtt3,
}

impl Publisher {
    /// All of them.
    pub const ALL: [Publisher; 7] = [
        Publisher::Http,
        Publisher::HttpBatch,
        Publisher::WebSocket,
        Publisher::WebSocketProtobuf,
        Publisher::Grpc,
        Publisher::Mqtt5,
        Publisher::Mqtt3,
    ];

    /// Its words.
    pub fn words(self) -> In {
        match self {
            Publisher::Http => In::Headers,
            Publisher::HttpBatch | Publisher::WebSocket => In::Json,
            Publisher::WebSocketProtobuf | Publisher::Grpc => In::Protobuf,
            Publisher::Mqtt5 => In::Mqtt5,
            Publisher::Mqtt3 => In::Mqtt3,
        }
    }

    /// Publishes a message on a node, and waits for the ack.
    pub async fn publish(self, cluster: &Cluster, node: usize, record: &Record) {
        match self {
            Publisher::Http => http(cluster, node, record).await,
            Publisher::HttpBatch => {
                let request = cluster.http().post(cluster.url(node, "/v1/messages"));
                let batch = json!({ "messages": [json_of(record)] });
                let response = request.bearer_auth(cluster.key()).json(&batch).send().await;
                created(response.unwrap()).await;
            }
            Publisher::WebSocket => {
                let opened = Socket::open(cluster.address(node), cluster.key()).await;
                let mut socket = opened.unwrap();
                let mut message = json_of(record);
                message["type"] = "publish".into();
                message["id"] = 1.into();
                socket.send(&message).await.unwrap();
                let answer = socket.next().await.unwrap();
                assert_eq!(answer["type"], "published", "{answer}");
            }
            Publisher::WebSocketProtobuf => {
                let mut socket = BinarySocket::open(cluster, node).await;
                let publish = Request::Publish(request_of(record));
                socket
                    .send(SocketRequest {
                        id: "1".into(),
                        request: Some(publish),
                    })
                    .await;
                socket.published().await;
            }
            Publisher::Grpc => {
                let client = cluster.client(node);
                client.publish_request(request_of(record)).await.unwrap();
            }
            Publisher::Mqtt5 => mqtt(cluster, node, Version::V5, record).await,
            Publisher::Mqtt3 => mqtt(cluster, node, Version::V3_1_1, record).await,
        }
    }
}

async fn http(cluster: &Cluster, node: usize, record: &Record) {
    let path = format!("/v1/messages/{}", record.topic);
    let mut request = cluster
        .http()
        .post(cluster.url(node, &path))
        .bearer_auth(cluster.key())
        .header("content-type", &record.content_type)
        .header("highwater-key", &record.key)
        .header("highwater-ttl", record.ttl_ms)
        .header("highwater-retain", record.retain.to_string())
        .header("highwater-reply-to", &record.reply_to)
        .header(
            "highwater-correlation",
            STANDARD.encode(&record.correlation),
        )
        .header("traceparent", &record.traceparent)
        .body(record.payload.clone());
    if record.is_text {
        request = request.header("highwater-payload-format", "text");
    }
    for header in &record.headers {
        request = request.header(format!("highwater-header-{}", header.name), &header.value);
    }
    created(request.send().await.unwrap()).await;
}

async fn created(response: reqwest::Response) {
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert!(status.is_success(), "{status}: {text}");
}

fn json_of(record: &Record) -> Value {
    let headers = record.headers.iter().map(|h| json!([h.name, h.value]));
    let mut message = json!({
        "topic": record.topic,
        "content_type": record.content_type,
        "headers": headers.collect::<Vec<_>>(),
        "key": record.key,
        "ttl_ms": record.ttl_ms,
        "traceparent": record.traceparent,
        "retain": record.retain,
        "reply_to": record.reply_to,
        "correlation_base64": STANDARD.encode(&record.correlation),
        "is_text": record.is_text,
    });
    match std::str::from_utf8(&record.payload) {
        Ok(text) => message["data"] = text.into(),
        Err(_) => message["data_base64"] = STANDARD.encode(&record.payload).into(),
    }
    message
}

fn request_of(record: &Record) -> PublishRequest {
    let record = record.clone();
    PublishRequest {
        topic: record.topic,
        message: Some(Message {
            payload: record.payload,
            content_type: record.content_type,
            headers: record.headers,
            key: record.key,
            ttl_ms: record.ttl_ms,
            traceparent: record.traceparent,
            retain: record.retain,
            reply_to: record.reply_to,
            correlation: record.correlation,
            is_text: record.is_text,
            ..Message::default()
        }),
        ..PublishRequest::default()
    }
}

async fn mqtt(cluster: &Cluster, node: usize, version: Version, record: &Record) {
    let connect = mqtt::connect(version, "", cluster.key());
    let mut client = Mqtt::open(cluster.address(node), connect).await.unwrap();
    let mut publish = Publish::new(
        name(&record.topic),
        Delivery::AtMostOnce,
        record.payload.clone(),
    );
    publish.retain = record.retain;
    if version == Version::V5 {
        let text = |text: &str| Text::try_from(text).unwrap();
        let properties = &mut publish.properties;
        properties.payload_is_text = record.is_text.then_some(true);
        properties.message_expiry_s = Some((record.ttl_ms / 1_000) as u32);
        properties.content_type = Some(text(&record.content_type));
        properties.response_topic = Some(name(&record.reply_to));
        let correlation = Bytes::copy_from_slice(&record.correlation);
        properties.correlation_data = Some(Binary::try_from(correlation).unwrap());
        let own = [
            ("hw-key", &record.key),
            ("traceparent", &record.traceparent),
        ];
        properties.user_properties = own.map(|(name, value)| (text(name), text(value))).to_vec();
        let headers = record.headers.iter();
        properties
            .user_properties
            .extend(headers.map(|h| (text(&h.name), text(&h.value))));
    }
    client.finish(publish, Qos::AtLeastOnce).await.unwrap();
}
