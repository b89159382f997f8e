//! Dropping the parts of feeds of which every record is gone.

use std::collections::BTreeSet;

use highwater_proto::{
    ids::{ProjectId, TopicId},
    limits::FEED_CHUNKS_MAX,
};

use super::{
    StoreError,
    checkpoint::CheckpointBatch,
    disk_topic::DiskTopic,
    feed::{DiskFeed, RunTopic},
    feed_chunk::Run,
    value::encode_number,
};
use crate::keys::{Key, Prefix};

/// What has become of a run.
enum Fate {
    /// Some of its records are retained.
    Retained,
    /// All of them were trimmed, or deleted with their topic.
    Lost,
    /// All of them were superseded by newer ones, which nobody misses.
    Superseded,
}

impl CheckpointBatch<'_> {
    /// Looks at the beginning of each feed that lost records, and drops chunks that hold nothing any
    /// more. Where records were lost the feed's floor rises, so that readers are told.
    ///
    /// It looks at the shard as it is now, which may be ahead of what this checkpoint writes. After
    /// a crash the rest is applied again from the log before anybody reads.
    pub fn sweep_feeds(&mut self) -> Result<(), StoreError> {
        let pending = &self.frozen.pending;
        let trimmed = self.frozen.topics.iter().map(|(topic, _)| topic);
        let trimmed = trimmed.filter(|t| pending.trimmed.contains(&t.identity.id) || t.last_value);
        let projects: BTreeSet<ProjectId> = trimmed
            .map(|t| t.identity.project)
            .chain(pending.deleted.values().map(|d| d.project))
            .collect();
        for project in projects {
            self.sweep_feed(project)?;
        }
        Ok(())
    }

    fn sweep_feed(&mut self, project: ProjectId) -> Result<(), StoreError> {
        let mut feed = DiskFeed::open(self.shard, &self.shard.inner.read(), project);
        let mut next = feed.seek_from(0)?;
        for _ in 0..FEED_CHUNKS_MAX {
            let Some(first) = next else {
                break;
            };
            let runs = feed.runs(first)?;
            let mut floor = None;
            for run in &runs {
                match self.fate(project, run, feed.prefix)? {
                    Fate::Retained => return Ok(()),
                    Fate::Lost => floor = Some(run.end_position()),
                    Fate::Superseded => {}
                }
            }
            self.delete(Key::Feed(project, first));
            if let Some(floor) = floor {
                self.put(Key::FeedFloor(project), &encode_number(floor));
            }
            self.drop_tombstones(project, &runs)?;
            next = feed.seek_from(first + 1)?;
        }
        Ok(())
    }

    fn fate(&self, project: ProjectId, run: &Run, prefix: Prefix) -> Result<Fate, StoreError> {
        match self.shard.run_topic(project, run.topic)? {
            RunTopic::Deleted(_) => Ok(Fate::Lost),
            RunTopic::Live(_, first_offset, _) if run.end_offset() <= first_offset => {
                Ok(Fate::Lost)
            }
            RunTopic::Live(_, first_offset, true) => {
                let mut disk = DiskTopic::open(&self.shard.shared, prefix, run.topic);
                let first = run.base_offset.max(first_offset);
                let block = disk.at_or_after(first)?;
                let retained = block.is_some_and(|b| b.header().base_offset < run.end_offset());
                Ok(if retained {
                    Fate::Retained
                } else {
                    Fate::Superseded
                })
            }
            RunTopic::Live(_, _, false) => Ok(Fate::Retained),
        }
    }

    /// Forgets deleted topics whose last record was in a dropped chunk.
    fn drop_tombstones(&mut self, project: ProjectId, runs: &[Run]) -> Result<(), StoreError> {
        let topics: BTreeSet<TopicId> = runs.iter().map(|run| run.topic).collect();
        for topic in topics {
            let end = runs.iter().filter(|run| run.topic == topic);
            let end = end.map(Run::end_offset).max();
            if let RunTopic::Deleted(Some(tombstone)) = self.shard.run_topic(project, topic)?
                && Some(tombstone.next_offset) == end
            {
                self.delete(Key::Tombstone(project, topic));
            }
        }
        Ok(())
    }
}
