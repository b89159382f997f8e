//! A reader of one topic, or of all topics that match some filters: history first, then live, with
//! no seam between them.
//!
//! A subscription holds positions and nothing else. It reads the tail while it is near the end and
//! storage while it is not; both answer in the same order and say through which position they have
//! looked, so going from one to the other neither skips nor repeats. It is pulled: whoever delivers
//! calls [`Subscription::next`] when its client has room.

mod feed;
mod topic;

use std::sync::Arc;

use futures_util::TryFutureExt;
use highwater_proto::{
    ErrorCode,
    ids::ShardId,
    limits::SUBSCRIPTION_TOPICS_MAX,
    names::{TopicFilter, TopicName},
};

use crate::{
    broker::Broker,
    catalogue::Project,
    cursor::{Cursor, FeedPosition, TopicCursor},
    from::From,
    handle::{GapReason, PageLimits},
    refusal::{Refusal, Result},
    segment::Slice,
};

/// Milliseconds since the Unix epoch, asked for when records are about to be delivered.
pub type Now<'a> = &'a (dyn Fn() -> u64 + Send + Sync);

/// A reader with its place.
pub struct Subscription {
    broker: Arc<Broker>,
    project: Arc<Project>,
    source: Source,
}

enum Source {
    Topic(topic::TopicSource),
    Feed(feed::FeedSource),
}

/// What a subscription has for its client: gaps first, then records.
#[derive(Debug, Default)]
pub struct Delivery {
    /// What was asked for and is gone.
    pub gaps: Vec<Gap>,
    /// Records, in order.
    pub slices: Vec<Slice>,
    /// How the cursors of these records are made.
    pub cursors: CursorScope,
    /// They are the retained records of their topics, which the subscription began with. Otherwise none
    /// is delivered because it is retained.
    pub is_retained: bool,
}

/// What the cursor of a delivered record is made of, beside the record itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CursorScope {
    /// The record's offset in its topic: the same text for every subscriber of the topic.
    #[default]
    Topic,
    /// The record's position in its shard: the same text for every subscriber of the project.
    Shard,
    /// The record's position in its shard and these of the others: this subscriber's own.
    Shards(Vec<FeedPosition>),
    /// This one, wherever the record is: what follows a topic's retained record stands elsewhere.
    Fixed(TopicCursor),
}

/// Data that was asked for and is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The topic that lost records, or none when all of the subscription did.
    pub topic: Option<TopicName>,
    /// The cursor of what was asked for.
    pub requested: String,
    /// The first cursor that can be served.
    pub first_available: String,
    /// Why.
    pub reason: GapReason,
}

impl Subscription {
    /// Opens a subscription. When this returns it is live: everything acknowledged from now on,
    /// anywhere in the cluster, will be delivered.
    ///
    /// # Errors
    /// `invalid_request` for no or too many filters; `cursor_invalid` or `cursor_foreign` for a
    /// cursor that is not of this subscription; `unavailable` without a quorum.
    pub async fn open(
        broker: Arc<Broker>,
        project: Arc<Project>,
        filters: Vec<TopicFilter>,
        from: From,
    ) -> Result<Subscription> {
        let source = match filters.as_slice() {
            [] => {
                let message = "a subscription names at least one topic";
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            many if many.len() > SUBSCRIPTION_TOPICS_MAX => {
                let message = "a subscription names at most 256 topics";
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            [one] if one.as_topic().is_some() => {
                let topic = one.as_topic().expect("checked in the pattern");
                Source::Topic(topic::TopicSource::open(&broker, &project, topic, from).await?)
            }
            _ => {
                Source::Feed(feed::FeedSource::open(&broker, &project, filters.into(), from).await?)
            }
        };
        Ok(Subscription {
            broker,
            project,
            source,
        })
    }

    /// Opens a subscription whose places are positions of the shards, even if it names one topic.
    ///
    /// # Errors
    /// Those of [`Subscription::open`].
    pub async fn open_feed(
        broker: Arc<Broker>,
        project: Arc<Project>,
        filters: Arc<[TopicFilter]>,
        from: From,
    ) -> Result<Subscription> {
        let source = feed::FeedSource::open(&broker, &project, filters, from).await?;
        Ok(Subscription {
            broker,
            project,
            source: Source::Feed(source),
        })
    }

    /// Reads a topic from an offset on as this node's replica has it, whether or not there is a quorum. Who
    /// needs all that was acknowledged before waits for the shard's frontier first.
    pub fn of_replica(
        broker: Arc<Broker>,
        project: Arc<Project>,
        topic: TopicName,
        offset: u64,
    ) -> Subscription {
        let source = topic::TopicSource::of_replica(&broker, &project, topic, offset);
        Subscription {
            broker,
            project,
            source: Source::Topic(source),
        }
    }

    /// The cursor of what comes next.
    pub fn cursor(&self) -> String {
        self.broker
            .cursors()
            .seal(self.project.id, &self.position())
    }

    /// What comes next.
    pub fn position(&self) -> Cursor {
        match &self.source {
            Source::Topic(source) => source.cursor(),
            Source::Feed(source) => source.cursor(),
        }
    }

    /// Waits for the next records or gaps.
    pub fn next(
        &mut self,
        limits: PageLimits,
        now: Now<'_>,
    ) -> impl Future<Output = Result<Delivery>> {
        let waiting = self.advance(limits, now, true);
        waiting.map_ok(|delivery| delivery.expect("waits until there is something"))
    }

    /// The next records or gaps, or nothing at the end of what there is.
    pub async fn try_next(&mut self, limits: PageLimits, now: Now<'_>) -> Result<Option<Delivery>> {
        self.advance(limits, now, false).await
    }

    /// Reads on until there is something to deliver. At the end it waits for more, or returns
    /// nothing.
    async fn advance(
        &mut self,
        limits: PageLimits,
        now: Now<'_>,
        wait: bool,
    ) -> Result<Option<Delivery>> {
        loop {
            let step = match &mut self.source {
                Source::Topic(source) => source.step(limits, wait).await?,
                Source::Feed(source) => source.step(limits, wait).await?,
            };
            let Some(step) = step else {
                return Ok(None);
            };
            let now_ms = now();
            let unexpired = step.slices.into_iter().flat_map(|s| s.unexpired(now_ms));
            let delivery = Delivery {
                slices: unexpired.collect(),
                gaps: step
                    .gaps
                    .into_iter()
                    .map(|gap| self.seal_gap(gap))
                    .collect(),
                cursors: step.cursors,
                is_retained: step.is_retained,
            };
            if !delivery.slices.is_empty() || !delivery.gaps.is_empty() {
                return Ok(Some(delivery));
            }
        }
    }

    /// The cursor after record `index` of a slice's segment.
    pub fn record_cursor(&self, scope: &CursorScope, slice: &Slice, index: usize) -> String {
        record_cursor(
            &self.broker,
            &self.project,
            self.shard_of(slice),
            scope,
            slice,
            index,
        )
    }

    /// The shard a slice was read from.
    pub fn shard_of(&self, slice: &Slice) -> ShardId {
        self.project.shard_of(&slice.segment.topic.name)
    }

    fn seal_gap(&self, gap: RawGap) -> Gap {
        let seal = |cursor: &Cursor| self.broker.cursors().seal(self.project.id, cursor);
        Gap {
            requested: seal(&gap.requested),
            first_available: seal(&gap.first_available),
            topic: gap.topic,
            reason: gap.reason,
        }
    }
}

/// The cursor after record `index` of a slice's segment, read from `shard`.
pub fn record_cursor(
    broker: &Broker,
    project: &Project,
    shard: ShardId,
    scope: &CursorScope,
    slice: &Slice,
    index: usize,
) -> String {
    let segment = &slice.segment;
    let next_position = segment.base_position + index as u64 + 1;
    match scope {
        CursorScope::Topic => {
            let cursor = TopicCursor {
                shard,
                topic: segment.topic.id,
                next_offset: segment.base_offset + index as u64 + 1,
                owes_retained: false,
            };
            broker.cursors().seal_topic(project.id, cursor)
        }
        CursorScope::Shard => {
            let here = FeedPosition {
                shard,
                next_position,
                retained_until: None,
            };
            broker.cursors().seal_feed(project.id, &[here])
        }
        CursorScope::Shards(others) => {
            let mut positions = others.clone();
            for position in positions.iter_mut().filter(|p| p.shard == shard) {
                position.next_position = next_position;
            }
            broker.cursors().seal_feed(project.id, &positions)
        }
        CursorScope::Fixed(cursor) => broker.cursors().seal_topic(project.id, *cursor),
    }
}

/// What one step of a source found. Possibly nothing that is worth delivering.
#[derive(Default)]
struct Step {
    gaps: Vec<RawGap>,
    slices: Vec<Slice>,
    cursors: CursorScope,
    is_retained: bool,
}

/// A gap whose cursors are not sealed yet.
struct RawGap {
    topic: Option<TopicName>,
    requested: Cursor,
    first_available: Cursor,
    reason: GapReason,
}

fn not_of_this_subscription() -> Refusal {
    Refusal::new(
        ErrorCode::CursorForeign,
        "the cursor belongs to another topic or set of filters",
    )
}

/// Cuts slices to the limits. Returns the slice that was cut, whose rest must be read again.
fn cut_page(slices: &mut Vec<Slice>, limits: PageLimits) -> Option<Slice> {
    let (mut records, mut bytes) = (limits.records.max(1), limits.bytes);
    for at in 0..slices.len() {
        if at > 0 && (records == 0 || bytes == 0) {
            let mut first_left = slices[at].clone();
            first_left.end = first_left.start;
            slices.truncate(at);
            return Some(first_left);
        }
        let slice = &mut slices[at];
        if slice.cut(records, bytes) {
            let cut = slice.clone();
            slices.truncate(at + 1);
            return Some(cut);
        }
        records = records.saturating_sub(slice.count());
        bytes = bytes.saturating_sub(slice.bytes());
    }
    None
}

#[cfg(test)]
mod tests;
