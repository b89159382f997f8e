//! The seam between the topic store and whatever keeps its keys and values.
//!
//! [`rocks::RocksKv`] keeps them on disk; [`memory::MemoryKv`] in memory, for tests and the
//! simulation, and forgets on request what was not flushed. Both promise the same:
//! - a [`Batch`] is applied whole or not at all, now and after a crash,
//! - what was committed is read at once, but survives a crash only from the next [`Kv::flush`] on;
//!   what survives is then a prefix of what was committed,
//! - a [`KvIterator`] sees everything as it was when it was made.

pub mod memory;
#[cfg(feature = "rocksdb")]
pub mod rocks;

use bytes::Bytes;

use crate::{keys::KeyRange, store::StoreError};

/// An ordered map of bytes to bytes.
pub trait Kv: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// A set of changes, empty so far.
    fn batch(&self) -> Box<dyn Batch + '_>;

    /// The same with room for about so many bytes, so that a large one is not copied as it grows.
    fn batch_with_room(&self, _bytes: usize) -> Box<dyn Batch + '_> {
        self.batch()
    }

    /// Looks at a range of keys as it is now. Making one reads no disk.
    fn iterate(&self, range: KeyRange) -> Box<dyn KvIterator>;

    /// Makes everything that was committed survive a crash.
    fn flush(&self) -> Result<(), StoreError>;

    /// Frees the room of a range that was deleted and flushed, as far as that is cheap. Iterators
    /// made before still see it.
    fn reclaim(&self, range: &KeyRange) -> Result<(), StoreError>;

    /// Removes every trace of what was in these ranges from the disk, and rewrites what lies around
    /// them. They are ordered by their starts, and nothing in them is of use any more.
    fn erase(&self, ranges: &[KeyRange]) -> Result<(), StoreError>;

    /// What is kept.
    fn usage(&self) -> KvUsage;
}

/// Changes that are made together, in the order they were added.
pub trait Batch {
    /// Gives a key a value.
    fn put(&mut self, key: &[u8], value: &[u8]);
    /// Removes a key.
    fn delete(&mut self, key: &[u8]);
    /// Removes all keys of a range.
    fn delete_range(&mut self, range: &KeyRange);
    /// Makes the changes.
    fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// A place in a range of keys. Methods that move return whether there is a key at the new place.
pub trait KvIterator: Send {
    /// To the first key at or after this one.
    fn seek(&mut self, key: &[u8]) -> Result<bool, StoreError>;
    /// To the last key at or before this one.
    fn seek_back(&mut self, key: &[u8]) -> Result<bool, StoreError>;
    /// To the next key. Only from a key.
    fn next(&mut self) -> Result<bool, StoreError>;
    /// To the key before. Only from a key.
    fn back(&mut self) -> Result<bool, StoreError>;
    /// The key here. Only at a key.
    fn key(&self) -> &[u8];
    /// Its value.
    fn value(&self) -> &[u8];
}

/// How much a [`Kv`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KvUsage {
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Bytes in memory that wait to be flushed.
    pub unflushed_bytes: u64,
    /// Bytes of blocks that are cached.
    pub cache_bytes: u64,
}
