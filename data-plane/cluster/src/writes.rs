//! The write side of a shard on this node: drains the queue, proposes or forwards, and answers.
//!
//! One proposal is under way at a time, and whatever is queued when it ends becomes the next one: so
//! batches grow with the load, a lone publish waits for nothing, and what is queued here is appended
//! in the order of the queue, however often a batch is tried again. (With two under way, each was half
//! as large and nothing was faster, and a batch that was refused for a moment could be overtaken.)
//!
//! A batch is tried again only when it certainly was not appended; when nobody can know, the callers
//! are told `unavailable`, and a retry with the same idempotency key is safe.

use std::{sync::Arc, time::Duration};

use highwater_broker::{
    handle::{Publish, Published, TopicEnd, WriteRequest},
    refusal::{Refusal, Result},
    state::Answer,
};
use highwater_proto::{ErrorCode, cluster as wire, ids::ProjectId, names::TopicName, trace};
use openraft::{errors::ClientWriteError, impls::ProgressResponder};
use tokio::{
    sync::{mpsc, oneshot},
    time::{self, Instant},
};

use tracing::{Span, info_span};

use crate::{
    Clock,
    batch::{Batch, Slots},
    frame::Kind,
    link::{Link, LinkError},
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

/// Something to propose.
enum Work {
    Publish(Batch),
    Delete(Deletion),
    Read(MeterReading),
}

struct Deletion {
    project: ProjectId,
    topic: TopicName,
    if_end: Option<TopicEnd>,
    reply: oneshot::Sender<Result<bool>>,
    /// Whether it came from another node, which must not be sent on.
    forwarded: bool,
    since: Instant,
}

struct MeterReading {
    reading: wire::Reading,
    reply: oneshot::Sender<Result<()>>,
    /// Whether it came from another node, which must not be sent on.
    forwarded: bool,
    since: Instant,
}

/// The task behind the write queues of one shard.
pub struct Writes {
    replica: Arc<Replica>,
    clock: Clock,
    local: mpsc::Receiver<WriteRequest>,
    forwarded: mpsc::Receiver<Forwarded>,
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
            next: None,
        }
    }

    /// Runs until both queues are closed and everything is answered.
    pub async fn run(mut self) {
        while let Some(mut work) = self.next_work().await {
            while let Some(unfinished) = self.attempt(work).await {
                time::sleep(RETRY_PAUSE).await;
                work = unfinished;
            }
        }
    }

    /// What is queued, or the first thing that comes.
    async fn next_work(&mut self) -> Option<Work> {
        loop {
            if let Some(work) = self.take_queued() {
                return Some(work);
            }
            self.next = tokio::select! {
                Some(request) = self.local.recv() => Some(local_work(request)),
                Some(request) = self.forwarded.recv() => Some(forwarded_work(request)),
                else => return None,
            };
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
                Some(other) if batch.is_empty() => return Some(other),
                // It keeps its place between the publishes around it.
                Some(other) => {
                    self.next = Some(other);
                    break;
                }
                None => break,
            }
        }
        (!batch.is_empty()).then_some(Work::Publish(batch))
    }

    /// Has the work done, here or by the leader, and answers. Gives it back if it was not done.
    async fn attempt(&mut self, work: Work) -> Option<Work> {
        if work.since().elapsed() > LEADER_TIMEOUT {
            work.refuse(&no_leader("the shard has had no leader for too long"));
            return None;
        }
        let leader = self.replica.leader();
        if leader == Some(self.replica.node) {
            return self.propose(work).await;
        }
        self.next = self.next.take().and_then(Work::without_forwarded);
        let work = work.without_forwarded()?;
        let link = leader.and_then(|leader| self.replica.links.get(leader));
        let Some(link) = link.filter(|link| link.is_up()) else {
            return Some(work);
        };
        let forwarding = forward(&self.replica, &link, work);
        tokio::pin!(forwarding);
        loop {
            tokio::select! {
                unfinished = &mut forwarding => {
                    if unfinished.is_some() {
                        // A leader that refuses leads no longer, whether or not anybody noticed.
                        self.replica.wake();
                    }
                    return unfinished;
                }
                // The other may be waiting for this very node: nobody waits for somebody who waits.
                Some(request) = self.forwarded.recv() => {
                    forwarded_work(request).without_forwarded();
                }
            }
        }
    }

    /// Proposes here, as the leader.
    async fn propose(&self, work: Work) -> Option<Work> {
        let metrics = &self.replica.metrics;
        metrics.proposals.inc();
        let (command, slots) = match &work {
            Work::Publish(batch) => {
                metrics.proposal_messages.observe(batch.len() as f64);
                let (command, slots) = batch.command((self.clock)());
                (command, Some(slots))
            }
            Work::Delete(deletion) => (deletion.command(), None),
            Work::Read(reading) => (reading.command((self.clock)()), None),
        };
        let shard = self.replica.id.0;
        let proposing = work.spans(|publish, traceparent| {
            let topic = publish.topic.as_str();
            info_span!(target: trace::TARGET, "propose", topic, shard, traceparent)
        });
        let (responder, outcome) = ProgressResponder::<Types, _>::complete_only();
        let proposal = Proposal::encode(&command);
        self.replica.wake_to_propose().await;
        let sent = self
            .replica
            .raft
            .client_write_ff(proposal, Some(responder))
            .await;
        if let Err(fatal) = sent {
            tracing::debug!(shard, error = %fatal, "cannot propose");
            work.refuse(&stopped());
            return None;
        }
        drop(proposing);
        let _committing = work.spans(|publish, traceparent| {
            let topic = publish.topic.as_str();
            info_span!(target: trace::TARGET, "commit", topic, shard, traceparent)
        });
        match outcome.await {
            Ok(Ok(response)) => {
                let seconds = work.since().elapsed().as_secs_f64();
                metrics.proposal_seconds.observe(seconds);
                work.finish(response.data.0, slots);
            }
            // Not appended: this node leads no longer, or not for sure.
            Ok(Err(ClientWriteError::ForwardToLeader(_))) => return Some(work),
            Ok(Err(error)) => {
                tracing::debug!(shard, %error, "a proposal has no outcome");
                work.refuse(&unknown());
            }
            Err(_) => work.refuse(&unknown()),
        }
        None
    }
}

/// Sends the work to the leader.
async fn forward(replica: &Replica, link: &Link, work: Work) -> Option<Work> {
    let shard = replica.id;
    match work {
        Work::Publish(batch) => {
            replica.metrics.forwarded.inc_by(batch.len() as u64);
            let request = batch.forward();
            let answer = link.call(Kind::Publish, shard, &request, FORWARD_TIMEOUT);
            let response: wire::ForwardPublishResponse = match answer.await {
                Ok(response) => response,
                Err(error) => return retry_or_refuse(Work::Publish(batch), error),
            };
            if response.outcomes.len() == batch.len() {
                let outcomes = response.outcomes.into_iter().map(outcome_from_wire);
                batch.finish(outcomes.collect());
            } else {
                tracing::error!(%shard, "the leader answered more or fewer publishes than it was sent");
                batch.refuse(&unknown());
            }
        }
        Work::Delete(deletion) => {
            let (if_next_offset_plus_one, if_topic_id_plus_one) =
                TopicEnd::to_wire(deletion.if_end);
            let request = wire::ForwardDeleteTopic {
                project: deletion.project.as_bytes().to_vec().into(),
                topic: deletion.topic.to_string(),
                if_next_offset_plus_one,
                if_topic_id_plus_one,
            };
            let answer = link.call(Kind::DeleteTopic, shard, &request, FORWARD_TIMEOUT);
            match answer.await {
                Ok(wire::DeleteTopicResponse { existed }) => {
                    // The caller may have gone.
                    let _ = deletion.reply.send(Ok(existed));
                }
                Err(error) => return retry_or_refuse(Work::Delete(deletion), error),
            }
        }
        Work::Read(read) => {
            let answer = link.call(Kind::Reading, shard, &read.reading, FORWARD_TIMEOUT);
            match answer.await {
                Ok(wire::ReadingTaken {}) => drop(read.reply.send(Ok(()))),
                Err(error) => return retry_or_refuse(Work::Read(read), error),
            }
        }
    }
    None
}

/// Gives back work that the leader certainly did not do, unless another try cannot help.
fn retry_or_refuse(work: Work, error: LinkError) -> Option<Work> {
    let refusal = match error {
        LinkError::Refused { refusal, .. } => refusal_from_wire(refusal),
        error if error.has_no_side_effects() => no_leader("the shard's leader cannot be reached"),
        error => {
            tracing::debug!(%error, "a forwarded write has no outcome");
            unknown()
        }
    };
    match refusal.code() {
        ErrorCode::NoLeader | ErrorCode::Draining => Some(work),
        _ => {
            work.refuse(&refusal);
            None
        }
    }
}

/// Nobody can say whether it was done.
fn unknown() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "the outcome is not known").retry_after_ms(200)
}

fn stopped() -> Refusal {
    no_leader("the shard has stopped on this node").retry_after_ms(500)
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
            if_end,
            reply,
        } => Work::Delete(Deletion {
            project,
            topic,
            if_end,
            reply,
            forwarded: false,
            since: Instant::now(),
        }),
        WriteRequest::Reading { reading, reply } => Work::Read(MeterReading {
            reading,
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
            if_end,
            reply,
        } => Work::Delete(Deletion {
            project,
            topic,
            if_end,
            reply,
            forwarded: true,
            since: Instant::now(),
        }),
        Forwarded::Reading { reading, reply } => Work::Read(MeterReading {
            reading,
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
            Work::Read(reading) => reading.since,
        }
    }

    /// Spans for what is to be seen in traces.
    fn spans(&self, span: impl Fn(&Publish, &str) -> Span) -> Vec<Span> {
        match self {
            Work::Publish(batch) => batch.spans(span),
            Work::Delete(_) | Work::Read(_) => Vec::new(),
        }
    }

    fn refuse(self, refusal: &Refusal) {
        match self {
            Work::Publish(batch) => batch.refuse(refusal),
            // The caller may have gone.
            Work::Delete(deletion) => drop(deletion.reply.send(Err(refusal.clone()))),
            Work::Read(reading) => drop(reading.reply.send(Err(refusal.clone()))),
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
                Work::Delete(deletion).refuse(&refusal);
                None
            }
            Work::Read(reading) if reading.forwarded => {
                Work::Read(reading).refuse(&refusal);
                None
            }
            own => Some(own),
        }
    }

    fn finish(self, answer: Answer, slots: Option<Slots>) {
        match (self, answer, slots) {
            (Work::Publish(batch), Answer::Published(outcomes), Some(slots)) => {
                let ordered: Vec<Result<Published>> = slots.order(outcomes);
                batch.finish(ordered);
            }
            (Work::Delete(deletion), Answer::Deleted(existed), _) => {
                let _ = deletion.reply.send(existed);
            }
            (Work::Read(reading), Answer::Done, _) => drop(reading.reply.send(Ok(()))),
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

impl MeterReading {
    fn command(&self, now_ms: u64) -> wire::Command {
        let reading = wire::Reading {
            time_ms: now_ms,
            ..self.reading.clone()
        };
        wire::Command {
            command: Some(wire::command::Command::Reading(reading)),
        }
    }
}

impl Deletion {
    fn command(&self) -> wire::Command {
        let (if_next_offset_plus_one, if_topic_id_plus_one) = TopicEnd::to_wire(self.if_end);
        let delete = wire::DeleteTopic {
            project: self.project.as_bytes().to_vec().into(),
            topic: self.topic.to_string(),
            if_next_offset_plus_one,
            if_topic_id_plus_one,
        };
        wire::Command {
            command: Some(wire::command::Command::DeleteTopic(delete)),
        }
    }
}
