//! The seam between those who ask and the shard that answers: two bounded queues and the tail.
//!
//! A [`ShardHandle`] is the same thing whether the shard's leader is in this process, on another
//! node or made up by a test: whoever holds the other ends of the queues decides. Batching is just
//! draining the write queue.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use highwater_proto::{
    ErrorCode, cluster as wire,
    ids::{ProjectId, ShardId, TopicId},
    limits::{SHARD_QUEUE_BYTES_MAX, SHARD_QUEUE_MAX},
    names::{TopicFilter, TopicName},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{
    metering::{Hour, Protocol},
    refusal::{Refusal, Result},
    segment::Slice,
    tail::Tail,
};

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T>>;

/// A publish that was checked, ready to be proposed.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// The project of the publisher's credential.
    pub project: ProjectId,
    /// The topic.
    pub topic: TopicName,
    /// The encoded `highwater.client.v1.Message`, stored as it is.
    pub message: Bytes,
    /// Hash of the idempotency key.
    pub idempotency: Option<[u8; 16]>,
    /// Hash of the compaction key.
    pub key: Option<[u8; 16]>,
    /// Append only if the topic ends here.
    pub if_end: Option<TopicEnd>,
    /// How the topic is kept.
    pub policy: TopicPolicy,
    /// What becomes of the topic's retained record.
    pub retain: Retain,
    /// Append it only if the one before it in the same request is appended. The condition of a whole request
    /// is its first publish's; topics of one shard that are written like this are always written in the same
    /// order.
    pub with_previous: bool,
    /// Over which protocol it came, for the project's bill.
    pub protocol: Protocol,
}

impl Publish {
    /// The publish without its topic, as it is proposed, with the number of its group in the proposal.
    pub fn to_wire(&self, group: u32) -> wire::Publish {
        let hash = |hash: &Option<[u8; 16]>| match hash {
            Some(hash) => Bytes::copy_from_slice(hash),
            None => Bytes::new(),
        };
        let (if_next_offset_plus_one, if_topic_id_plus_one) = TopicEnd::to_wire(self.if_end);
        wire::Publish {
            message: self.message.clone(),
            idempotency: hash(&self.idempotency),
            key: hash(&self.key),
            if_next_offset_plus_one,
            if_topic_id_plus_one,
            retain: self.retain.to_wire().into(),
            group,
            protocol: self.protocol.into(),
        }
    }

    /// The numbers of the groups that publishes form by [`Publish::with_previous`], in their order; 0 for
    /// one on its own.
    pub fn groups(publishes: &[Publish]) -> impl Iterator<Item = u32> {
        let mut group = 0;
        publishes.iter().enumerate().map(move |(at, publish)| {
            let continues = publish.with_previous && at > 0;
            let has_more = publishes.get(at + 1).is_some_and(|next| next.with_previous);
            if has_more && !continues {
                group += 1;
            }
            if continues || has_more { group } else { 0 }
        })
    }
}

/// What a publish does to the topic's retained record, which is what readers of what is retained begin
/// with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retain {
    /// Nothing.
    #[default]
    Unchanged,
    /// The published record is the retained one.
    Set,
    /// The topic has none.
    Clear,
}

impl Retain {
    /// As it is proposed.
    pub fn to_wire(self) -> wire::Retain {
        match self {
            Retain::Unchanged => wire::Retain::Unchanged,
            Retain::Set => wire::Retain::Set,
            Retain::Clear => wire::Retain::Clear,
        }
    }

    /// Reads [`Retain::to_wire`]; nothing for a number that this release does not know.
    pub fn from_wire(number: i32) -> Option<Retain> {
        match wire::Retain::try_from(number).ok()? {
            wire::Retain::Unchanged => Some(Retain::Unchanged),
            wire::Retain::Set => Some(Retain::Set),
            wire::Retain::Clear => Some(Retain::Clear),
        }
    }
}

/// The end of a topic, as a publisher knows it: what a conditional publish depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicEnd {
    /// The topic's number, or nothing for whichever has the name.
    pub topic: Option<TopicId>,
    /// The offset the record will get.
    pub next_offset: u64,
}

impl TopicEnd {
    /// The condition as it is proposed: the offset and the topic's number, each plus one, or 0.
    pub fn to_wire(end: Option<TopicEnd>) -> (u64, u64) {
        let topic = end.and_then(|end| end.topic);
        (
            end.map_or(0, |end| end.next_offset.saturating_add(1)),
            topic.map_or(0, |topic| topic.0.saturating_add(1)),
        )
    }

    /// Reads [`TopicEnd::to_wire`].
    pub fn from_wire((next_offset_plus_one, topic_plus_one): (u64, u64)) -> Option<TopicEnd> {
        Some(TopicEnd {
            next_offset: next_offset_plus_one.checked_sub(1)?,
            topic: topic_plus_one.checked_sub(1).map(TopicId),
        })
    }
}

/// The part of a topic's policy that changes what is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct TopicPolicy {
    /// Keep only the newest record of each key, and of the records without one.
    pub last_value: bool,
    /// Refuse the publish rather than create the topic.
    pub must_exist: bool,
    /// Topics that the project may have in the shard.
    pub topics_max: Option<u64>,
    /// Bytes of messages that the project may have in the shard.
    pub stored_bytes_max: Option<u64>,
}

impl TopicPolicy {
    /// As it is proposed: limits plus one, or 0 without one.
    pub fn to_wire(self) -> wire::TopicPolicy {
        let plus_one = |limit: Option<u64>| limit.map_or(0, |limit| limit.saturating_add(1));
        wire::TopicPolicy {
            last_value: self.last_value,
            must_exist: self.must_exist,
            topics_max_plus_one: plus_one(self.topics_max),
            stored_bytes_max_plus_one: plus_one(self.stored_bytes_max),
        }
    }

    /// Reads [`TopicPolicy::to_wire`].
    pub fn from_wire(policy: &wire::TopicPolicy) -> TopicPolicy {
        TopicPolicy {
            last_value: policy.last_value,
            must_exist: policy.must_exist,
            topics_max: policy.topics_max_plus_one.checked_sub(1),
            stored_bytes_max: policy.stored_bytes_max_plus_one.checked_sub(1),
        }
    }
}

/// Where a publish ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The topic's number in its shard.
    pub topic: TopicId,
    /// The record's offset.
    pub offset: u64,
    /// Whether it is the result of an earlier publish with the same idempotency key.
    pub duplicate: bool,
}

/// What changes a shard.
#[derive(Debug)]
pub enum WriteRequest {
    /// Append these, in order. Each is refused or appended on its own.
    Publish {
        /// What to append.
        publishes: Vec<Publish>,
        /// Gets one outcome for each, in order, once it is durable on a majority.
        reply: Reply<Vec<Result<Published>>>,
        /// Frees the queue's bytes when the request is done.
        permit: OwnedSemaphorePermit,
    },
    /// Remove a topic with all its records. Answers whether there was one.
    DeleteTopic {
        /// The project of the caller's credential.
        project: ProjectId,
        /// The topic.
        topic: TopicName,
        /// Only if the topic ends here.
        if_end: Option<TopicEnd>,
        /// Gets the answer once it is durable on a majority.
        reply: Reply<bool>,
    },
    /// Take down what a node has counted, once.
    Reading {
        /// What it has counted.
        reading: wire::Reading,
        /// Gets told once it is durable on a majority.
        reply: Reply<()>,
    },
}

/// What reads a shard. Answers come from this node's replica.
#[derive(Debug)]
pub enum ReadRequest {
    /// Wait until this replica has applied everything that was acknowledged before now anywhere in
    /// the cluster (Raft's read index), and say how far that is.
    Frontier {
        /// Gets the position after the last record.
        reply: Reply<u64>,
    },
    /// Describe a topic, as this replica has applied it.
    Topic {
        /// The project.
        project: ProjectId,
        /// The topic.
        topic: TopicName,
        /// Gets the description, or nothing for a topic that does not exist.
        reply: Reply<Option<TopicView>>,
    },
    /// List the topics of a project by name.
    Topics {
        /// The project.
        project: ProjectId,
        /// Only topics that match one of these.
        filters: Arc<[TopicFilter]>,
        /// Only topics after this one.
        after: Option<TopicName>,
        /// At most this many.
        limit: usize,
        /// Gets the topics in ascending order of their names.
        reply: Reply<Vec<TopicView>>,
    },
    /// Find the first offset of a topic published at or after a time.
    TopicTime {
        /// The project.
        project: ProjectId,
        /// The topic.
        topic: TopicName,
        /// In milliseconds since the Unix epoch.
        time_ms: u64,
        /// Gets the offset, which is the next one when all records are older.
        reply: Reply<u64>,
    },
    /// Read records of one topic from storage.
    ReadTopic {
        /// The project.
        project: ProjectId,
        /// The topic.
        topic: TopicName,
        /// The topic's number if the reader knows it: after a deletion the name means another topic.
        incarnation: Option<TopicId>,
        /// The first offset wanted.
        offset: u64,
        /// How much to read.
        limits: PageLimits,
        /// Gets the records.
        reply: Reply<TopicPage>,
    },
    /// Read records of all topics of a project that match one of the filters, in the shard's order.
    ReadFeed {
        /// The project.
        project: ProjectId,
        /// The filters.
        filters: Arc<[TopicFilter]>,
        /// The first position wanted.
        position: u64,
        /// How much to read.
        limits: PageLimits,
        /// Gets the records.
        reply: Reply<FeedPage>,
    },
    /// Find a position of the feed: where its first record is, by time, or so many records from its end.
    SeekFeed {
        /// The project.
        project: ProjectId,
        /// Only records of topics that match one of these are counted.
        filters: Arc<[TopicFilter]>,
        /// What to find.
        to: FeedSeek,
        /// Gets the position.
        reply: Reply<u64>,
    },
    /// Read the retained record of each topic that matches one of the filters and has one.
    RetainedRecords {
        /// The project.
        project: ProjectId,
        /// The filters.
        filters: Arc<[TopicFilter]>,
        /// Only records at these positions of the shard, from the first to before the second.
        positions: (u64, u64),
        /// How much to read.
        limits: PageLimits,
        /// Gets the records in order of their positions.
        reply: Reply<RetainedPage>,
    },
    /// Read what a project has used, as far as this shard knows.
    Usage {
        /// The project.
        project: ProjectId,
        /// Hours since the Unix epoch.
        hours: Range<u64>,
        /// Gets those in which anything has changed, in their order, and before them the last one that was earlier.
        reply: Reply<Vec<Hour>>,
    },
}

/// Where in a project's feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedSeek {
    /// At the first record that is retained.
    Earliest,
    /// At the first record published at or after this time, in milliseconds since the Unix epoch.
    Time(u64),
    /// So many matching records before the end.
    Last(u64),
}

/// How much one read may return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// Records, at most.
    pub records: usize,
    /// Bytes of messages at which the page is closed; a single record may exceed it.
    pub bytes: usize,
}

/// A topic, as it is at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicView {
    /// Its name.
    pub name: TopicName,
    /// Its number in the shard.
    pub id: TopicId,
    /// The oldest offset that is retained.
    pub first_offset: u64,
    /// The offset the next record will get.
    pub next_offset: u64,
    /// Bytes of the retained messages.
    pub bytes: u64,
}

/// Records of one topic.
#[derive(Debug, Clone)]
pub struct TopicPage {
    /// The topic they are of, when it exists.
    pub topic: Option<TopicId>,
    /// The records, in order.
    pub slices: Vec<Slice>,
    /// The offset after the last record, where the next read goes on.
    pub next_offset: u64,
    /// Set when the end of the topic was reached: there is nothing more of it before this position
    /// of the shard, so the tail can be read from there.
    pub through: Option<u64>,
    /// What was asked for and is gone.
    pub gap: Option<TopicGap>,
}

/// Offsets that were asked for and are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicGap {
    /// The topic.
    pub topic: TopicName,
    /// The topic's number: of the one that exists now, if the one asked for was deleted.
    pub id: TopicId,
    /// The offset asked for.
    pub requested: u64,
    /// The first that there is.
    pub first_available: u64,
    /// Why.
    pub reason: GapReason,
}

/// Why data is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// It outlived the topic's retention.
    Retention,
    /// The topic was deleted, and perhaps made anew.
    Deleted,
}

impl GapReason {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            GapReason::Retention => "retention",
            GapReason::Deleted => "deleted",
        }
    }
}

/// Records of a project's feed.
#[derive(Debug, Clone)]
pub struct FeedPage {
    /// The records, in the shard's order.
    pub slices: Vec<Slice>,
    /// The position after what was looked at, where the next read goes on.
    pub next_position: u64,
    /// Whether `next_position` is the end of what this replica has applied.
    pub at_end: bool,
    /// The page begins after positions that are gone: the one asked for, and the first available.
    pub gap: Option<(u64, u64)>,
    /// Topics that have lost records, all of them before the first record of the page.
    pub topic_gaps: Vec<FeedGap>,
}

/// A topic's part in a feed that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedGap {
    /// The topic.
    pub topic: TopicName,
    /// Positions that are gone: the first of them, and the one after the last. The feed goes on from
    /// there.
    pub positions: (u64, u64),
    /// Why.
    pub reason: GapReason,
}

/// The retained records of some topics.
#[derive(Debug, Clone)]
pub struct RetainedPage {
    /// One record each, in order of their positions.
    pub slices: Vec<Slice>,
    /// The position after the last of them, where the next read goes on.
    pub next_position: u64,
    /// Whether no other matching topic's retained record lies in the positions asked for.
    pub at_end: bool,
}

/// How to reach one shard.
#[derive(Debug, Clone)]
pub struct ShardHandle {
    id: ShardId,
    writes: mpsc::Sender<WriteRequest>,
    reads: mpsc::Sender<ReadRequest>,
    bytes: Arc<Semaphore>,
    tail: Arc<Tail>,
}

/// The other end of a [`ShardHandle`]: what the shard's task drains.
#[derive(Debug)]
pub struct ShardQueues {
    /// Requests that change the shard.
    pub writes: mpsc::Receiver<WriteRequest>,
    /// Requests that read it.
    pub reads: mpsc::Receiver<ReadRequest>,
}

impl ShardHandle {
    /// A handle and the queues behind it. `tail` is fed by whoever applies the shard's log.
    pub fn new(id: ShardId, tail: Arc<Tail>) -> (ShardHandle, ShardQueues) {
        let (writes_tx, writes) = mpsc::channel(SHARD_QUEUE_MAX);
        let (reads_tx, reads) = mpsc::channel(SHARD_QUEUE_MAX);
        let handle = ShardHandle {
            id,
            writes: writes_tx,
            reads: reads_tx,
            bytes: Arc::new(Semaphore::new(SHARD_QUEUE_BYTES_MAX)),
            tail,
        };
        (handle, ShardQueues { writes, reads })
    }

    /// The shard.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Requests that change the shard and wait in its queue.
    pub fn waiting_writes(&self) -> usize {
        self.writes.max_capacity() - self.writes.capacity()
    }

    /// The newest records of the shard.
    pub fn tail(&self) -> &Arc<Tail> {
        &self.tail
    }

    /// Queues publishes at once. The outcomes come in order, when each is durable on a majority.
    ///
    /// # Errors
    /// `overloaded` when the queue is full, `draining` when the shard has stopped; nothing was written.
    pub fn try_publish(
        &self,
        publishes: Vec<Publish>,
    ) -> Result<oneshot::Receiver<Result<Vec<Result<Published>>>>> {
        let bytes = queue_bytes(&publishes);
        let permit = self
            .bytes
            .clone()
            .try_acquire_many_owned(bytes)
            .map_err(|_| overloaded())?;
        let (reply, outcome) = oneshot::channel();
        let request = WriteRequest::Publish {
            publishes,
            reply,
            permit,
        };
        match self.writes.try_send(request) {
            Ok(()) => Ok(outcome),
            Err(mpsc::error::TrySendError::Full(_)) => Err(overloaded()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(stopped()),
        }
    }

    /// Queues publishes, waiting for room. The outcomes come in order, when each is durable on a
    /// majority.
    ///
    /// # Errors
    /// `draining` when the shard has stopped; nothing was written.
    pub async fn publish(
        &self,
        publishes: Vec<Publish>,
    ) -> Result<oneshot::Receiver<Result<Vec<Result<Published>>>>> {
        let bytes = queue_bytes(&publishes);
        let acquired = self.bytes.clone().acquire_many_owned(bytes).await;
        let permit = acquired.map_err(|_| stopped())?;
        let (reply, outcome) = oneshot::channel();
        let request = WriteRequest::Publish {
            publishes,
            reply,
            permit,
        };
        self.writes.send(request).await.map_err(|_| stopped())?;
        Ok(outcome)
    }

    /// Publishes, waiting for room, and waits until all of it is durable on a majority. Says where each is.
    ///
    /// # Errors
    /// The first refusal. What it says of side effects is about all of them.
    pub async fn append(&self, publishes: Vec<Publish>) -> Result<Vec<Published>> {
        let outcome = self.publish(publishes).await?;
        let outcomes = outcome.await.map_err(|_| interrupted())??;
        outcomes.into_iter().collect()
    }

    /// Removes a topic with all its records; says whether there was one.
    ///
    /// # Errors
    /// `precondition_failed` when the topic does not end where `if_end` says.
    pub async fn delete_topic(
        &self,
        project: ProjectId,
        topic: TopicName,
        if_end: Option<TopicEnd>,
    ) -> Result<bool> {
        let (reply, answer) = oneshot::channel();
        let request = WriteRequest::DeleteTopic {
            project,
            topic,
            if_end,
            reply,
        };
        self.writes.send(request).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| interrupted())?
    }

    /// Has what a node has counted taken down; what was taken before is not taken again.
    ///
    /// # Errors
    /// Why it was not, or that nobody knows: it may be sent again as it is.
    pub async fn take_reading(&self, reading: wire::Reading) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let request = WriteRequest::Reading { reading, reply };
        self.writes.send(request).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| interrupted())?
    }

    /// Asks for a read: `make` puts the reply into the request.
    pub async fn read<T>(&self, make: impl FnOnce(Reply<T>) -> ReadRequest) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.reads.send(make(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Waits until this replica has everything that was acknowledged before now, anywhere in the
    /// cluster. Returns the position after it.
    pub async fn frontier(&self) -> Result<u64> {
        self.read(|reply| ReadRequest::Frontier { reply }).await
    }
}

fn queue_bytes(publishes: &[Publish]) -> u32 {
    let bytes: usize = publishes.iter().map(|p| p.message.len() + 64).sum();
    bytes.min(SHARD_QUEUE_BYTES_MAX) as u32
}

fn overloaded() -> Refusal {
    Refusal::new(ErrorCode::Overloaded, "the shard's queue is full").retry_after_ms(100)
}

fn stopped() -> Refusal {
    Refusal::new(ErrorCode::Draining, "the shard has stopped on this node").retry_after_ms(100)
}

/// What a publisher is told whose outcome never came: it may or may not be in the log.
pub fn interrupted() -> Refusal {
    Refusal::new(
        ErrorCode::Unavailable,
        "the shard stopped before the outcome was known",
    )
    .retry_after_ms(100)
}
