//! `Subscribe`.

use std::{collections::HashSet, time::Duration};

use highwater_gateway::Options;
use highwater_proto::{
    client::{
        SubscribeRequest, SubscribeResponse,
        subscribe_request::{Flow, Request as Kind, Start},
    },
    names::TopicName,
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Status, Streaming};

use super::assert_refused;
use crate::stage::{Stage, with_key, within};

/// One subscription, as its client has it.
struct Subscriber {
    requests: mpsc::Sender<SubscribeRequest>,
    responses: Streaming<SubscribeResponse>,
}

impl Subscriber {
    async fn open(stage: &Stage, start: Start) -> Subscriber {
        Subscriber::send(stage, Kind::Start(start)).await
    }

    async fn send(stage: &Stage, first: Kind) -> Subscriber {
        let (requests, receiver) = mpsc::channel(16);
        requests
            .send(SubscribeRequest {
                request: Some(first),
            })
            .await
            .unwrap();
        let request = with_key(ReceiverStream::new(receiver), &stage.key);
        let mut client = stage.grpc().await;
        let responses = within(client.subscribe(request))
            .await
            .unwrap()
            .into_inner();
        Subscriber {
            requests,
            responses,
        }
    }

    async fn next(&mut self) -> Result<SubscribeResponse, Status> {
        within(self.responses.message())
            .await
            .map(|r| r.expect("the stream goes on"))
    }

    /// The cursor of the receipt.
    async fn receipt(&mut self) -> String {
        self.next()
            .await
            .unwrap()
            .subscribed
            .expect("the receipt comes first")
            .cursor
    }

    async fn flow(&self, messages: u64, bytes: u64) {
        let flow = Kind::Flow(Flow { messages, bytes });
        self.requests
            .send(SubscribeRequest {
                request: Some(flow),
            })
            .await
            .unwrap();
    }

    /// The payloads of so many records.
    async fn payloads(&mut self, count: usize) -> Vec<String> {
        let mut payloads = Vec::new();
        while payloads.len() < count {
            let response = self.next().await.unwrap();
            assert!(!response.records.is_empty(), "{response:?}");
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            payloads.extend(response.records.iter().map(|r| text(&r.payload)));
        }
        payloads
    }
}

fn start(topics: &[&str], from: &str) -> Start {
    let topics = topics.iter().map(|t| (*t).to_owned()).collect();
    Start {
        topics,
        from: from.to_owned(),
        credit: None,
        group: String::new(),
    }
}

#[tokio::test]
async fn the_receipt_comes_first_and_everything_after_it_is_delivered() {
    for topics in [&["a/b"][..], &["a/#", "c"][..]] {
        let stage = Stage::with(2, Default::default(), None).await;
        stage.publish("a/b", "old").await;
        let mut subscriber = Subscriber::open(&stage, start(topics, "")).await;
        let receipt = subscriber.receipt().await;
        let published = stage.publish("a/b", "new").await;
        let response = subscriber.next().await.unwrap();
        let record = &response.records[0];
        assert_eq!((record.topic.as_str(), record.offset), ("a/b", 1));
        assert_eq!(record.published_at_ms, 1_000_000);
        if topics == ["a/b"] {
            assert_eq!(record.cursor, published["cursor"].as_str().unwrap());
        }
        // Both cursors go on where they say.
        let from = format!("cursor:{receipt}");
        let mut again = Subscriber::open(&stage, start(topics, &from)).await;
        again.receipt().await;
        assert_eq!(again.payloads(1).await, ["new"]);
        let from = format!("cursor:{}", record.cursor);
        let mut after = Subscriber::open(&stage, start(topics, &from)).await;
        after.receipt().await;
        stage.publish("a/b", "newer").await;
        assert_eq!(after.payloads(1).await, ["newer"]);
    }
}

#[tokio::test]
async fn no_more_is_sent_than_the_credit_allows() {
    let stage = Stage::open().await;
    for number in 0..10 {
        stage.publish("a", &number.to_string()).await;
    }
    let credit = Some(Flow {
        messages: 3,
        bytes: 0,
    });
    let mut subscriber = Subscriber::open(
        &stage,
        Start {
            credit,
            ..start(&["a"], "earliest")
        },
    )
    .await;
    subscriber.receipt().await;
    assert_eq!(subscriber.payloads(3).await, ["0", "1", "2"]);
    subscriber.flow(2, 0).await;
    // Had anything been sent beyond the credit, this would not be it.
    let response = subscriber.next().await.unwrap();
    assert!(response.records.len() <= 2);
    subscriber.flow(0, 0).await;
    subscriber.flow(5, 0).await;
    let seen = response.records.len();
    assert_eq!(subscriber.payloads(7 - seen).await.last().unwrap(), "9");
}

#[tokio::test]
async fn credit_in_bytes_ends_with_the_record_that_uses_it_up() {
    let stage = Stage::open().await;
    for _ in 0..6 {
        stage.publish("a", &"x".repeat(100)).await;
    }
    let credit = Some(Flow {
        messages: 0,
        bytes: 150,
    });
    let mut subscriber = Subscriber::open(
        &stage,
        Start {
            credit,
            ..start(&["a"], "earliest")
        },
    )
    .await;
    subscriber.receipt().await;
    assert_eq!(subscriber.payloads(2).await.len(), 2);
    // The second went beyond what was left: that is paid back first.
    subscriber.flow(0, 50).await;
    let silent = tokio::time::timeout(Duration::from_millis(50), subscriber.responses.message());
    assert!(silent.await.is_err(), "the credit is used up");
    subscriber.flow(0, 10_000).await;
    assert_eq!(subscriber.payloads(4).await.len(), 4);
}

#[tokio::test]
async fn a_client_may_close_its_half_and_go_on_reading() {
    let stage = Stage::open().await;
    let subscriber = Subscriber::open(&stage, start(&["a"], "latest")).await;
    let Subscriber {
        requests,
        responses,
    } = subscriber;
    drop(requests);
    let (unused, _) = mpsc::channel(1);
    let mut subscriber = Subscriber {
        requests: unused,
        responses,
    };
    subscriber.receipt().await;
    stage.publish("a", "x").await;
    assert_eq!(subscriber.payloads(1).await, ["x"]);
}

#[tokio::test]
async fn what_is_gone_is_told_before_what_is_there() {
    let stage = Stage::open().await;
    let first = stage.publish("a", "0").await;
    let second = stage.publish("a", "1").await;
    stage.publish("a", "2").await;
    stage.shards[0].trim(stage.project.id, &TopicName::try_from("a").unwrap(), 2);
    let from = format!("cursor:{}", first["cursor"].as_str().unwrap());
    let mut subscriber = Subscriber::open(&stage, start(&["a"], &from)).await;
    subscriber.receipt().await;
    let gap = subscriber
        .next()
        .await
        .unwrap()
        .gap
        .expect("the gap is told");
    assert_eq!(
        (gap.topic.as_str(), gap.reason.as_str()),
        ("a", "retention")
    );
    assert_eq!(gap.requested, first["cursor"].as_str().unwrap());
    assert_eq!(gap.first_available, second["cursor"].as_str().unwrap());
    assert_eq!(subscriber.payloads(1).await, ["2"]);
}

#[tokio::test]
async fn a_subscription_that_cannot_be_is_refused() {
    let stage = Stage::open().await;
    let many: Vec<String> = (0..257).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (first, code) in [
        (Kind::Start(start(&[], "")), "invalid_request"),
        (Kind::Start(start(&many, "")), "invalid_request"),
        (Kind::Start(start(&["a/#/b"], "")), "invalid_topic"),
        (Kind::Start(start(&["a"], "someday")), "invalid_request"),
        (
            Kind::Start(start(&["a"], "cursor:forged")),
            "cursor_invalid",
        ),
        (Kind::Flow(Flow::default()), "invalid_request"),
    ] {
        let mut subscriber = Subscriber::send(&stage, first).await;
        let status = subscriber.next().await.unwrap_err();
        assert_refused(&status, Code::InvalidArgument, code);
    }
    let mut subscriber = Subscriber::open(&stage, start(&["a"], "")).await;
    subscriber.receipt().await;
    let again = Kind::Start(start(&["b"], ""));
    subscriber
        .requests
        .send(SubscribeRequest {
            request: Some(again),
        })
        .await
        .unwrap();
    let status = subscriber.next().await.unwrap_err();
    assert_refused(&status, Code::InvalidArgument, "invalid_request");
}

#[tokio::test]
async fn a_subscription_ends_when_its_key_is_revoked() {
    let stage = Stage::open().await;
    let mut subscriber = Subscriber::open(&stage, start(&["a"], "")).await;
    subscriber.receipt().await;
    stage.revoke_keys();
    let status = subscriber.next().await.unwrap_err();
    assert_refused(&status, Code::Unauthenticated, "unauthenticated");
}

#[tokio::test]
async fn a_subscription_ends_at_its_deadline() {
    let stage = Stage::open().await;
    let first = SubscribeRequest {
        request: Some(Kind::Start(start(&["a"], ""))),
    };
    let requests = tokio_stream::once(first).chain(tokio_stream::pending());
    let mut request = with_key(requests, &stage.key);
    let timeout = "1S".parse().unwrap();
    request.metadata_mut().insert("grpc-timeout", timeout);
    let mut client = stage.grpc().await;
    let responses = within(client.subscribe(request)).await.unwrap();
    let mut responses = responses.into_inner();
    let receipt = within(responses.message()).await.unwrap().unwrap();
    assert!(receipt.subscribed.is_some());
    let status = within(responses.message()).await.unwrap_err();
    assert_refused(&status, Code::DeadlineExceeded, "timeout");
    stage.followed(false).await;
}

#[tokio::test]
async fn a_draining_gateway_sends_its_subscribers_away_at_different_times() {
    let options = Options {
        reconnect_spread: Duration::from_secs(10),
        ..Options::default()
    };
    let mut stage = Stage::with(1, options, None).await;
    let mut subscribers = Vec::new();
    for _ in 0..10 {
        let mut subscriber = Subscriber::open(&stage, start(&["a"], "")).await;
        subscriber.receipt().await;
        subscribers.push(subscriber);
    }
    let told = async {
        let mut delays = HashSet::new();
        for subscriber in &mut subscribers {
            let draining = subscriber
                .next()
                .await
                .unwrap()
                .draining
                .expect("it is told");
            assert!(draining.reconnect_after_ms < 10_000);
            delays.insert(draining.reconnect_after_ms / 1_000);
            assert!(
                within(subscriber.responses.message())
                    .await
                    .unwrap()
                    .is_none()
            );
        }
        assert!(delays.len() >= 8, "the delays are spread out: {delays:?}");
    };
    tokio::join!(told, stage.stopped());
}

#[tokio::test]
async fn a_slow_subscriber_gets_everything_in_the_end() {
    let stage = Stage::open().await;
    let mut subscriber = Subscriber::open(&stage, start(&["a"], "")).await;
    subscriber.receipt().await;
    // More than the transport buffers and the tail keeps.
    let text = "x".repeat(1 << 20);
    for number in 0..24 {
        stage
            .publish("a", &format!("{number} {text}")[..1 << 20])
            .await;
    }
    let payloads = subscriber.payloads(24).await;
    for (number, payload) in payloads.iter().enumerate() {
        assert!(payload.starts_with(&format!("{number} ")));
    }
}
