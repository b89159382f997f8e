//! Reading the retained records of topics.
//!
//! Each is stored a second time, apart from its topic's records: it stays until another one takes its
//! place or it is cleared, whatever the topic's retention drops.

use std::{collections::BinaryHeap, sync::Arc};

use bytes::Bytes;
use highwater_broker::{
    handle::{PageLimits, RetainedPage},
    segment::{Segment, TopicIdentity},
};
use highwater_proto::{
    ids::{ProjectId, TopicId},
    names::TopicFilter,
};

use super::{ReadError, ShardStore, StoreError, page::PageBuilder, shard::Inner, value::damaged};
use crate::{
    block::Block,
    keys::{Key, Prefix},
    kv::KvIterator,
};

/// A retained record at the moment of the read.
enum Place {
    Memory(Arc<Segment>),
    Disk(Arc<TopicIdentity>),
}

impl ShardStore {
    /// Reads the retained record of each topic that matches one of the filters and has one, if its
    /// position is from the first to before the second, in order of their positions.
    pub fn retained_records(
        &self,
        project: ProjectId,
        filters: &[TopicFilter],
        positions: (u64, u64),
        limits: PageLimits,
    ) -> Result<RetainedPage, ReadError> {
        let records_max = limits.records.max(1);
        let (found, mut left_out, mut disk) = {
            let inner = self.inner.read();
            let (found, left_out) = inner.retained(project, filters, positions, records_max);
            let disk = RetainedOnDisk {
                prefix: inner.prefix,
                iterator: inner.iterate(&self.shared),
            };
            (found, left_out, disk)
        };
        let mut page = PageBuilder::new(limits);
        let mut next_position = positions.0;
        for (position, offset, place) in found {
            let segment = match place {
                Place::Memory(segment) => segment,
                Place::Disk(identity) => disk.read(&identity, offset)?,
            };
            if page.push(&segment, offset, offset + 1) == offset {
                left_out = true;
                break;
            }
            next_position = position + 1;
        }
        Ok(RetainedPage {
            slices: page.finish(),
            next_position,
            at_end: !left_out,
        })
    }
}

impl Inner {
    /// The retained records with the least positions in an interval: position, offset and place of each;
    /// and whether there are more.
    fn retained(
        &self,
        project: ProjectId,
        filters: &[TopicFilter],
        positions: (u64, u64),
        records_max: usize,
    ) -> (Vec<(u64, u64, Place)>, bool) {
        // A heap whose greatest goes first.
        let mut least: BinaryHeap<(u64, u64, TopicId)> = BinaryHeap::new();
        let mut left_out = false;
        for (topic, record) in self.state.retaining(project, filters) {
            if positions.0 <= record.position && record.position < positions.1 {
                least.push((record.position, record.offset, topic.identity.id));
                if least.len() > records_max {
                    least.pop();
                    left_out = true;
                }
            }
        }
        let place = |(position, offset, id)| {
            let pending = self.tables().find_map(|t| t.segment_with(id, offset));
            let place = match pending {
                Some(segment) => Place::Memory(segment.clone()),
                None => Place::Disk(self.state.topic(id)?.identity.clone()),
            };
            Some((position, offset, place))
        };
        let found = least.into_sorted_vec().into_iter().filter_map(place);
        (found.collect(), left_out)
    }
}

/// The retained records in the key-value store, as they were when it was opened.
struct RetainedOnDisk {
    prefix: Prefix,
    iterator: Box<dyn KvIterator>,
}

impl RetainedOnDisk {
    fn read(
        &mut self,
        topic: &Arc<TopicIdentity>,
        offset: u64,
    ) -> Result<Arc<Segment>, StoreError> {
        let key = self.prefix.key(Key::Retained(topic.id));
        if !self.iterator.seek(&key)? || self.iterator.key() != key {
            let name = &topic.name;
            let message = format!("the retained record of topic {name} is missing");
            return Err(StoreError::Corrupted(message));
        }
        let value = Bytes::copy_from_slice(self.iterator.value());
        let block = Block::decode(value).map_err(|e| StoreError::Corrupted(e.to_string()))?;
        let segment = block.segment_with(topic, offset);
        segment.ok_or_else(|| damaged("a retained record"))
    }
}
