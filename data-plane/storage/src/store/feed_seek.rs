//! Finding a position of a project's feed: its beginning, a time, or so many records from its end.

use std::sync::Arc;

use highwater_broker::{handle::FeedSeek, segment::Segment};
use highwater_proto::{
    ids::{ProjectId, TopicId},
    limits::FEED_CHUNKS_MAX,
    names::TopicFilter,
};
use rustc_hash::FxHashMap;

use super::{
    ReadError, ShardStore, StoreError,
    disk_topic::DiskTopic,
    feed::{DiskFeed, RunTopic},
    feed_chunk::Run,
};
use crate::keys::Prefix;

impl ShardStore {
    /// Finds a position of the feed of all topics of a project that match one of the filters.
    pub fn seek_feed(
        &self,
        project: ProjectId,
        filters: &[TopicFilter],
        to: FeedSeek,
    ) -> Result<u64, ReadError> {
        let (mut feed, stored, pending, next_position) = {
            let inner = self.inner.read();
            let feed = DiskFeed::open(self, &inner, project);
            let tables = inner.tables().flat_map(|table| table.feed(project));
            let pending: Vec<Run> = tables.map(whole).collect();
            let next_position = inner.state.next_position();
            (feed, inner.stored_position(), pending, next_position)
        };
        let mut seek = Seek {
            shard: self,
            project,
            filters,
            prefix: feed.prefix,
            topics: FxHashMap::default(),
        };
        let found = match to {
            FeedSeek::Earliest => seek.earliest(&mut feed, stored, &pending)?,
            FeedSeek::Time(time_ms) => seek.time(&mut feed, stored, &pending, time_ms)?,
            FeedSeek::Last(0) => None,
            FeedSeek::Last(records) => Some(seek.last(&mut feed, stored, &pending, records)?),
        };
        Ok(found.unwrap_or(next_position))
    }
}

fn whole(segment: &Arc<Segment>) -> Run {
    Run::of(segment, 0, segment.count())
}

struct Seek<'a> {
    shard: &'a ShardStore,
    project: ProjectId,
    filters: &'a [TopicFilter],
    prefix: Prefix,
    topics: FxHashMap<TopicId, Option<(u64, bool)>>,
}

impl Seek<'_> {
    /// The position of the first record that matches and is retained. Gives up after so many chunks
    /// and says where it got to, which is no later.
    fn earliest(
        &mut self,
        feed: &mut DiskFeed,
        stored: u64,
        pending: &[Run],
    ) -> Result<Option<u64>, StoreError> {
        let floor = feed.floor()?;
        let mut next = feed.seek_from(floor)?;
        for _ in 0..FEED_CHUNKS_MAX {
            let Some(first) = next.filter(|first| *first < stored) else {
                return self.first_alive(pending);
            };
            if let Some(position) = self.first_alive(&feed.runs(first)?)? {
                return Ok(Some(position));
            }
            next = feed.seek_from(first + 1)?;
        }
        Ok(next)
    }

    fn first_alive(&mut self, runs: &[Run]) -> Result<Option<u64>, StoreError> {
        for run in runs {
            if let Some((position, _)) = self.alive(run, u64::MAX)? {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    /// The position of the first record published at or after a time. Times never go back in a
    /// shard, so chunks can be searched by halves.
    fn time(
        &mut self,
        feed: &mut DiskFeed,
        stored: u64,
        pending: &[Run],
        time_ms: u64,
    ) -> Result<Option<u64>, StoreError> {
        let (mut low, mut high) = (feed.floor()?, stored);
        let mut candidate = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match feed.before(middle + 1)?.filter(|first| *first >= low) {
                Some(first) if feed.first_time_ms()? >= time_ms => high = first,
                Some(first) => {
                    candidate = Some(first);
                    low = middle + 1;
                }
                None => low = middle + 1,
            }
        }
        // The record is in the last chunk that begins earlier, or begins the one after it.
        if let Some(first) = candidate {
            let runs = feed.runs(first)?;
            if let Some(run) = runs.iter().find(|run| run.time_ms >= time_ms) {
                return Ok(Some(run.base_position));
            }
        }
        let from = candidate.map_or(0, |first| first + 1);
        if let Some(first) = feed.seek_from(from)?.filter(|first| *first < stored) {
            return Ok(Some(first));
        }
        let run = pending.iter().find(|run| run.time_ms >= time_ms);
        Ok(run.map(|run| run.base_position))
    }

    /// The position from which on there are so many records that match, or all there are.
    fn last(
        &mut self,
        feed: &mut DiskFeed,
        stored: u64,
        pending: &[Run],
        mut records: u64,
    ) -> Result<u64, StoreError> {
        let mut earliest = None;
        let mut count = |seek: &mut Self, run: &Run| -> Result<Option<u64>, StoreError> {
            let Some((position, alive)) = seek.alive(run, records)? else {
                return Ok(None);
            };
            earliest = Some(position);
            records -= alive;
            Ok((records == 0).then_some(position))
        };
        for run in pending.iter().rev() {
            if let Some(found) = count(self, run)? {
                return Ok(found);
            }
        }
        let mut before = stored;
        while let Some(first) = feed.before(before)? {
            for run in feed.runs(first)?.iter().rev() {
                if let Some(found) = count(self, run)? {
                    return Ok(found);
                }
            }
            before = first;
        }
        match earliest {
            Some(position) => Ok(position),
            None => feed.floor(),
        }
    }

    /// The position of the earliest of the last `wanted` records of a run that match and are
    /// retained, and how many these are; nothing when there are none.
    fn alive(&mut self, run: &Run, wanted: u64) -> Result<Option<(u64, u64)>, StoreError> {
        if !self.topics.contains_key(&run.topic) {
            let topic = self.shard.run_topic(self.project, run.topic)?;
            let known = match &topic {
                RunTopic::Live(identity, first_offset, sparse)
                    if self
                        .filters
                        .iter()
                        .any(|f| f.matches(identity.name.as_str())) =>
                {
                    Some((*first_offset, *sparse))
                }
                _ => None,
            };
            self.topics.insert(run.topic, known);
        }
        let Some((first_offset, sparse)) = self.topics[&run.topic] else {
            return Ok(None);
        };
        let first = run.base_offset.max(first_offset);
        let mut count = 0;
        let mut earliest = None;
        for offset in (first..run.end_offset()).rev() {
            if count == wanted {
                break;
            }
            if sparse && !self.exists(run, offset)? {
                continue;
            }
            count += 1;
            earliest = Some(run.base_position + (offset - run.base_offset));
        }
        Ok(earliest.map(|position| (position, count)))
    }

    /// Whether a record of a sparse topic is still there.
    fn exists(&self, run: &Run, offset: u64) -> Result<bool, StoreError> {
        let pending = {
            let inner = self.shard.inner.read();
            let mut segments = inner.pending_of(run.topic);
            segments.any(|s| s.base_offset <= offset && offset < s.end_offset())
        };
        if pending {
            return Ok(true);
        }
        let mut disk = DiskTopic::open(&self.shard.shared, self.prefix, run.topic);
        let block = disk.at_or_before(offset)?;
        Ok(block.is_some_and(|b| b.header().end_offset() > offset))
    }
}
