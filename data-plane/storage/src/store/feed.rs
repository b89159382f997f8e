//! Reading the records of a project in the order of the shard.

use std::sync::Arc;

use highwater_broker::{
    handle::{FeedGap, FeedPage, GapReason, PageLimits},
    segment::{Segment, TopicIdentity},
};
use highwater_proto::{
    ids::{ProjectId, TopicId},
    limits::{FEED_CHUNKS_MAX, FEED_SEGMENTS_MAX},
    names::TopicFilter,
};
use rustc_hash::FxHashMap;

use super::{
    ReadError, ShardStore, StoreError,
    disk_topic::DiskTopic,
    feed_chunk::{self, Run},
    page::PageBuilder,
    shard::Inner,
    value::{Tombstone, damaged, decode_number, decode_tombstone},
};
use crate::{
    block::Block,
    keys::{Key, Prefix},
    kv::KvIterator,
};

/// Where the records are that come next.
enum Place {
    /// In the store, before this position.
    Disk(DiskFeed, u64),
    /// In memory: segments that match, where the look at them ended, and whether that is the end.
    Memory(Vec<Arc<Segment>>, u64, bool),
}

/// The chunks of one project's feed in the key-value store.
pub(super) struct DiskFeed {
    pub prefix: Prefix,
    project: ProjectId,
    iterator: Box<dyn KvIterator>,
}

/// A topic that a run is of.
#[derive(Clone)]
pub(super) enum RunTopic {
    /// It exists: its identity, its first offset, whether it is sparse.
    Live(Arc<TopicIdentity>, u64, bool),
    /// It was deleted, and this is left of it.
    Deleted(Option<Tombstone>),
}

impl ShardStore {
    /// Reads records of all topics of a project that match one of the filters, from a position on.
    ///
    /// A topic's gap is on the page that passes the last record the topic has lost, so a reader that
    /// goes on from page to page is told of it once. Gaps stand before all records of their page: one
    /// that is met behind a record ends the page, so that its cursor is a place where nothing was missed.
    pub fn read_feed(
        &self,
        project: ProjectId,
        filters: &[TopicFilter],
        position: u64,
        limits: PageLimits,
    ) -> Result<FeedPage, ReadError> {
        let mut read = FeedRead {
            shard: self,
            project,
            filters,
            position,
            page: PageBuilder::new(limits),
            gap: None,
            gaps: Vec::new(),
            topics: FxHashMap::default(),
            blocks: FxHashMap::default(),
        };
        let at_end = loop {
            match self.feed_place(project, filters, read.position, limits.records) {
                Place::Disk(feed, end) => {
                    if !read.disk(feed, end)? {
                        break false;
                    }
                }
                Place::Memory(segments, reached, at_end) => {
                    let all = read.memory(&segments, reached)?;
                    break all && at_end;
                }
            }
        };
        Ok(FeedPage {
            slices: read.page.finish(),
            next_position: read.position,
            at_end,
            gap: read.gap,
            topic_gaps: read.gaps,
        })
    }

    fn feed_place(
        &self,
        project: ProjectId,
        filters: &[TopicFilter],
        position: u64,
        records_max: usize,
    ) -> Place {
        let inner = self.inner.read();
        let stored = inner.stored_position();
        if position < stored {
            return Place::Disk(DiskFeed::open(self, &inner, project), stored);
        }
        let next_position = inner.state.next_position();
        let mut wanted = Vec::new();
        let mut looked_at = 0;
        for table in inner.tables() {
            let segments = table.feed(project);
            let first = segments.partition_point(|s| s.end_position() <= position);
            for segment in &segments[first..] {
                if wanted.len() >= records_max.max(1) || looked_at == FEED_SEGMENTS_MAX {
                    return Place::Memory(wanted, segment.base_position, false);
                }
                looked_at += 1;
                let name = segment.topic.name.as_str();
                if filters.iter().any(|f| f.matches(name)) {
                    wanted.push(segment.clone());
                }
            }
        }
        Place::Memory(wanted, next_position.max(position), true)
    }

    /// What is known of a run's topic now.
    pub(super) fn run_topic(
        &self,
        project: ProjectId,
        id: TopicId,
    ) -> Result<RunTopic, StoreError> {
        let prefix = {
            let inner = self.inner.read();
            if let Some(topic) = inner.state.topic(id) {
                let sparse = inner.sparse.contains(&id);
                return Ok(RunTopic::Live(
                    topic.identity.clone(),
                    topic.first_offset,
                    sparse,
                ));
            }
            if let Some(deleted) = inner.tables().find_map(|table| table.deleted.get(&id)) {
                return Ok(RunTopic::Deleted(Some(deleted.tombstone.clone())));
            }
            inner.prefix
        };
        let key = prefix.key(Key::Tombstone(project, id));
        let value = self.shared.kv.get(&key)?;
        let tombstone = value.map(|value| decode_tombstone(&value)).transpose()?;
        Ok(RunTopic::Deleted(tombstone))
    }
}

impl DiskFeed {
    pub fn open(shard: &ShardStore, inner: &Inner, project: ProjectId) -> DiskFeed {
        DiskFeed {
            prefix: inner.prefix,
            project,
            iterator: inner.iterate(&shard.shared),
        }
    }

    /// Records before this position are gone.
    pub fn floor(&mut self) -> Result<u64, StoreError> {
        let key = self.prefix.key(Key::FeedFloor(self.project));
        match self.iterator.seek(&key)? && self.iterator.key() == key {
            true => decode_number(self.iterator.value()),
            false => Ok(0),
        }
    }

    /// The first position of the chunk that holds a position or, if there is none, of the next one.
    pub fn seek(&mut self, position: u64) -> Result<Option<u64>, StoreError> {
        let key = self.prefix.key(Key::Feed(self.project, position));
        if self.iterator.seek_back(&key)?
            && let Some(first) = self.here()
            && let Some(last) = feed_chunk::decode(first, self.iterator.value())?.last()
            && last.end_position() > position
        {
            return Ok(Some(first));
        }
        self.seek_from(position)
    }

    /// The first position of the first chunk that begins at or after a position.
    pub fn seek_from(&mut self, position: u64) -> Result<Option<u64>, StoreError> {
        let key = self.prefix.key(Key::Feed(self.project, position));
        let found = self.iterator.seek(&key)?;
        Ok(found.then(|| self.here()).flatten())
    }

    /// The first position of the last chunk that begins before a position.
    pub fn before(&mut self, position: u64) -> Result<Option<u64>, StoreError> {
        let Some(last) = position.checked_sub(1) else {
            return Ok(None);
        };
        let key = self.prefix.key(Key::Feed(self.project, last));
        let found = self.iterator.seek_back(&key)?;
        Ok(found.then(|| self.here()).flatten())
    }

    /// When the first record of the chunk that was found last was published.
    pub fn first_time_ms(&self) -> Result<u64, StoreError> {
        feed_chunk::first_time_ms(self.iterator.value())
    }

    /// The runs of the chunk with this first position.
    pub fn runs(&mut self, first: u64) -> Result<Vec<Run>, StoreError> {
        let key = self.prefix.key(Key::Feed(self.project, first));
        if !self.iterator.seek(&key)? || self.iterator.key() != key {
            return Err(damaged("a feed chunk"));
        }
        feed_chunk::decode(first, self.iterator.value())
    }

    fn here(&self) -> Option<u64> {
        match Key::decode_whole(self.iterator.key()) {
            Some(Key::Feed(project, first)) if project == self.project => Some(first),
            _ => None,
        }
    }
}

impl RunTopic {
    pub fn name(&self) -> Option<&str> {
        match self {
            RunTopic::Live(identity, ..) => Some(identity.name.as_str()),
            RunTopic::Deleted(tombstone) => tombstone.as_ref().map(|t| t.name.as_str()),
        }
    }
}

/// What a page takes of a run.
enum Admitted {
    /// The records from this offset on.
    From(u64),
    /// No record: none is wanted, or none is left.
    Nothing,
    /// Nothing yet: it begins with a gap, and gaps come before records.
    NextPage,
}

/// What became of a record.
enum Lookup {
    /// It is in this segment.
    Found(Arc<Segment>),
    /// A newer record has superseded it.
    Superseded,
    /// What the page knows of its topic is out of date: the page ends before it.
    Changed,
}

/// One page of a feed that is being read.
struct FeedRead<'a> {
    shard: &'a ShardStore,
    project: ProjectId,
    filters: &'a [TopicFilter],
    /// Everything before it was looked at.
    position: u64,
    page: PageBuilder,
    gap: Option<(u64, u64)>,
    gaps: Vec<FeedGap>,
    topics: FxHashMap<TopicId, (RunTopic, bool)>,
    /// The block that was read last of each topic.
    blocks: FxHashMap<TopicId, Block>,
}

impl FeedRead<'_> {
    /// Reads chunks up to a position. Returns false when the page ends before it.
    fn disk(&mut self, mut feed: DiskFeed, end: u64) -> Result<bool, StoreError> {
        let floor = feed.floor()?;
        if self.position < floor {
            if !self.page.is_empty() {
                return Ok(false);
            }
            let requested = self.gap.map_or(self.position, |(requested, _)| requested);
            self.gap = Some((requested, floor));
            self.position = floor;
        }
        for _ in 0..FEED_CHUNKS_MAX {
            let chunk = feed.seek(self.position)?.filter(|first| *first < end);
            let Some(first) = chunk else {
                self.position = end;
                return Ok(true);
            };
            for run in feed.runs(first)? {
                if run.end_position() <= self.position {
                    continue;
                }
                if !self.run(&run, feed.prefix)? {
                    return Ok(false);
                }
                self.position = run.end_position();
            }
            if self.page.is_full() {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Reads pending segments. Returns false when the page ends before the last of them.
    fn memory(&mut self, segments: &[Arc<Segment>], reached: u64) -> Result<bool, StoreError> {
        for segment in segments {
            let run = Run::of(segment, 0, segment.count());
            let first = match self.admit(&run)? {
                Admitted::From(offset) => offset,
                Admitted::Nothing => {
                    self.position = segment.end_position();
                    continue;
                }
                Admitted::NextPage => {
                    self.position = self.position.max(segment.base_position);
                    return Ok(false);
                }
            };
            let taken = match self.page.is_full() {
                true => first,
                false => self.page.push(segment, first, segment.end_offset()),
            };
            if taken < segment.end_offset() {
                self.position = segment.base_position + (taken - segment.base_offset);
                return Ok(false);
            }
            self.position = segment.end_position();
        }
        self.position = reached;
        Ok(true)
    }

    /// What of a run is wanted and retained. Takes note of what is gone.
    fn admit(&mut self, run: &Run) -> Result<Admitted, StoreError> {
        let start = run.base_offset + self.position.saturating_sub(run.base_position);
        if !self.topics.contains_key(&run.topic) {
            let topic = self.shard.run_topic(self.project, run.topic)?;
            let name = topic.name();
            let wanted = name.is_some_and(|n| self.filters.iter().any(|f| f.matches(n)));
            self.topics.insert(run.topic, (topic, wanted));
        }
        let (topic, wanted) = &self.topics[&run.topic];
        if !wanted {
            return Ok(Admitted::Nothing);
        }
        let (name, lost_before, reason) = match topic {
            RunTopic::Live(identity, first_offset, _) => {
                (&identity.name, *first_offset, GapReason::Retention)
            }
            RunTopic::Deleted(Some(tombstone)) => {
                let end = tombstone.next_offset;
                (&tombstone.name, end, GapReason::Deleted)
            }
            RunTopic::Deleted(None) => return Ok(Admitted::Nothing),
        };
        let retained = start.max(lost_before).min(run.end_offset());
        if start < lost_before && run.end_offset() >= lost_before {
            if !self.page.is_empty() {
                return Ok(Admitted::NextPage);
            }
            let position_of = |offset| run.base_position + (offset - run.base_offset);
            self.gaps.push(FeedGap {
                topic: name.clone(),
                positions: (position_of(start), position_of(retained)),
                reason,
            });
        }
        Ok(match retained < run.end_offset() {
            true => Admitted::From(retained),
            false => Admitted::Nothing,
        })
    }

    /// Reads the records of a run. Returns false when the page ends before its last one; the
    /// position is then that of the first that was not taken.
    fn run(&mut self, run: &Run, prefix: Prefix) -> Result<bool, StoreError> {
        if self.page.is_full() {
            return Ok(false);
        }
        let mut offset = match self.admit(run)? {
            Admitted::From(offset) => offset,
            Admitted::Nothing => return Ok(true),
            Admitted::NextPage => {
                self.position = self.position.max(run.base_position);
                return Ok(false);
            }
        };
        while offset < run.end_offset() {
            match self.segment(run, offset, prefix)? {
                Lookup::Found(segment) => {
                    let end = run.end_offset().min(segment.end_offset());
                    offset = self.page.push(&segment, offset, end);
                    if offset == end {
                        continue;
                    }
                }
                Lookup::Superseded => {
                    offset += 1;
                    continue;
                }
                Lookup::Changed => {}
            }
            self.position = run.base_position + (offset - run.base_offset);
            return Ok(false);
        }
        Ok(true)
    }

    /// The segment that holds a record.
    fn segment(&mut self, run: &Run, offset: u64, prefix: Prefix) -> Result<Lookup, StoreError> {
        let (RunTopic::Live(identity, ..), _) = &self.topics[&run.topic] else {
            return Ok(Lookup::Changed);
        };
        let identity = identity.clone();
        if let Some(block) = self.blocks.get(&run.topic)
            && let Some(segment) = block.segment_with(&identity, offset)
        {
            return Ok(Lookup::Found(segment));
        }
        // Where the run says or, after its first block, where the one before it ended.
        let hint = if offset == run.base_offset {
            run.block_offset
        } else {
            offset
        };
        let shared = &self.shard.shared;
        let mut block = shared.block_at(prefix, run.topic, hint)?;
        if block
            .as_ref()
            .is_none_or(|b| b.header().end_offset() <= offset)
        {
            let mut disk = DiskTopic::open(shared, prefix, run.topic);
            block = disk.at_or_before(offset)?;
        }
        if let Some(block) = block
            && let Some(segment) = block.segment_with(&identity, offset)
        {
            self.blocks.insert(run.topic, block);
            return Ok(Lookup::Found(segment));
        }
        // Trimmed, deleted or replaced since the page began? Then the next one tells so.
        let now = self.shard.run_topic(self.project, run.topic)?;
        if self.shard.prefix() != prefix {
            return Ok(Lookup::Changed);
        }
        match now {
            RunTopic::Live(_, first_offset, _) if offset < first_offset => Ok(Lookup::Changed),
            RunTopic::Deleted(_) => Ok(Lookup::Changed),
            RunTopic::Live(_, _, true) => Ok(Lookup::Superseded),
            RunTopic::Live(identity, ..) => Err(StoreError::Corrupted(format!(
                "record {offset} of topic {} is missing",
                identity.name
            ))),
        }
    }
}
