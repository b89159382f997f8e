//! The write side of a shard on this node: drains the queue, proposes or forwards, and answers.
//!
//! Whatever is queued when there is room becomes one proposal, so batches grow with the load and a
//! lone publish waits for nothing. A few proposals are on their way at once. A batch is tried again
//! only when it certainly was not appended; when nobody can know, the callers are told
//! `unavailable`, and a retry with the same idempotency key is safe.
//!
//! What was queued here is appended in the order of the queue, however often a batch is tried again.
//! Batches are numbered; those under way at the same time go to the same leader, and once one of them
//! came back, the others are waited for before anything else starts. A leader proposes nothing before Raft has taken the batch in front of it
//! into its log, because one that was refused (a hand-over that came to nothing, a quorum not heard of
//! for a moment) may be followed by one that is not. For batches that go to another node,
//! [`crate::order`] does the same.

use std::{
    collections::BTreeMap,
    future::{self, Future},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use highwater_broker::{
    handle::{Published, WriteRequest},
    refusal::{Refusal, Result},
    state::Answer,
};
use highwater_proto::{
    ErrorCode, cluster as wire, ids::ProjectId, limits::PROPOSALS_IN_FLIGHT_MAX, names::TopicName,
};
use openraft::{errors::ClientWriteError, impls::ProgressResponder};
use tokio::{
    sync::{mpsc, oneshot},
    time::{self, Instant},
};

use crate::{
    Clock,
    batch::{Batch, Slots, Source},
    frame::Kind,
    link::LinkError,
    order::Place,
    raft::{Proposal, Types},
    replica::{Forwarded, Replica, no_leader},
    requests::{outcome_from_wire, refusal_from_wire},
};

/// How long a write waits for a leader before it is refused.
const LEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before a batch that was not appended is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// How long a forwarded write may take.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(15);

/// Ends with the work if it has to be tried again.
type InFlight = Pin<Box<dyn Future<Output = Option<Work>> + Send>>;
/// The same, with the number of the work.
type Numbered = Pin<Box<dyn Future<Output = (u64, Option<Work>)> + Send>>;
/// The leader the work goes to, or that there is none.
type Route = Option<u64>;

/// Something to propose.
enum Work {
    Publish(Batch),
    Delete(Deletion),
}

struct Deletion {
    project: ProjectId,
    topic: TopicName,
    reply: oneshot::Sender<Result<bool>>,
    /// Where it stands among the writes of the node that sent it here.
    place: Option<Place>,
    since: Instant,
}

/// The task behind the write queues of one shard.
pub struct Writes {
    replica: Arc<Replica>,
    clock: Clock,
    local: mpsc::Receiver<WriteRequest>,
    forwarded: mpsc::Receiver<Forwarded>,
    in_flight: FuturesUnordered<Numbered>,
    /// Where what is under way goes, and the number of the last that was sent there.
    route: Route,
    last_sent: u64,
    /// Whether Raft may not have taken the last proposal yet.
    unconfirmed: bool,
    /// When to go on after something was not appended.
    resume_at: Option<Instant>,
    /// The number of the next new batch. The first is 1.
    next_number: u64,
    /// Not appended yet, by number; goes before anything new.
    again: BTreeMap<u64, Work>,
    /// Taken off a queue while a batch was made, but no part of it.
    next: Option<Work>,
}

impl Writes {
    /// The task for a replica and its two queues.
    pub fn new(
        replica: Arc<Replica>,
        clock: Clock,
        local: mpsc::Receiver<WriteRequest>,
        forwarded: mpsc::Receiver<Forwarded>,
    ) -> Writes {
        Writes {
            replica,
            clock,
            local,
            forwarded,
            in_flight: FuturesUnordered::new(),
            route: None,
            last_sent: 0,
            unconfirmed: false,
            resume_at: None,
            next_number: 1,
            again: BTreeMap::new(),
            next: None,
        }
    }

    /// Runs until both queues are closed and everything is answered.
    pub async fn run(mut self) {
        loop {
            while let Some(route) = self.open_route()
                && self.has_work()
            {
                if self.unconfirmed && !self.in_flight.is_empty() {
                    self.confirm().await;
                } else if let Some((number, work)) = self.next_work() {
                    self.start(number, work, route).await;
                }
            }
            // The leader may have changed since: then what was taken off a queue already goes first.
            let is_open = self.next.is_none() && self.open_route().is_some();
            let resume = self.resume_at.map(time::sleep_until);
            tokio::select! {
                Some(ended) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.on_ended(ended);
                }
                () = async { resume.expect("asked for").await }, if resume.is_some() => {
                    self.resume_at = None;
                }
                Some(request) = self.local.recv(), if is_open => {
                    self.next = Some(local_work(request));
                }
                Some(request) = self.forwarded.recv(), if is_open => {
                    self.next = Some(forwarded_work(request));
                }
                else => return,
            }
        }
    }

    fn on_ended(&mut self, (number, unfinished): (u64, Option<Work>)) {
        if let Some(work) = unfinished {
            self.again.insert(number, work);
            self.resume_at = Some(Instant::now() + RETRY_PAUSE);
        }
    }

    /// Waits until Raft has taken or refused what was proposed.
    async fn confirm(&mut self) {
        // It takes one thing after the other. If it has stopped, the next proposal finds out.
        let _ = self.replica.raft.with_raft_state(|_| ()).await;
        self.unconfirmed = false;
        while let Some(Some(ended)) = self.in_flight.next().now_or_never() {
            self.on_ended(ended);
        }
    }

    /// Where the next work would go, if it may start now.
    fn open_route(&self) -> Option<Route> {
        if self.resume_at.is_some() {
            return None;
        }
        let route = self.replica.leader();
        let has_room = self.in_flight.len() < PROPOSALS_IN_FLIGHT_MAX;
        let may_join = has_room && self.again.is_empty() && route == self.route;
        (may_join || self.in_flight.is_empty()).then_some(route)
    }

    fn has_work(&self) -> bool {
        let queued = !self.local.is_empty() || !self.forwarded.is_empty();
        queued || self.next.is_some() || !self.again.is_empty()
    }

    /// The earliest work that is not under way, with its number.
    fn next_work(&mut self) -> Option<(u64, Work)> {
        if let Some(again) = self.again.pop_first() {
            return Some(again);
        }
        let work = self.take_queued()?;
        let number = self.next_number;
        self.next_number += 1;
        Some((number, work))
    }

    /// One batch of what is waiting, without waiting for more.
    fn take_queued(&mut self) -> Option<Work> {
        let mut batch = Batch::new();
        while !batch.is_full() {
            let work = self.next.take().or_else(|| {
                let local = self.local.try_recv().ok().map(local_work);
                local.or_else(|| self.forwarded.try_recv().ok().map(forwarded_work))
            });
            match work {
                Some(Work::Publish(more)) if batch.is_empty() => batch = more,
                Some(Work::Publish(more)) => batch.append(more),
                Some(delete) if batch.is_empty() => return Some(delete),
                // A deletion keeps its place between the publishes around it.
                Some(delete) => {
                    self.next = Some(delete);
                    break;
                }
                None => break,
            }
        }
        (!batch.is_empty()).then_some(Work::Publish(batch))
    }

    /// Sends the work on its way. The order of these calls is the order in the log.
    async fn start(&mut self, number: u64, work: Work, route: Route) {
        if work.since().elapsed() > LEADER_TIMEOUT {
            return work.refuse(&no_leader("the shard has had no leader for too long"));
        }
        let is_here = route == Some(self.replica.node);
        let work = match is_here {
            true => work.without_what_is_out_of_place(),
            false => work.without_forwarded(),
        };
        let Some(work) = work else {
            return;
        };
        let link = route.and_then(|leader| self.replica.links.get(leader));
        let in_flight: InFlight = match link {
            _ if is_here => match self.propose(work).await {
                Some(in_flight) => in_flight,
                None => return,
            },
            Some(link) if link.is_up() => self.forward(&link, work, number),
            _ => Box::pin(future::ready(Some(work))),
        };
        self.route = route;
        self.last_sent = number;
        let numbered = async move { (number, in_flight.await) };
        self.in_flight.push(Box::pin(numbered));
    }

    /// Proposes here, as the leader.
    async fn propose(&mut self, work: Work) -> Option<InFlight> {
        let metrics = &self.replica.metrics;
        metrics.proposals.inc();
        let (command, slots) = match &work {
            Work::Publish(batch) => {
                metrics.proposal_messages.observe(batch.len() as f64);
                let (command, slots) = batch.command((self.clock)());
                (command, Some(slots))
            }
            Work::Delete(deletion) => (deletion.command(), None),
        };
        let (responder, outcome) = ProgressResponder::<Types, _>::complete_only();
        let proposal = Proposal::encode(&command);
        let sent = self
            .replica
            .raft
            .client_write_ff(proposal, Some(responder))
            .await;
        if let Err(fatal) = sent {
            work.refuse(&stopped(fatal));
            return None;
        }
        self.unconfirmed = true;
        let metrics = metrics.clone();
        Some(Box::pin(async move {
            let answer = match outcome.await {
                Ok(Ok(response)) => response.data.0,
                Ok(Err(ClientWriteError::ForwardToLeader(_))) => {
                    // Not appended: this node leads no longer, or not for sure.
                    return Some(work);
                }
                Ok(Err(error)) => {
                    work.refuse(&unknown(error));
                    return None;
                }
                Err(_) => {
                    work.refuse(&unknown("the shard stopped"));
                    return None;
                }
            };
            metrics
                .proposal_seconds
                .observe(work.since().elapsed().as_secs_f64());
            work.finish(answer, slots);
            None
        }))
    }

    /// Sends the work to the leader.
    fn forward(&self, link: &crate::link::Link, work: Work, number: u64) -> InFlight {
        let shard = self.replica.id;
        let order = wire::WriteOrder {
            number,
            after: match self.in_flight.is_empty() {
                true => 0,
                false => self.last_sent,
            },
        };
        match work {
            Work::Publish(batch) => {
                self.replica.metrics.forwarded.inc_by(batch.len() as u64);
                let pending = link.start(Kind::Publish, shard, &batch.forward(order));
                Box::pin(async move {
                    let answer = time::timeout(FORWARD_TIMEOUT, pending.answer()).await;
                    let response: wire::ForwardPublishResponse = match answer {
                        Ok(Ok(response)) => response,
                        Ok(Err(error)) => {
                            return retry_or_refuse(Work::Publish(batch), error);
                        }
                        Err(_) => {
                            batch.refuse(&unknown("the leader did not answer in time"));
                            return None;
                        }
                    };
                    match response.outcomes.len() == batch.len() {
                        true => {
                            let outcomes = response.outcomes.into_iter().map(outcome_from_wire);
                            batch.finish(outcomes.collect());
                        }
                        false => batch.refuse(&unknown("the leader answered something else")),
                    }
                    None
                })
            }
            Work::Delete(deletion) => {
                let request = wire::ForwardDeleteTopic {
                    project: deletion.project.as_bytes().to_vec().into(),
                    topic: deletion.topic.to_string(),
                    order: Some(order),
                };
                let pending = link.start(Kind::DeleteTopic, shard, &request);
                Box::pin(async move {
                    match pending.answer::<wire::DeleteTopicResponse>().await {
                        Ok(response) => {
                            let _ = deletion.reply.send(Ok(response.existed));
                            None
                        }
                        Err(error) => retry_or_refuse(Work::Delete(deletion), error),
                    }
                })
            }
        }
    }
}

/// Gives back work that the leader certainly did not do, unless another try cannot help.
fn retry_or_refuse(work: Work, error: LinkError) -> Option<Work> {
    let refusal = match error {
        LinkError::Refused { refusal, .. } => refusal_from_wire(refusal),
        error if error.has_no_side_effects() => no_leader(error.to_string()),
        error => unknown(error),
    };
    match refusal.code() {
        ErrorCode::NoLeader | ErrorCode::Draining => Some(work),
        _ => {
            work.refuse(&refusal);
            None
        }
    }
}

fn unknown(error: impl std::fmt::Display) -> Refusal {
    let message = format!("the outcome is not known: {error}");
    Refusal::new(ErrorCode::Unavailable, message).retry_after_ms(200)
}

fn stopped(error: impl std::fmt::Display) -> Refusal {
    let message = format!("the shard has stopped on this node: {error}");
    Refusal::new(ErrorCode::NoLeader, message).retry_after_ms(500)
}

fn local_work(request: WriteRequest) -> Work {
    match request {
        WriteRequest::Publish {
            publishes,
            reply,
            permit,
        } => {
            let mut batch = Batch::new();
            batch.add(publishes, reply, Source::Here { _room: permit });
            Work::Publish(batch)
        }
        WriteRequest::DeleteTopic {
            project,
            topic,
            reply,
        } => Work::Delete(Deletion {
            project,
            topic,
            reply,
            place: None,
            since: Instant::now(),
        }),
    }
}

fn forwarded_work(request: Forwarded) -> Work {
    match request {
        Forwarded::Publish {
            publishes,
            place,
            reply,
        } => {
            let mut batch = Batch::new();
            batch.add(publishes, reply, Source::Peer(place));
            Work::Publish(batch)
        }
        Forwarded::DeleteTopic {
            project,
            topic,
            place,
            reply,
        } => Work::Delete(Deletion {
            project,
            topic,
            reply,
            place: Some(place),
            since: Instant::now(),
        }),
    }
}

impl Work {
    fn since(&self) -> Instant {
        match self {
            Work::Publish(batch) => batch.since,
            Work::Delete(deletion) => deletion.since,
        }
    }

    fn refuse(self, refusal: &Refusal) {
        match self {
            Work::Publish(batch) => batch.refuse(refusal),
            Work::Delete(deletion) => {
                if let Some(place) = &deletion.place {
                    place.give_up();
                }
                // The caller may have gone.
                let _ = deletion.reply.send(Err(refusal.clone()));
            }
        }
    }

    /// What came from this node's own clients. The rest is refused: whoever sent it here can find
    /// the leader as well as this node can.
    fn without_forwarded(self) -> Option<Work> {
        let refusal = no_leader("this node does not lead the shard");
        match self {
            Work::Publish(mut batch) => {
                batch.refuse_forwarded(&refusal);
                (!batch.is_empty()).then_some(Work::Publish(batch))
            }
            Work::Delete(deletion) if deletion.place.is_some() => {
                Work::Delete(deletion).refuse(&refusal);
                None
            }
            delete => Some(delete),
        }
    }

    /// Without what other nodes sent behind a write that was not taken: they send it again, in order.
    fn without_what_is_out_of_place(self) -> Option<Work> {
        let refusal = no_leader("an earlier write was not taken");
        match self {
            Work::Publish(mut batch) => {
                batch.refuse_out_of_place(&refusal);
                (!batch.is_empty()).then_some(Work::Publish(batch))
            }
            Work::Delete(deletion) if deletion.place.as_ref().is_some_and(|p| !p.take()) => {
                Work::Delete(deletion).refuse(&refusal);
                None
            }
            delete => Some(delete),
        }
    }

    fn finish(self, answer: Answer, slots: Option<Slots>) {
        match (self, answer, slots) {
            (Work::Publish(batch), Answer::Published(outcomes), Some(slots)) => {
                let ordered: Vec<Result<Published>> = slots.order(outcomes);
                batch.finish(ordered);
            }
            (Work::Delete(deletion), Answer::Deleted(existed), _) => {
                let _ = deletion.reply.send(Ok(existed));
            }
            (work, answer, _) => {
                tracing::error!(?answer, "a command was answered as another kind of command");
                work.refuse(&Refusal::new(
                    ErrorCode::Internal,
                    "the answer does not fit",
                ));
            }
        }
    }
}

impl Deletion {
    fn command(&self) -> wire::Command {
        let delete = wire::DeleteTopic {
            project: self.project.as_bytes().to_vec().into(),
            topic: self.topic.to_string(),
        };
        wire::Command {
            command: Some(wire::command::Command::DeleteTopic(delete)),
        }
    }
}
