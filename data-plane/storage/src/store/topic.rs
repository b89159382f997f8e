//! Reading one topic.

use std::sync::Arc;

use highwater_broker::{
    Refusal,
    cursor::NO_TOPIC,
    handle::{GapReason, PageLimits, TopicGap, TopicPage},
    segment::{Segment, TopicIdentity},
    state::Topic,
};
use highwater_proto::{
    ErrorCode,
    ids::{ProjectId, TopicId},
    names::TopicName,
};

use super::{
    ReadError, ShardStore, StoreError, disk_topic::DiskTopic, page::PageBuilder, shard::Inner,
};

/// A topic that was asked for, at one moment.
struct Look<'a> {
    /// What was asked for and is gone.
    gap: Option<TopicGap>,
    /// The position after everything the shard had applied.
    next_position: u64,
    /// The topic, if there is one of that name.
    found: Option<(Found, Place<'a>)>,
}

struct Found {
    identity: Arc<TopicIdentity>,
    next_offset: u64,
    sparse: bool,
}

/// Where the records are that come next.
enum Place<'a> {
    /// In the store, up to this offset.
    Disk(DiskTopic<'a>, u64),
    /// In memory.
    Memory(Vec<Arc<Segment>>),
}

impl ShardStore {
    /// Reads records of a topic from an offset on.
    ///
    /// `incarnation` is the number of the topic the offset is of. If that topic was deleted, the page
    /// has a gap and begins with the one that has the name now; if there is none, the gap's topic is
    /// [`NO_TOPIC`], and a reader that goes on from there is told nothing twice.
    ///
    /// # Errors
    /// `cursor_foreign` for the incarnation of another topic, `cursor_invalid` for one that never was
    /// or an offset after the end; a [`StoreError`] when the disk has not what it should.
    pub fn read_topic(
        &self,
        project: ProjectId,
        name: &TopicName,
        incarnation: Option<TopicId>,
        offset: u64,
        limits: PageLimits,
    ) -> Result<TopicPage, ReadError> {
        let mut incarnation = incarnation.filter(|id| *id != NO_TOPIC);
        let (mut offset, mut gap) = (offset, None::<TopicGap>);
        let mut page = PageBuilder::new(limits);
        let page = loop {
            let look = self.look(project, name, incarnation, offset, limits.records)?;
            if look.gap.is_some() && !page.is_empty() {
                // Trimmed or deleted since the last look. The next page begins with that.
                break (incarnation, None, page);
            }
            if let Some(told) = look.gap {
                offset = told.first_available;
                let requested = gap.map_or(told.requested, |before| before.requested);
                gap = Some(TopicGap { requested, ..told });
            }
            let Some((found, place)) = look.found else {
                offset = 0;
                break (None, Some(look.next_position), page);
            };
            incarnation = Some(found.identity.id);
            offset = offset.min(found.next_offset);
            offset = match place {
                Place::Disk(disk, end) => read_disk(disk, &found, offset, end, &mut page)?,
                Place::Memory(segments) => read_memory(&segments, offset, &mut page),
            };
            let at_end = offset >= found.next_offset;
            if at_end || page.is_full() {
                break (incarnation, at_end.then_some(look.next_position), page);
            }
        };
        let (topic, through, page) = page;
        Ok(TopicPage {
            topic,
            slices: page.finish(),
            next_offset: offset,
            through,
            gap,
        })
    }

    /// Whether [`ShardStore::read_topic`] would find nothing, as there is no more yet: it needs no disk to say so.
    pub fn is_at_end(
        &self,
        project: ProjectId,
        name: &TopicName,
        incarnation: Option<TopicId>,
        offset: u64,
    ) -> bool {
        let asked_for = incarnation.filter(|id| *id != NO_TOPIC);
        let inner = self.inner.read();
        inner.state.named(project, name).is_none_or(|topic| {
            let is_it = asked_for.is_none_or(|id| id == topic.identity.id);
            is_it && offset >= topic.next_offset
        })
    }

    fn look(
        &self,
        project: ProjectId,
        name: &TopicName,
        incarnation: Option<TopicId>,
        offset: u64,
        records_max: usize,
    ) -> Result<Look<'_>, Refusal> {
        let inner = self.inner.read();
        let (topic, gap) = inner.start(project, name, incarnation, offset)?;
        let from = gap.as_ref().map_or(offset, |gap| gap.first_available);
        let found = topic.map(|topic| {
            let found = Found {
                identity: topic.identity.clone(),
                next_offset: topic.next_offset,
                sparse: inner.sparse.contains(&topic.identity.id),
            };
            (found, self.place(&inner, topic, from, records_max))
        });
        Ok(Look {
            gap,
            next_position: inner.state.next_position(),
            found,
        })
    }

    /// Finds the first offset of a topic published at or after a time; the next offset when all are
    /// older, 0 when there is no such topic.
    pub fn topic_time(
        &self,
        project: ProjectId,
        name: &TopicName,
        time_ms: u64,
    ) -> Result<u64, StoreError> {
        let (first_offset, end, mut disk) = {
            let inner = self.inner.read();
            let Some(topic) = inner.state.named(project, name) else {
                return Ok(0);
            };
            let first_offset = topic.first_offset;
            if topic.time_ms < time_ms {
                return Ok(topic.next_offset);
            }
            let id = topic.identity.id;
            let first = inner.pending_of(id).next();
            let end = first.map_or(topic.next_offset, |s| s.base_offset);
            if first.is_some_and(|s| s.time_ms < time_ms) || end <= first_offset {
                let found = inner.pending_of(id).find(|s| s.time_ms >= time_ms);
                let found = found.map_or(topic.next_offset, |s| s.base_offset);
                return Ok(found.max(first_offset));
            }
            (
                first_offset,
                end,
                DiskTopic::open(&self.shared, inner.prefix, id),
            )
        };
        let older = |b: &crate::block::Block| b.header().first_time_ms < time_ms;
        let found = disk.last_where(first_offset, end, older)?;
        let found = found.map_or(first_offset, |block| block.offset_at_time(time_ms));
        Ok(found.clamp(first_offset, end))
    }

    fn place<'a>(
        &'a self,
        inner: &Inner,
        topic: &Topic,
        offset: u64,
        records_max: usize,
    ) -> Place<'a> {
        let id = topic.identity.id;
        let first = inner.pending_of(id).next();
        let end = first.map_or(topic.next_offset, |s| s.base_offset);
        if offset < end {
            return Place::Disk(DiskTopic::open(&self.shared, inner.prefix, id), end);
        }
        let tables = inner.tables().map(|table| table.topic(id));
        let from = tables.flat_map(|segments| {
            let first = segments.partition_point(|s| s.end_offset() <= offset);
            segments[first..].iter()
        });
        Place::Memory(from.take(records_max.max(1)).cloned().collect())
    }
}

impl Inner {
    /// The topic that has the name now, and what is gone of what was asked for.
    fn start(
        &self,
        project: ProjectId,
        name: &TopicName,
        incarnation: Option<TopicId>,
        offset: u64,
    ) -> Result<(Option<&Topic>, Option<TopicGap>), Refusal> {
        let topic = self.state.named(project, name);
        let id = topic.map(|t| t.identity.id);
        let gap = |id, first_available, reason| TopicGap {
            topic: name.clone(),
            id,
            requested: offset,
            first_available,
            reason,
        };
        if let Some(wanted) = incarnation.filter(|wanted| Some(*wanted) != id) {
            if self.state.topic(wanted).is_some() {
                let message = "the cursor belongs to another topic";
                return Err(Refusal::new(ErrorCode::CursorForeign, message));
            }
            if wanted.0 >= self.state.counters().next_topic {
                let message = "the cursor names a topic that never was";
                return Err(Refusal::new(ErrorCode::CursorInvalid, message));
            }
            let told = match topic {
                None => gap(NO_TOPIC, 0, GapReason::Deleted),
                Some(new) => gap(new.identity.id, new.first_offset, GapReason::Deleted),
            };
            return Ok((topic, Some(told)));
        }
        let Some(topic) = topic else {
            return Ok((None, None));
        };
        if incarnation.is_some() && offset > topic.next_offset {
            let message = "the cursor is ahead of the topic";
            return Err(Refusal::new(ErrorCode::CursorInvalid, message));
        }
        let lost = offset < topic.first_offset;
        let gap = lost.then(|| gap(topic.identity.id, topic.first_offset, GapReason::Retention));
        Ok((Some(topic), gap))
    }

    /// The pending segments of a topic, oldest first.
    pub fn pending_of(&self, id: TopicId) -> impl Iterator<Item = &Arc<Segment>> {
        self.tables().flat_map(move |table| table.topic(id))
    }
}

/// Reads blocks from an offset to before another. Returns the offset that was reached, which is less
/// only when the page is full.
fn read_disk(
    mut disk: DiskTopic<'_>,
    found: &Found,
    offset: u64,
    end: u64,
    page: &mut PageBuilder,
) -> Result<u64, StoreError> {
    let mut reached = offset;
    let mut block = disk.at_or_after(offset)?;
    while let Some(here) = block.filter(|b| b.header().base_offset < end) {
        if !found.sparse && here.header().base_offset > reached {
            break;
        }
        for segment in here.segments(&found.identity) {
            if segment.end_offset() > reached && !page.is_full() {
                reached = page.push(&segment, reached, end).max(reached);
            }
        }
        if page.is_full() {
            return Ok(reached);
        }
        block = disk.following()?;
    }
    if !found.sparse && reached < end {
        let name = &found.identity.name;
        return Err(StoreError::Corrupted(format!(
            "records {reached} to {end} of topic {name} are missing"
        )));
    }
    Ok(end)
}

/// Reads pending segments. Returns the offset that was reached.
fn read_memory(segments: &[Arc<Segment>], offset: u64, page: &mut PageBuilder) -> u64 {
    let mut reached = offset;
    for segment in segments {
        if page.is_full() {
            break;
        }
        reached = page
            .push(segment, reached, segment.end_offset())
            .max(reached);
    }
    reached
}
