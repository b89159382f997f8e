//! `PublishStream`.

use std::{cell::Cell, time::Duration};

use futures_util::{StreamExt, stream};
use highwater_proto::{
    client::{PublishOutcome, PublishRequest, PublishStreamRequest, publish_outcome::Outcome},
    limits::PUBLISH_STREAM_IN_FLIGHT_MAX,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

use super::{assert_refused, calls::publish};
use crate::stage::{Stage, with_key, within};

fn frame(publishes: Vec<PublishRequest>) -> PublishStreamRequest {
    PublishStreamRequest { publishes }
}

fn offset(outcome: PublishOutcome) -> Result<u64, String> {
    match outcome.outcome.unwrap() {
        Outcome::Result(result) => Ok(result.offset),
        Outcome::Error(error) => Err(error.code),
    }
}

#[tokio::test]
async fn outcomes_come_in_order_and_a_refusal_does_not_end_the_stream() {
    for shards in [1, 3] {
        let stage = Stage::with(shards, Default::default(), None).await;
        let mut client = stage.grpc().await;
        let frames = (0..500).map(|number| {
            frame(vec![
                publish("a", &number.to_string()),
                publish("b/+", "x"),
                publish(&format!("c/{}", number % 5), "x"),
            ])
        });
        let request = with_key(stream::iter(frames), &stage.key);
        let mut responses = within(client.publish_stream(request))
            .await
            .unwrap()
            .into_inner();
        let mut outcomes = Vec::new();
        while let Some(response) = within(responses.next()).await {
            outcomes.extend(response.unwrap().outcomes.into_iter().map(offset));
        }
        assert_eq!(outcomes.len(), 1_500);
        for (number, outcome) in outcomes.chunks(3).enumerate() {
            let number = number as u64;
            let expected = [Ok(number), Err("invalid_topic".to_owned()), Ok(number / 5)];
            assert_eq!(outcome, expected);
        }
    }
}

#[tokio::test]
async fn a_stream_holds_its_publisher_back_instead_of_refusing() {
    const FRAMES: u64 = 200;
    const PER_FRAME: u64 = 100;
    // What is in flight, and what the windows and buffers on both sides hold of frames of 100 KB.
    const TAKEN_MAX: u64 = PUBLISH_STREAM_IN_FLIGHT_MAX as u64 / PER_FRAME + 60;
    let stage = Stage::open().await;
    let mut client = stage.grpc().await;
    stage.shards[0].hold(true);
    let (send, requests) = mpsc::channel(1);
    let request = with_key(ReceiverStream::new(requests), &stage.key);
    // Responses begin at once, even though nothing is durable yet.
    let mut responses = within(client.publish_stream(request))
        .await
        .unwrap()
        .into_inner();
    let taken = Cell::new(0);
    let sending = async {
        for _ in 0..FRAMES {
            let publishes = (0..PER_FRAME).map(|_| publish("a", &"x".repeat(1_000)));
            send.send(frame(publishes.collect())).await.unwrap();
            taken.set(taken.get() + 1);
        }
        drop(send);
    };
    tokio::pin!(sending);
    let held = tokio::time::timeout(Duration::from_secs(2), &mut sending);
    assert!(held.await.is_err(), "the publisher is held back");
    let taken = taken.get();
    assert!(taken < TAKEN_MAX, "{taken} frames were taken");
    stage.shards[0].hold(false);
    let reading = async {
        let mut next = 0;
        while let Some(response) = responses.next().await {
            for outcome in response.unwrap().outcomes {
                assert_eq!(offset(outcome), Ok(next));
                next += 1;
            }
        }
        assert_eq!(next, FRAMES * PER_FRAME);
    };
    within(async { tokio::join!(sending, reading) }).await;
}

#[tokio::test]
async fn a_stream_ends_at_its_deadline() {
    let stage = Stage::open().await;
    let mut client = stage.grpc().await;
    stage.shards[0].hold(true);
    let (send, requests) = mpsc::channel(1);
    let mut request = with_key(ReceiverStream::new(requests), &stage.key);
    let timeout = "1S".parse().unwrap();
    request.metadata_mut().insert("grpc-timeout", timeout);
    let mut responses = within(client.publish_stream(request))
        .await
        .unwrap()
        .into_inner();
    // Whether or not something is in flight.
    send.send(frame(vec![publish("a", "x")])).await.unwrap();
    let status = within(responses.message()).await.unwrap_err();
    assert_refused(&status, Code::DeadlineExceeded, "timeout");
}

#[tokio::test]
async fn a_stream_without_a_credential_is_refused() {
    let stage = Stage::open().await;
    let mut client = stage.grpc().await;
    let request = Request::new(stream::iter([frame(vec![publish("a", "x")])]));
    let status = within(client.publish_stream(request)).await.unwrap_err();
    assert_refused(&status, Code::Unauthenticated, "unauthenticated");
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_revoked() {
    let stage = Stage::open().await;
    let mut client = stage.grpc().await;
    let (send, requests) = mpsc::channel(1);
    let request = with_key(ReceiverStream::new(requests), &stage.key);
    let mut responses = within(client.publish_stream(request))
        .await
        .unwrap()
        .into_inner();
    send.send(frame(vec![publish("a", "x")])).await.unwrap();
    within(responses.next()).await.unwrap().unwrap();
    stage.revoke_keys();
    let status = within(responses.next()).await.unwrap().unwrap_err();
    assert_refused(&status, Code::Unauthenticated, "unauthenticated");
}

#[tokio::test]
async fn a_draining_gateway_answers_what_it_took_and_ends_the_stream() {
    let mut stage = Stage::open().await;
    let mut client = stage.grpc().await;
    let (send, requests) = mpsc::channel(1);
    let request = with_key(ReceiverStream::new(requests), &stage.key);
    let mut responses = within(client.publish_stream(request))
        .await
        .unwrap()
        .into_inner();
    send.send(frame(vec![publish("a", "x")])).await.unwrap();
    let response = within(responses.next()).await.unwrap().unwrap();
    assert_eq!(response.outcomes.len(), 1);
    let ended = async { while let Some(Ok(_)) = responses.next().await {} };
    tokio::join!(within(ended), stage.stopped());
}
