//! Reading all topics of a project that match some filters, by position in each of its shards.

use std::sync::Arc;

use futures_util::future::select_all;
use highwater_proto::names::TopicFilter;

use super::{CursorScope, RawGap, Step, cut_page, not_of_this_subscription};
use crate::{
    broker::Broker,
    catalogue::Project,
    cursor::{Cursor, FeedPosition},
    from::From,
    handle::{FeedSeek, GapReason, PageLimits, ReadRequest, ShardHandle},
    refusal::Result,
    segment::{Segment, Slice},
    tail::{Channel, TailRead, TailReader},
};

pub(super) struct FeedSource {
    project: Arc<Project>,
    filters: Arc<[TopicFilter]>,
    parts: Vec<Part>,
    /// The part that is asked first, so that a busy shard does not hide the others.
    turn: usize,
}

/// The place in one shard.
struct Part {
    shard: ShardHandle,
    tail: TailReader,
    /// The next position to look at.
    position: u64,
    /// Whether the tail may have that position; otherwise storage is read.
    near_tail: bool,
    /// While set, only retained records are wanted of what is before this position.
    retained_until: Option<u64>,
}

impl FeedSource {
    pub(super) async fn open(
        broker: &Broker,
        project: &Arc<Project>,
        filters: Arc<[TopicFilter]>,
        from: From,
    ) -> Result<FeedSource> {
        let cursor = match &from {
            From::Cursor(text) => match broker.cursors().open(project.id, text)? {
                Cursor::Feed(positions) => Some(positions),
                Cursor::Topic(_) => return Err(not_of_this_subscription()),
            },
            _ => None,
        };
        let mut shards = project.shards.clone();
        shards.sort();
        let mut parts = Vec::with_capacity(shards.len());
        for id in shards {
            let resume = match &cursor {
                None => None,
                Some(positions) => {
                    let known = positions.iter().find(|p| p.shard == id);
                    Some(*known.ok_or_else(not_of_this_subscription)?)
                }
            };
            let shard = broker.shard(id)?;
            parts.push(Part::open(shard, project, &filters, &from, resume).await?);
        }
        Ok(FeedSource {
            project: project.clone(),
            filters,
            parts,
            turn: 0,
        })
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor::Feed(self.positions())
    }

    fn positions(&self) -> Vec<FeedPosition> {
        self.parts.iter().map(Part::place).collect()
    }

    pub(super) async fn step(&mut self, limits: PageLimits, wait: bool) -> Result<Option<Step>> {
        let changed: Vec<_> = self
            .parts
            .iter()
            .map(|p| Box::pin(p.tail.changed()))
            .collect();
        for _ in 0..self.parts.len() {
            self.turn = (self.turn + 1) % self.parts.len();
            let part = &mut self.parts[self.turn];
            let retained_until = part.retained_until;
            if let Some(mut step) = part.step(&self.project, &self.filters, limits).await? {
                let mut positions = self.positions();
                if step.is_retained {
                    // Behind each of the records come the others, not what was published meanwhile.
                    positions[self.turn].retained_until = retained_until;
                }
                for gap in &mut step.gaps {
                    widen(&mut gap.requested, &positions);
                    widen(&mut gap.first_available, &positions);
                }
                step.cursors = match self.parts.len() {
                    1 if !step.is_retained => CursorScope::Shard,
                    _ => CursorScope::Shards(positions),
                };
                return Ok(Some(step));
            }
        }
        if !wait {
            return Ok(None);
        }
        select_all(changed).await;
        Ok(Some(Step::default()))
    }
}

/// Makes the place in one shard a place in all of them, so that a feed can go on from it.
fn widen(cursor: &mut Cursor, positions: &[FeedPosition]) {
    if let Cursor::Feed(known) = cursor {
        let mut all = positions.to_vec();
        for position in &mut all {
            if let Some(here) = known.iter().find(|k| k.shard == position.shard) {
                *position = *here;
            }
        }
        *known = all;
    }
}

impl Part {
    async fn open(
        shard: &ShardHandle,
        project: &Project,
        filters: &Arc<[TopicFilter]>,
        from: &From,
        resume: Option<FeedPosition>,
    ) -> Result<Part> {
        // The channel first: what is applied while we ask where to start is kept for us.
        let tail = shard.tail().open(Channel::Project(project.id));
        let frontier = shard.frontier().await?;
        let seek = |to| {
            shard.read(move |reply| ReadRequest::SeekFeed {
                project: project.id,
                filters: filters.clone(),
                to,
                reply,
            })
        };
        let position = match (from, resume) {
            (_, Some(known)) => known.next_position,
            (From::Earliest, _) => seek(FeedSeek::Earliest).await?,
            (From::Time(time_ms), _) => seek(FeedSeek::Time(*time_ms)).await?,
            (From::Last(n), _) => seek(FeedSeek::Last(*n)).await?,
            (From::Retained, _) => 0,
            (From::Latest | From::Cursor(_), _) => frontier,
        };
        let retained_until = match resume {
            Some(known) => known.retained_until,
            None => (*from == From::Retained).then_some(frontier),
        };
        Ok(Part {
            shard: shard.clone(),
            tail,
            position,
            near_tail: false,
            retained_until,
        })
    }

    fn place(&self) -> FeedPosition {
        self.place_at(self.position)
    }

    fn place_at(&self, next_position: u64) -> FeedPosition {
        FeedPosition {
            shard: self.shard.id(),
            next_position,
            retained_until: self.retained_until,
        }
    }

    /// What this shard has next; nothing when its end is reached. Reading storage has memory of its own, as a
    /// reader at the end needs none for it.
    async fn step(
        &mut self,
        project: &Project,
        filters: &Arc<[TopicFilter]>,
        limits: PageLimits,
    ) -> Result<Option<Step>> {
        if let Some(until) = self.retained_until {
            let reading = self.read_retained(project, filters, until, limits);
            return Box::pin(reading).await.map(Some);
        }
        if self.near_tail {
            match self.tail.read(self.position, limits.bytes) {
                TailRead::Records(segments, through) => {
                    return Ok(Some(self.take(segments, through, filters, limits)));
                }
                TailRead::End(end) => {
                    self.position = end;
                    return Ok(None);
                }
                TailRead::Lagging => {}
            }
        }
        let reading = self.read_storage(project, filters, limits);
        Box::pin(reading).await.map(Some)
    }

    async fn read_retained(
        &mut self,
        project: &Project,
        filters: &Arc<[TopicFilter]>,
        until: u64,
        limits: PageLimits,
    ) -> Result<Step> {
        let page = self
            .shard
            .read(|reply| ReadRequest::RetainedRecords {
                project: project.id,
                filters: filters.clone(),
                positions: (self.position, until),
                limits,
                reply,
            })
            .await?;
        self.position = page.next_position;
        if page.at_end {
            self.position = until;
            self.retained_until = None;
        }
        Ok(Step {
            slices: page.slices,
            is_retained: true,
            ..Step::default()
        })
    }

    async fn read_storage(
        &mut self,
        project: &Project,
        filters: &Arc<[TopicFilter]>,
        limits: PageLimits,
    ) -> Result<Step> {
        let page = self
            .shard
            .read(|reply| ReadRequest::ReadFeed {
                project: project.id,
                filters: filters.clone(),
                position: self.position,
                limits,
                reply,
            })
            .await?;
        let mut gaps = Vec::new();
        if let Some((requested, first_available)) = page.gap {
            gaps.push(RawGap {
                topic: None,
                requested: Cursor::Feed(vec![self.place_at(requested)]),
                first_available: Cursor::Feed(vec![self.place_at(first_available)]),
                reason: GapReason::Retention,
            });
        }
        gaps.extend(page.topic_gaps.into_iter().map(|gap| RawGap {
            topic: Some(gap.topic),
            requested: Cursor::Feed(vec![self.place_at(gap.positions.0)]),
            first_available: Cursor::Feed(vec![self.place_at(gap.positions.1)]),
            reason: gap.reason,
        }));
        self.position = page.next_position;
        self.near_tail = page.at_end;
        Ok(Step {
            gaps,
            slices: page.slices,
            ..Step::default()
        })
    }

    fn take(
        &mut self,
        segments: Vec<Arc<Segment>>,
        through: u64,
        filters: &[TopicFilter],
        limits: PageLimits,
    ) -> Step {
        let wanted = |s: &Arc<Segment>| filters.iter().any(|f| f.matches(s.topic.name.as_str()));
        let segments = segments.into_iter().filter(wanted);
        let mut slices: Vec<Slice> = segments
            .filter_map(|s| Slice::from_position(s, self.position))
            .collect();
        self.position = through;
        if let Some(cut) = cut_page(&mut slices, limits) {
            self.position = cut.end_position();
        }
        Step {
            slices,
            ..Step::default()
        }
    }
}
