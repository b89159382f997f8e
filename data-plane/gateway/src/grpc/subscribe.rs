//! `Subscribe`: one stream that carries a subscription, as fast as its credit allows.

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use highwater_broker::{Refusal, Result, from::From};
use highwater_proto::{
    ErrorCode,
    client::{
        AuthExpiring, Draining, SubscribeRequest, SubscribeResponse, Subscribed,
        subscribe_request::{Request as Kind, Start},
    },
    frame::Frame,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, Streaming};

use super::{
    deadline::{self, Deadline},
    status::{to_status, unreadable},
};
use crate::{
    deliver::proto,
    gateway::Door,
    metrics::Protocol,
    read,
    reader::{Credit, Reader, Wanted},
    serve::Connection,
    session::{Notice, Session},
};

pub type Deliveries = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;

/// Opens the stream. Everything after the credential is answered within it.
pub fn open(door: Arc<Door>, request: Request<Streaming<SubscribeRequest>>) -> Result<Deliveries> {
    let session = Session::open(&door, Protocol::Grpc, request.metadata().as_ref())?;
    let deadline = Deadline::of(request.metadata());
    let draining = Connection::of(request.extensions()).draining;
    let requests = request.into_inner();
    let subscriber = Subscriber {
        door,
        session,
        draining,
        requests: Some(requests),
    };
    Ok(Box::pin(subscriber.stream(deadline)))
}

/// One subscriber's end of a stream.
struct Subscriber {
    door: Arc<Door>,
    session: Session,
    draining: CancellationToken,
    /// Nothing once the client has said all it wanted to.
    requests: Option<Streaming<SubscribeRequest>>,
}

impl Subscriber {
    fn stream(mut self, deadline: Deadline) -> impl Stream<Item = Result<Frame, Status>> + Send {
        async_stream::stream! {
            // In memory of its own: what opening takes is not kept by a stream that is open.
            let mut reader = match deadline.run(Box::pin(self.start())).await {
                Ok(Ok(reader)) => reader,
                Ok(Err(refusal)) => {
                    yield Err(self.refuse(&refusal));
                    return;
                }
                Err(status) => {
                    yield Err(status);
                    return;
                }
            };
            yield Ok(receipt(&reader));
            let passed = deadline.passed();
            tokio::pin!(passed);
            loop {
                let step = tokio::select! {
                    step = self.step(&mut reader) => step,
                    () = &mut passed => {
                        yield Err(deadline::exceeded());
                        return;
                    }
                };
                match step {
                    Ok(Step::Frames(frames)) => {
                        for frame in frames {
                            yield Ok(frame);
                        }
                    }
                    Ok(Step::Drain) => {
                        yield Ok(draining(&self.door));
                        return;
                    }
                    Err(refusal) => {
                        yield Err(self.refuse(&refusal));
                        return;
                    }
                }
            }
        }
    }

    /// Reads the first request and opens the subscription it asks for.
    async fn start(&mut self) -> Result<Reader> {
        let requests = self.requests.as_mut();
        let first = match requests {
            Some(requests) => requests
                .message()
                .await
                .map_err(|status| unreadable(&status))?,
            None => None,
        };
        let Some(Kind::Start(Start {
            topics,
            from,
            credit,
            group,
        })) = first.and_then(|r| r.request)
        else {
            let message = "the first request of a subscription is `start`";
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        };
        let filters = read::parse_filters(&topics)?;
        let from = read::parse_from(&from, From::Latest)?;
        let credit = credit.unwrap_or_default();
        let principal = self.session.refresh(&self.door)?;
        let credit = Credit::new(credit.messages, credit.bytes);
        let wanted = Wanted::alone(filters, from).with_group(group);
        Reader::open(&self.door, Protocol::Grpc, principal, wanted, credit).await
    }

    /// Waits for what comes first: records, more from the client, a changed credential or the end.
    async fn step(&mut self, reader: &mut Reader) -> Result<Step> {
        tokio::select! {
            biased;
            () = self.draining.cancelled() => Ok(Step::Drain),
            notice = self.session.notice() => match notice {
                Notice::Changed => {
                    reader.recheck(self.session.refresh(&self.door)?)?;
                    Ok(Step::Frames(Vec::new()))
                }
                Notice::Expiring(at_ms) => Ok(Step::Frames(vec![expiring(at_ms)])),
            },
            request = receive(&mut self.requests) => {
                match request?.and_then(|r| r.request) {
                    Some(Kind::Flow(flow)) => reader.add_credit(flow.messages, flow.bytes),
                    Some(Kind::Ack(acks)) => reader.ack_cursors(&acks.cursors, false)?,
                    Some(Kind::Nack(acks)) => reader.ack_cursors(&acks.cursors, true)?,
                    Some(Kind::Auth(auth)) => {
                        self.session.replace(&self.door, &auth.credential)?;
                        reader.recheck(self.session.principal())?;
                    }
                    Some(Kind::Start(_)) => {
                        let message = "a stream carries one subscription";
                        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
                    }
                    None => {}
                }
                Ok(Step::Frames(Vec::new()))
            }
            delivery = reader.next(&self.door) => {
                let project = &self.session.principal().project;
                Ok(Step::Frames(proto::frames(&self.door.broker, project, &delivery?)))
            }
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Status {
        self.door.metrics.refused(Protocol::Grpc, refusal);
        to_status(refusal)
    }
}

enum Step {
    Frames(Vec<Frame>),
    Drain,
}

/// The next request. A client that has closed its half is still a subscriber: it says no more.
async fn receive(
    requests: &mut Option<Streaming<SubscribeRequest>>,
) -> Result<Option<SubscribeRequest>> {
    let Some(open) = requests else {
        return std::future::pending().await;
    };
    match open.message().await {
        Ok(Some(request)) => Ok(Some(request)),
        Ok(None) => {
            *requests = None;
            Ok(None)
        }
        Err(status) => Err(unreadable(&status)),
    }
}

fn receipt(reader: &Reader) -> Frame {
    Frame::encode(&SubscribeResponse {
        subscribed: Some(Subscribed {
            cursor: reader.cursor(),
        }),
        ..Default::default()
    })
}

fn expiring(expires_at_ms: u64) -> Frame {
    Frame::encode(&SubscribeResponse {
        auth_expiring: Some(AuthExpiring { expires_at_ms }),
        ..Default::default()
    })
}

fn draining(door: &Door) -> Frame {
    Frame::encode(&SubscribeResponse {
        draining: Some(Draining {
            reconnect_after_ms: door.reconnect_after_ms(),
        }),
        ..Default::default()
    })
}
