//! Groups: consumers of all protocols that share the records of a filter.

use std::collections::BTreeSet;

use highwater_mqtt::{
    Packet, Qos, ReasonCode, Version,
    packet::{Ack, publish::Delivery},
};
use highwater_proto::client::{
    SubscribeRequest, SubscribeResponse,
    subscribe_request::{Acks, Flow, Request, Start},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{
    mqtt::peer::{self as mqtt, subscription, topic_and_payload},
    stage::{Stage, within},
    websocket::peer as websocket,
};

const FILTER: &str = "work/+";

async fn publish(stage: &Stage, numbers: std::ops::Range<usize>) {
    for number in numbers {
        stage.publish("work/a", &number.to_string()).await;
    }
}

fn all(numbers: std::ops::Range<usize>) -> BTreeSet<String> {
    numbers.map(|number| number.to_string()).collect()
}

async fn mqtt_member(stage: &Stage) -> mqtt::Peer {
    let mut peer = mqtt::Peer::open(stage, Version::V5).await;
    let filter = format!("$share/g/{FILTER}");
    let granted = peer
        .subscribe(vec![subscription(&filter, Qos::AtLeastOnce)])
        .await;
    assert_eq!(granted, [ReasonCode::GrantedQos1]);
    peer
}

/// The next record, with what acknowledges it.
async fn mqtt_record(peer: &mut mqtt::Peer) -> (String, Packet) {
    let message = peer.message().await;
    let Delivery::AtLeastOnce { id, .. } = message.delivery else {
        panic!("{message:?}");
    };
    let ack = Packet::PubAck(Ack::new(id, ReasonCode::Success));
    (topic_and_payload(&message).1, ack)
}

struct Socket {
    peer: websocket::Peer,
    records: Vec<Value>,
}

impl Socket {
    async fn open(stage: &Stage, credit: u64) -> Socket {
        let mut peer = websocket::Peer::open(stage).await;
        let receipt = peer
            .ask(json!({
                "type": "subscribe", "id": 1, "topics": [FILTER], "group": "g",
                "credit": {"messages": credit},
            }))
            .await;
        assert_eq!(receipt["type"], "subscribed", "{receipt}");
        Socket {
            peer,
            records: Vec::new(),
        }
    }

    /// The next record, as payload and cursor.
    async fn record(&mut self) -> (String, String) {
        while self.records.is_empty() {
            let message = self.peer.next().await;
            assert_eq!(message["type"], "message", "{message}");
            self.records = message["records"].as_array().unwrap().clone();
        }
        let record = self.records.remove(0);
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        (text("data"), text("cursor"))
    }

    async fn say(&mut self, kind: &str, cursor: &str) {
        let message = json!({"type": kind, "sub": 1, "cursors": [cursor]});
        self.peer.send(message).await;
    }
}

struct Call {
    requests: mpsc::Sender<SubscribeRequest>,
    responses: Streaming<SubscribeResponse>,
}

impl Call {
    async fn open(stage: &Stage, credit: u64) -> Call {
        let (requests, receiver) = mpsc::channel(64);
        let start = Start {
            topics: vec![FILTER.into()],
            from: String::new(),
            credit: Some(Flow {
                messages: credit,
                bytes: 0,
            }),
            group: "g".into(),
        };
        let request = |request| SubscribeRequest {
            request: Some(request),
        };
        requests.send(request(Request::Start(start))).await.unwrap();
        let call = stage.call(ReceiverStream::new(receiver));
        let mut client = stage.grpc().await;
        let mut responses = within(client.subscribe(call)).await.unwrap().into_inner();
        let receipt = within(responses.message()).await.unwrap().unwrap();
        assert!(receipt.subscribed.is_some());
        Call {
            requests,
            responses,
        }
    }

    async fn records(&mut self) -> Vec<(String, String)> {
        let response = within(self.responses.message()).await.unwrap().unwrap();
        let records = response.records.into_iter();
        records
            .map(|r| (String::from_utf8(r.payload.to_vec()).unwrap(), r.cursor))
            .collect()
    }

    async fn ack(&mut self, cursors: Vec<String>) {
        let request = SubscribeRequest {
            request: Some(Request::Ack(Acks { cursors })),
        };
        self.requests.send(request).await.unwrap();
    }
}

#[tokio::test]
async fn every_record_is_for_one_member_whatever_protocol_it_speaks() {
    let mut stage = Stage::open().await;
    stage.keep_sessions();
    let mut mqtt = mqtt_member(&stage).await;
    let mut socket = Socket::open(&stage, 1_000).await;
    let mut call = Call::open(&stage, 1_000).await;
    publish(&stage, 0..60).await;
    let mut got = Vec::new();
    let mut counts = [0; 3];
    while got.len() < 60 {
        tokio::select! {
            (payload, ack) = mqtt_record(&mut mqtt) => {
                mqtt.send(ack).await;
                got.push(payload);
                counts[0] += 1;
            }
            (payload, cursor) = socket.record() => {
                socket.say("ack", &cursor).await;
                got.push(payload);
                counts[1] += 1;
            }
            records = call.records() => {
                let (payloads, cursors): (Vec<_>, Vec<_>) = records.into_iter().unzip();
                counts[2] += payloads.len();
                call.ack(cursors).await;
                got.extend(payloads);
            }
        }
    }
    let distinct: BTreeSet<String> = got.iter().cloned().collect();
    assert_eq!((got.len(), distinct), (60, all(0..60)));
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    mqtt.silent().await;
}

#[tokio::test]
async fn what_a_member_leaves_behind_is_for_the_others() {
    let mut stage = Stage::open().await;
    stage.keep_sessions();
    let mut leaving = mqtt_member(&stage).await;
    publish(&stage, 0..20).await;
    let mut acked = BTreeSet::new();
    let mut left = BTreeSet::new();
    for _ in 0..20 {
        let (payload, ack) = mqtt_record(&mut leaving).await;
        if payload.parse::<usize>().unwrap() % 2 == 0 {
            leaving.send(ack).await;
            acked.insert(payload);
        } else {
            left.insert(payload);
        }
    }
    // All that it said has been heard.
    leaving.silent().await;
    drop(leaving);
    let mut socket = Socket::open(&stage, 1_000).await;
    let mut got = BTreeSet::new();
    while got != left {
        let (payload, cursor) = socket.record().await;
        assert!(!acked.contains(&payload), "{payload} was acknowledged");
        assert!(got.insert(payload), "twice");
        socket.say("ack", &cursor).await;
    }
    publish(&stage, 20..21).await;
    assert_eq!(socket.record().await.0, "20");
}

#[tokio::test]
async fn a_group_outlives_its_members_and_a_record_that_is_given_back_comes_again() {
    let mut stage = Stage::open().await;
    stage.keep_sessions();
    let socket = Socket::open(&stage, 1).await;
    drop(socket);
    publish(&stage, 0..3).await;
    let mut socket = Socket::open(&stage, 10).await;
    let mut got = Vec::new();
    while got.len() < 3 {
        got.push(socket.record().await);
    }
    let (first, cursor) = got.remove(0);
    socket.say("nack", &cursor).await;
    let (again, cursor) = socket.record().await;
    assert_eq!(again, first);
    socket.say("ack", &cursor).await;
    for (_, cursor) in got {
        socket.say("ack", &cursor).await;
    }
}

#[tokio::test]
async fn a_member_takes_no_more_than_it_can_have() {
    let mut stage = Stage::open().await;
    stage.keep_sessions();
    let mut slow = Socket::open(&stage, 2).await;
    publish(&stage, 0..10).await;
    let (first, _) = slow.record().await;
    let mut quick = Call::open(&stage, 0).await;
    let mut got = BTreeSet::from([first, slow.record().await.0]);
    while got.len() < 10 {
        let records = quick.records().await;
        let cursors = records.iter().map(|(_, cursor)| cursor.clone()).collect();
        quick.ack(cursors).await;
        for (payload, _) in records {
            assert!(got.insert(payload), "twice");
        }
    }
    assert_eq!(got, all(0..10));
}

#[tokio::test]
async fn a_group_has_a_name_and_one_filter_that_its_members_may_read() {
    let mut stage = Stage::open().await;
    stage.keep_sessions();
    let mut peer = websocket::Peer::open(&stage).await;
    for (topics, group, code) in [
        (json!(["a", "b"]), "g", "invalid_request"),
        (json!(["a"]), "g/h", "invalid_request"),
        (json!(["a/#/b"]), "g", "invalid_topic"),
    ] {
        let subscribe = json!({"type": "subscribe", "id": 1, "topics": topics, "group": group});
        let refusal = peer.ask(subscribe).await;
        assert_eq!(refusal["code"], code, "{refusal}");
    }
    let request = websocket::with_key(&stage, &stage.narrow_key);
    let mut narrow = websocket::Peer::with(request).await;
    let subscribe = json!({"type": "subscribe", "id": 1, "topics": ["b"], "group": "g"});
    assert_eq!(narrow.ask(subscribe).await["code"], "forbidden");
    peer.subscribe(2, &["a"], "latest").await;
    peer.send(json!({"type": "ack", "sub": 2, "cursors": []}))
        .await;
    let refusal = peer.next().await;
    assert_eq!(refusal["code"], "invalid_request", "{refusal}");
}
