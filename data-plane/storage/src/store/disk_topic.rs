//! The blocks of one topic in the key-value store, found by offset, by time or by size.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use highwater_proto::ids::TopicId;

use super::{Shared, StoreError, value::damaged};
use crate::{
    block::Block,
    keys::{Key, Prefix},
    kv::KvIterator,
};

/// A place in the blocks of one topic.
pub(super) struct DiskTopic<'a> {
    shared: &'a Shared,
    prefix: Prefix,
    topic: TopicId,
    iterator: Box<dyn KvIterator>,
}

impl<'a> DiskTopic<'a> {
    /// Looks at the store as it is now.
    pub fn open(shared: &'a Shared, prefix: Prefix, topic: TopicId) -> DiskTopic<'a> {
        let iterator = shared.kv.iterate(prefix.blocks(topic));
        DiskTopic {
            shared,
            prefix,
            topic,
            iterator,
        }
    }

    /// The last block that begins at or before an offset.
    pub fn at_or_before(&mut self, offset: u64) -> Result<Option<Block>, StoreError> {
        let key = self.prefix.key(Key::Block(self.topic, offset));
        let found = self.iterator.seek_back(&key)?;
        self.block(found)
    }

    /// The block that holds an offset or, if there is none, the next one.
    pub fn at_or_after(&mut self, offset: u64) -> Result<Option<Block>, StoreError> {
        if let Some(block) = self.at_or_before(offset)?
            && block.header().end_offset() > offset
        {
            return Ok(Some(block));
        }
        let key = self.prefix.key(Key::Block(self.topic, offset));
        let found = self.iterator.seek(&key)?;
        self.block(found)
    }

    /// The block after the one that was found last.
    pub fn following(&mut self) -> Result<Option<Block>, StoreError> {
        let found = self.iterator.next()?;
        self.block(found)
    }

    /// The last block between two offsets for which `holds`, given that it holds for none after one
    /// for which it does not. Looks at a number of blocks that grows with the logarithm of theirs.
    pub fn last_where(
        &mut self,
        first_offset: u64,
        end_offset: u64,
        holds: impl Fn(&Block) -> bool,
    ) -> Result<Option<Block>, StoreError> {
        let (mut low, mut high) = (first_offset, end_offset);
        let mut best = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(block) = self.at_or_before(middle)? else {
                low = middle + 1;
                continue;
            };
            if block.header().end_offset() <= low {
                // A hole from here to the middle: what is left lies after it.
                low = middle + 1;
            } else if holds(&block) {
                low = block.header().end_offset().max(middle + 1);
                best = Some(block);
            } else {
                high = block.header().base_offset.max(low).min(middle);
            }
        }
        Ok(best)
    }

    fn block(&self, found: bool) -> Result<Option<Block>, StoreError> {
        if !found {
            return Ok(None);
        }
        match Key::decode_whole(self.iterator.key()) {
            Some(Key::Block(_, base_offset)) => {
                let value = Bytes::copy_from_slice(self.iterator.value());
                self.shared.block(base_offset, value).map(Some)
            }
            _ => Err(damaged("the key of a block")),
        }
    }
}

impl Shared {
    /// The block with this base offset, if there is one.
    pub fn block_at(
        &self,
        prefix: Prefix,
        topic: TopicId,
        base_offset: u64,
    ) -> Result<Option<Block>, StoreError> {
        let value = self.kv.get(&prefix.key(Key::Block(topic, base_offset)))?;
        value.map(|v| self.block(base_offset, v)).transpose()
    }

    /// Checks the value that was found at a block's key.
    fn block(&self, base_offset: u64, value: Bytes) -> Result<Block, StoreError> {
        self.counts.blocks_read.fetch_add(1, Ordering::Relaxed);
        let bytes = value.len() as u64;
        self.counts.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        let block = Block::decode(value).map_err(|e| StoreError::Corrupted(e.to_string()))?;
        match block.header().base_offset == base_offset {
            true => Ok(block),
            false => Err(damaged("the key of a block")),
        }
    }
}
