//! The write side of a shard on this node: drains the queue, proposes or forwards, and answers.
//!
//! Whatever is queued when there is room becomes one proposal, so batches grow with the load and a
//! lone publish waits for nothing. A few proposals are on their way at once. A batch is tried again
//! only when it certainly was not appended; when nobody can know, the callers are told
//! `unavailable`, and a retry with the same idempotency key is safe.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
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
    batch::{Batch, Slots},
    frame::Kind,
    link::LinkError,
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

type InFlight = Pin<Box<dyn Future<Output = Option<Work>> + Send>>;

/// Something to propose.
enum Work {
    Publish(Batch),
    Delete(Deletion),
}

struct Deletion {
    project: ProjectId,
    topic: TopicName,
    reply: oneshot::Sender<Result<bool>>,
    forwarded: bool,
    since: Instant,
}

/// The task behind the write queues of one shard.
pub struct Writes {
    replica: Arc<Replica>,
    clock: Clock,
    local: mpsc::Receiver<WriteRequest>,
    forwarded: mpsc::Receiver<Forwarded>,
    in_flight: FuturesUnordered<InFlight>,
    /// Not appended yet; goes before anything new.
    again: VecDeque<Work>,
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
            again: VecDeque::new(),
            next: None,
        }
    }

    /// Runs until both queues are closed and everything is answered.
    pub async fn run(mut self) {
        loop {
            while self.in_flight.len() < PROPOSALS_IN_FLIGHT_MAX
                && let Some(work) = self.again.pop_front().or_else(|| self.take_queued())
            {
                self.start(work).await;
            }
            let room = self.in_flight.len() < PROPOSALS_IN_FLIGHT_MAX;
            tokio::select! {
                Some(unfinished) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.again.extend(unfinished);
                }
                Some(request) = self.local.recv(), if room => {
                    self.next = Some(local_work(request));
                }
                Some(request) = self.forwarded.recv(), if room => {
                    self.next = Some(forwarded_work(request));
                }
                else => return,
            }
        }
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
    async fn start(&mut self, work: Work) {
        if work.since().elapsed() > LEADER_TIMEOUT {
            return work.refuse(&no_leader("the shard has had no leader for too long"));
        }
        let in_flight: InFlight = match self.replica.leader() {
            Some(leader) if leader == self.replica.node => match self.propose(work).await {
                Some(in_flight) => in_flight,
                None => return,
            },
            leader => {
                let Some(work) = work.without_forwarded() else {
                    return;
                };
                match leader.and_then(|leader| self.replica.links.get(leader)) {
                    Some(link) if link.is_up() => self.forward(&link, work),
                    _ => Box::pin(async move {
                        time::sleep(RETRY_PAUSE).await;
                        Some(work)
                    }),
                }
            }
        };
        self.in_flight.push(in_flight);
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
        let metrics = metrics.clone();
        Some(Box::pin(async move {
            let answer = match outcome.await {
                Ok(Ok(response)) => response.data.0,
                Ok(Err(ClientWriteError::ForwardToLeader(_))) => {
                    // Not appended: this node leads no longer, or not for sure yet.
                    time::sleep(RETRY_PAUSE).await;
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
    fn forward(&self, link: &crate::link::Link, work: Work) -> InFlight {
        let shard = self.replica.id;
        match work {
            Work::Publish(batch) => {
                self.replica.metrics.forwarded.inc_by(batch.len() as u64);
                let pending = link.start(Kind::Publish, shard, &batch.forward());
                Box::pin(async move {
                    let answer = time::timeout(FORWARD_TIMEOUT, pending.answer()).await;
                    let response: wire::ForwardPublishResponse = match answer {
                        Ok(Ok(response)) => response,
                        Ok(Err(error)) => {
                            return retry_or_refuse(Work::Publish(batch), error).await;
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
                };
                let pending = link.start(Kind::DeleteTopic, shard, &request);
                Box::pin(async move {
                    match pending.answer::<wire::DeleteTopicResponse>().await {
                        Ok(response) => {
                            let _ = deletion.reply.send(Ok(response.existed));
                            None
                        }
                        Err(error) => retry_or_refuse(Work::Delete(deletion), error).await,
                    }
                })
            }
        }
    }
}

/// Gives back work that the leader certainly did not do, unless another try cannot help.
async fn retry_or_refuse(work: Work, error: LinkError) -> Option<Work> {
    let refusal = match error {
        LinkError::Refused { refusal, .. } => refusal_from_wire(refusal),
        error if error.has_no_side_effects() => no_leader(error.to_string()),
        error => unknown(error),
    };
    match refusal.code() {
        ErrorCode::NoLeader | ErrorCode::Draining => {
            time::sleep(RETRY_PAUSE).await;
            Some(work)
        }
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
            batch.add(publishes, reply, Some(permit));
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
            forwarded: false,
            since: Instant::now(),
        }),
    }
}

fn forwarded_work(request: Forwarded) -> Work {
    match request {
        Forwarded::Publish { publishes, reply } => {
            let mut batch = Batch::new();
            batch.add(publishes, reply, None);
            Work::Publish(batch)
        }
        Forwarded::DeleteTopic {
            project,
            topic,
            reply,
        } => Work::Delete(Deletion {
            project,
            topic,
            reply,
            forwarded: true,
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
            Work::Delete(deletion) => drop(deletion.reply.send(Err(refusal.clone()))),
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
            Work::Delete(deletion) if deletion.forwarded => {
                let _ = deletion.reply.send(Err(refusal));
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
