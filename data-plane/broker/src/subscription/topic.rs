//! Reading one topic, by offset.

use std::sync::Arc;

use highwater_proto::{
    ErrorCode,
    ids::TopicId,
    names::{TopicFilter, TopicName},
};

use super::{CursorScope, RawGap, Step, cut_page, not_of_this_subscription};
use crate::{
    broker::Broker,
    catalogue::Project,
    cursor::{Cursor, NO_TOPIC, TopicCursor},
    from::From,
    handle::{GapReason, PageLimits, ReadRequest, ShardHandle},
    refusal::{Refusal, Result},
    segment::{Segment, Slice, TopicKey},
    tail::{Channel, TailRead, TailReader},
};

pub(super) struct TopicSource {
    shard: ShardHandle,
    project: Arc<Project>,
    topic: TopicName,
    /// The topic's number, once it exists.
    incarnation: Option<TopicId>,
    /// The next offset to deliver.
    offset: u64,
    /// The topic's retained record comes before that, if it is older.
    owes_retained: bool,
    /// The topic has nothing undelivered before this position of the shard; unknown while storage
    /// must be read.
    position: Option<u64>,
    tail: TailReader,
}

impl TopicSource {
    pub(super) async fn open(
        broker: &Broker,
        project: &Arc<Project>,
        topic: TopicName,
        from: From,
    ) -> Result<TopicSource> {
        let shard = broker.shard_of(project, &topic).clone();
        // The channel first: what is applied while we ask where to start is kept for us.
        let tail = shard
            .tail()
            .open(Channel::Topic(TopicKey::of(project.id, &topic)));
        shard.frontier().await?;
        let view = shard
            .read(|reply| ReadRequest::Topic {
                project: project.id,
                topic: topic.clone(),
                reply,
            })
            .await?;
        let (first, next) = view
            .as_ref()
            .map_or((0, 0), |v| (v.first_offset, v.next_offset));
        let mut incarnation = view.map(|v| v.id);
        let mut owes_retained = from == From::Retained;
        let offset = match from {
            From::Latest | From::Retained => next,
            From::Earliest => first,
            From::Last(n) => next.saturating_sub(n).max(first),
            From::Time(time_ms) => {
                let find = |reply| ReadRequest::TopicTime {
                    project: project.id,
                    topic: topic.clone(),
                    time_ms,
                    reply,
                };
                shard.read(find).await?
            }
            From::Cursor(text) => {
                let Cursor::Topic(cursor) = broker.cursors().open(project.id, &text)? else {
                    return Err(not_of_this_subscription());
                };
                if cursor.shard != shard.id() {
                    return Err(not_of_this_subscription());
                }
                if Some(cursor.topic) == incarnation && cursor.next_offset > next {
                    let message = "the cursor is ahead of the topic";
                    return Err(Refusal::new(ErrorCode::CursorInvalid, message));
                }
                if cursor.topic != NO_TOPIC {
                    incarnation = Some(cursor.topic);
                }
                owes_retained = cursor.owes_retained;
                cursor.next_offset + u64::from(cfg!(highwater_plant = "off-by-one-resume"))
            }
        };
        Ok(TopicSource {
            shard,
            project: project.clone(),
            topic,
            incarnation,
            offset,
            owes_retained,
            position: None,
            tail,
        })
    }

    /// From an offset on, as this node's replica has the topic: no other node is asked how far it is.
    pub(super) fn of_replica(
        broker: &Broker,
        project: &Arc<Project>,
        topic: TopicName,
        offset: u64,
    ) -> TopicSource {
        let shard = broker.shard_of(project, &topic).clone();
        let channel = Channel::Topic(TopicKey::of(project.id, &topic));
        TopicSource {
            tail: shard.tail().open(channel),
            shard,
            project: project.clone(),
            topic,
            incarnation: None,
            offset,
            owes_retained: false,
            position: None,
        }
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor::Topic(TopicCursor {
            owes_retained: self.owes_retained,
            ..self.cursor_at(self.incarnation, self.offset)
        })
    }

    fn cursor_at(&self, topic: Option<TopicId>, next_offset: u64) -> TopicCursor {
        TopicCursor {
            shard: self.shard.id(),
            topic: topic.unwrap_or(NO_TOPIC),
            next_offset,
            owes_retained: false,
        }
    }

    /// Reading storage has memory of its own, so that a reader at the end, as most are, holds none for it.
    pub(super) async fn step(&mut self, limits: PageLimits, wait: bool) -> Result<Option<Step>> {
        if self.owes_retained {
            return Box::pin(self.read_retained(limits)).await.map(Some);
        }
        let changed = self.tail.changed();
        let Some(position) = self.position else {
            return Box::pin(self.read_storage(limits)).await.map(Some);
        };
        match self.tail.read(position, limits.bytes) {
            TailRead::Records(segments, through) => Ok(Some(self.take(segments, through, limits))),
            TailRead::Lagging => Box::pin(self.read_storage(limits)).await.map(Some),
            TailRead::End(end) => {
                self.position = Some(end);
                if !wait {
                    return Ok(None);
                }
                changed.await;
                Ok(Some(Step::default()))
            }
        }
    }

    /// Reads the topic's retained record. One that was published since the subscription was opened comes
    /// with all that was, and one of a topic that was made since as well.
    async fn read_retained(&mut self, limits: PageLimits) -> Result<Step> {
        let filters: Arc<[TopicFilter]> = Arc::new([(&self.topic).into()]);
        let read = |reply| ReadRequest::RetainedRecords {
            project: self.project.id,
            filters,
            positions: (0, u64::MAX),
            limits,
            reply,
        };
        let page = self.shard.read(read).await?;
        self.owes_retained = false;
        let ours = |slice: &Slice| {
            let id = slice.segment.topic.id;
            self.incarnation == Some(id) && slice.end_offset() <= self.offset
        };
        Ok(Step {
            slices: page.slices.into_iter().filter(ours).collect(),
            cursors: CursorScope::Fixed(self.cursor_at(self.incarnation, self.offset)),
            is_retained: true,
            ..Step::default()
        })
    }

    async fn read_storage(&mut self, limits: PageLimits) -> Result<Step> {
        let read = |reply| ReadRequest::ReadTopic {
            project: self.project.id,
            topic: self.topic.clone(),
            incarnation: self.incarnation,
            offset: self.offset,
            limits,
            reply,
        };
        let page = self.shard.read(read).await?;
        let topic_is_gone = page.gap.as_ref().is_some_and(|gap| gap.id == NO_TOPIC);
        let gap = page.gap.map(|gap| RawGap {
            topic: Some(gap.topic),
            requested: self.cursor(),
            first_available: Cursor::Topic(self.cursor_at(Some(gap.id), gap.first_available)),
            reason: gap.reason,
        });
        // Told that its topic is gone, the reader waits for whatever gets the name next as one who
        // never knew it: it misses nothing of that, so there is nothing to tell again.
        self.incarnation = match topic_is_gone {
            true => None,
            false => page.topic.or(self.incarnation),
        };
        self.offset = page.next_offset;
        self.position = page.through;
        Ok(Step {
            gaps: gap.into_iter().collect(),
            slices: page.slices,
            cursors: CursorScope::Topic,
            is_retained: false,
        })
    }

    /// Takes what the tail has, which may hold other topics of the same key and records that were
    /// delivered from storage.
    fn take(&mut self, segments: Vec<Arc<Segment>>, through: u64, limits: PageLimits) -> Step {
        let mut step = Step::default();
        let ours =
            |s: &Arc<Segment>| s.topic.name == self.topic && s.topic.project == self.project.id;
        for segment in segments.into_iter().filter(ours) {
            let id = segment.topic.id;
            if self.incarnation != Some(id) {
                // The first record of a topic that was made, or made again, while we waited.
                if self.incarnation.is_some() {
                    step.gaps.push(RawGap {
                        topic: Some(self.topic.clone()),
                        requested: self.cursor(),
                        first_available: Cursor::Topic(self.cursor_at(Some(id), 0)),
                        reason: GapReason::Deleted,
                    });
                }
                self.incarnation = Some(id);
                self.offset = 0;
            }
            if let Some(slice) = Slice::from_offset(segment, self.offset) {
                assert_eq!(
                    slice.segment.base_offset + slice.start as u64,
                    self.offset,
                    "the tail of a topic has no holes"
                );
                self.offset = slice.end_offset();
                step.slices.push(slice);
            }
        }
        self.position = Some(through);
        if let Some(cut) = cut_page(&mut step.slices, limits) {
            self.offset = cut.end_offset();
            self.position = Some(cut.end_position());
        }
        step
    }
}
