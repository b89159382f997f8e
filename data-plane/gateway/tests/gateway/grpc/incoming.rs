//! Requests that come slowly, or never: how long they may take, and how much memory.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use highwater_gateway::Options;
use highwater_proto::{
    client::PublishStreamRequest,
    limits::{CONNECTION_RECEIVING_BYTES_MAX, RECEIVING_BYTES_MAX, REQUEST_BYTES_MAX},
};
use prost::Message;
use tonic::Code;

use super::{
    assert_refused,
    calls::publish,
    raw::{Raw, SERVICE, message, prefix, status},
};
use crate::stage::{Stage, within};

const PUBLISH: &str = "/highwater.client.v1.Highwater/Publish";

/// Requests of the largest size that fit on one connection while they come in.
const LARGEST: usize = CONNECTION_RECEIVING_BYTES_MAX / REQUEST_BYTES_MAX;

fn impatient() -> Options {
    Options {
        body_timeout: Duration::from_secs(1),
        ..Options::default()
    }
}

#[tokio::test]
async fn a_unary_request_that_does_not_come_is_a_timeout() {
    let stage = Stage::with(1, impatient(), None).await;
    let raw = Raw::connect(&stage).await;
    let whole = message(0, &publish("a", "x").encode_to_vec());
    for method in ["Publish", "Read", "GetTopic"] {
        let path = format!("{SERVICE}/{method}");
        // Nothing, a part, and a message after which others may come.
        let mut late = Vec::new();
        for length in [0, 3, whole.len() - 1, whole.len()] {
            let body = Bytes::copy_from_slice(&whole[..length]);
            late.push(raw.begin(&path, &[], body, false).await);
        }
        for (response, _sender) in late {
            let status = status(response).await;
            assert_refused(&status, Code::DeadlineExceeded, "timeout");
        }
    }
}

#[tokio::test]
async fn the_deadline_of_a_call_is_that_of_its_body_too() {
    let stage = Stage::open().await;
    let raw = Raw::connect(&stage).await;
    let timeout = [("grpc-timeout", "100m")];
    let (response, _sender) = raw.begin(PUBLISH, &timeout, prefix(0, 100), false).await;
    let status = status(response).await;
    assert_refused(&status, Code::DeadlineExceeded, "timeout");
}

#[tokio::test]
async fn a_stream_may_be_idle_but_not_within_a_message() {
    let stage = Stage::with(1, impatient(), None).await;
    let raw = Raw::connect(&stage).await;
    let request = PublishStreamRequest {
        publishes: vec![publish("a", "x")],
    };
    let whole = message(0, &request.encode_to_vec());
    let path = format!("{SERVICE}/PublishStream");
    let (idle, mut idle_sender) = raw.begin(&path, &[], whole.clone(), false).await;
    let mut idle = within(idle).await.unwrap().into_body();
    let outcome = within(idle.data()).await.unwrap().unwrap();
    assert!(!outcome.is_empty());
    // The one that says more is given up first, although the other has been idle for longer.
    for length in [1, 5, whole.len() - 1] {
        let body = [&whole[..], &whole[..length]].concat();
        let (late, _sender) = raw.begin(&path, &[], body, false).await;
        assert_refused(&status(late).await, Code::DeadlineExceeded, "timeout");
    }
    idle_sender.send_data(whole.into(), true).unwrap();
    let outcome = within(idle.data()).await.unwrap().unwrap();
    assert!(!outcome.is_empty());
    let trailers = within(idle.trailers()).await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
}

#[tokio::test]
async fn a_subscription_that_never_begins_is_a_timeout() {
    let options = Options {
        header_timeout: Duration::from_secs(1),
        ..Options::default()
    };
    let stage = Stage::with(1, options, None).await;
    let raw = Raw::connect(&stage).await;
    // A publisher may wait for as long as it likes.
    let path = format!("{SERVICE}/PublishStream");
    let (published, mut publisher) = raw.begin(&path, &[], Bytes::new(), false).await;
    // The second on the same connection has the same time as the first.
    for _ in 0..2 {
        let path = format!("{SERVICE}/Subscribe");
        let (response, _sender) = raw.begin(&path, &[], Bytes::new(), false).await;
        let status = status(response).await;
        assert_refused(&status, Code::DeadlineExceeded, "timeout");
    }
    let request = PublishStreamRequest {
        publishes: vec![publish("a", "x")],
    };
    let whole = message(0, &request.encode_to_vec());
    publisher.send_data(whole.into(), true).unwrap();
    let mut body = within(published).await.unwrap().into_body();
    assert!(!within(body.data()).await.unwrap().unwrap().is_empty());
}

/// Publishes over plain HTTP. Returns the status.
async fn post(raw: &Raw, body: &Bytes) -> u16 {
    let path = "/v1/messages/a";
    let (response, _sender) = raw.begin(path, &[], body.clone(), true).await;
    within(response).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_connection_has_room_for_so_many_bytes_of_unfinished_requests() {
    let stage = Stage::open().await;
    let raw = Raw::connect(&stage).await;
    for method in ["Publish", "PublishStream"] {
        let path = format!("{SERVICE}/{method}");
        let (mut responses, mut senders) = (FuturesUnordered::new(), Vec::new());
        for _ in 0..LARGEST + 1 {
            let announced = prefix(0, REQUEST_BYTES_MAX);
            let (response, sender) = raw.begin(&path, &[], announced, false).await;
            responses.push(status(response));
            senders.push(sender);
        }
        let refused = within(responses.next()).await.unwrap();
        assert_refused(&refused, Code::ResourceExhausted, "overloaded");
        // Plain HTTP shares the room.
        let body = Bytes::from(vec![b'x'; 20_000]);
        assert_eq!(post(&raw, &body).await, 429);
        // Small ones need none, and another connection has its own.
        assert_eq!(post(&raw, &Bytes::from_static(b"x")).await, 201);
        let other = Raw::connect(&stage).await;
        assert_eq!(post(&other, &body).await, 201);
        // It comes back with the requests that end.
        for mut sender in senders {
            sender.send_reset(h2::Reason::CANCEL);
        }
        drop(responses);
        within(async { while post(&raw, &body).await != 201 {} }).await;
    }
}

#[tokio::test]
async fn a_node_has_room_for_so_many_bytes_of_unfinished_requests() {
    let stage = Stage::open().await;
    let (mut raws, mut senders) = (Vec::new(), Vec::new());
    let mut responses = FuturesUnordered::new();
    for _ in 0..RECEIVING_BYTES_MAX / CONNECTION_RECEIVING_BYTES_MAX + 1 {
        let raw = Raw::connect(&stage).await;
        for _ in 0..LARGEST {
            let announced = prefix(0, REQUEST_BYTES_MAX);
            let (response, sender) = raw.begin(PUBLISH, &[], announced, false).await;
            responses.push(status(response));
            senders.push(sender);
        }
        raws.push(raw);
    }
    for _ in 0..LARGEST {
        let refused = within(responses.next()).await.unwrap();
        assert_refused(&refused, Code::ResourceExhausted, "overloaded");
    }
    stage.publish("a", "small requests go on").await;
}
