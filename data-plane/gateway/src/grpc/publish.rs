//! `PublishStream`: many publishes on one stream, each answered in its turn.
//!
//! Requests are taken as fast as the shards have room; outcomes wait in a queue of bounded length. When
//! it is full no more is read, and the transport's flow control holds the publisher back. Requests that
//! are there together are taken together, and outcomes that are ready together leave together: small
//! requests cost less the more of them there are.

use std::{pin::Pin, sync::Arc};

use futures_util::{
    FutureExt, Stream, StreamExt,
    future::{Fuse, FusedFuture},
    stream::FuturesOrdered,
};
use highwater_broker::{Refusal, Result, catalogue::Principal};
use highwater_proto::{
    client::{
        PublishOutcome, PublishRequest, PublishResult, PublishStreamRequest, PublishStreamResponse,
        publish_outcome::Outcome,
    },
    limits::{PUBLISH_BYTES_TOGETHER_MAX, PUBLISH_STREAM_IN_FLIGHT_MAX, PUBLISHES_TOGETHER_MAX},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, Streaming};

use super::{
    deadline::{self, Deadline},
    status::{to_message, to_status, unreadable},
};
use crate::{
    gateway::Door,
    metrics::Protocol,
    publish::{Pending, prepare},
    serve::Connection,
    session::Session,
};

pub type Outcomes = Pin<Box<dyn Stream<Item = Result<PublishStreamResponse, Status>> + Send>>;

/// Opens the stream.
pub fn open(
    door: Arc<Door>,
    request: Request<Streaming<PublishStreamRequest>>,
) -> Result<Outcomes> {
    let session = Session::open(&door, Protocol::Grpc, request.metadata().as_ref())?;
    let deadline = Deadline::of(request.metadata());
    let draining = Connection::of(request.extensions()).draining;
    let publisher = Publisher {
        door,
        session,
        draining,
        requests: request.into_inner(),
    };
    Ok(Box::pin(publisher.stream(deadline)))
}

struct Publisher {
    door: Arc<Door>,
    session: Session,
    draining: CancellationToken,
    requests: Streaming<PublishStreamRequest>,
}

impl Publisher {
    fn stream(
        self,
        deadline: Deadline,
    ) -> impl Stream<Item = Result<PublishStreamResponse, Status>> + Send {
        async_stream::stream! {
            let Publisher { door, mut session, draining, mut requests } = self;
            let mut in_flight = FuturesOrdered::new();
            let mut waiting = 0;
            let mut taking = true;
            let mut broken = None;
            let sending = Fuse::terminated();
            let passed = deadline.passed();
            tokio::pin!(sending, passed);
            let end = loop {
                let is_sending = !sending.is_terminated();
                if !taking && !is_sending && in_flight.is_empty() {
                    break broken.map(|refusal| refuse(&door, &refusal));
                }
                let has_room = taking && !is_sending && waiting < PUBLISH_STREAM_IN_FLIGHT_MAX;
                tokio::select! {
                    biased;
                    () = &mut passed => break Some(deadline::exceeded()),
                    Some((count, outcomes)) = in_flight.next(), if !in_flight.is_empty() => {
                        waiting -= count;
                        let mut response = respond(outcomes);
                        while let Some(Some((count, outcomes))) = in_flight.next().now_or_never() {
                            waiting -= count;
                            response.outcomes.extend(respond(outcomes).outcomes);
                        }
                        yield Ok(response);
                    }
                    pending = &mut sending, if is_sending => {
                        let count = Pending::count(&pending);
                        waiting += count;
                        in_flight.push_back(pending.outcomes().map(move |o| (count, o)));
                    }
                    // What was not taken yet is the publisher's to send elsewhere.
                    () = draining.cancelled(), if taking => taking = false,
                    () = session.changed(), if taking => {
                        if let Err(refusal) = session.refresh(&door) {
                            break Some(refuse(&door, &refusal));
                        }
                    }
                    request = requests.message(), if has_room => match request {
                        Ok(Some(request)) => {
                            let mut publishes = request.publishes;
                            match more(&mut requests, &mut publishes) {
                                Ok(open) => taking = open,
                                Err(refusal) => {
                                    taking = false;
                                    broken = Some(refusal);
                                }
                            }
                            match session.refresh(&door) {
                                Ok(who) => sending.set(send(&door, who.clone(), publishes).fuse()),
                                Err(refusal) => break Some(refuse(&door, &refusal)),
                            }
                        }
                        Ok(None) => taking = false,
                        Err(status) => break Some(refuse(&door, &unreadable(&status))),
                    },
                }
            };
            if let Some(status) = end {
                yield Err(status);
            }
        }
    }
}

/// Adds what has arrived already, up to a limit. Returns whether more may come.
fn more(
    requests: &mut Streaming<PublishStreamRequest>,
    publishes: &mut Vec<PublishRequest>,
) -> Result<bool> {
    let size = |request: &PublishRequest| request.message.as_ref().map_or(0, |m| m.payload.len());
    let mut bytes: usize = publishes.iter().map(size).sum();
    while publishes.len() < PUBLISHES_TOGETHER_MAX && bytes < PUBLISH_BYTES_TOGETHER_MAX {
        match requests.message().now_or_never() {
            Some(Ok(Some(request))) => {
                bytes += request.publishes.iter().map(size).sum::<usize>();
                publishes.extend(request.publishes);
            }
            Some(Ok(None)) => return Ok(false),
            Some(Err(status)) => return Err(unreadable(&status)),
            None => break,
        }
    }
    Ok(true)
}

/// Takes the publishes of one request, as soon as their shards have room.
async fn send(door: &Door, principal: Principal, publishes: Vec<PublishRequest>) -> Pending<'_> {
    prepare(door, Protocol::Grpc, &principal, publishes)
        .send()
        .await
}

fn refuse(door: &Door, refusal: &Refusal) -> Status {
    door.metrics.refused(Protocol::Grpc, refusal);
    to_status(refusal)
}

fn respond(outcomes: Vec<Result<PublishResult>>) -> PublishStreamResponse {
    let outcomes = outcomes.into_iter().map(|outcome| PublishOutcome {
        outcome: Some(match outcome {
            Ok(result) => Outcome::Result(result),
            Err(refusal) => Outcome::Error(to_message(&refusal)),
        }),
    });
    PublishStreamResponse {
        outcomes: outcomes.collect(),
    }
}
