//! Keys and values in memory, for tests and the simulation: what was not flushed is lost on request.

use std::{collections::BTreeMap, mem, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Batch, Kv, KvIterator, KvUsage};
use crate::{keys::KeyRange, store::StoreError};

type Map = BTreeMap<Vec<u8>, Bytes>;

/// An ordered map in memory that behaves as a disk does when the power fails.
#[derive(Default)]
pub struct MemoryKv {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// What is read. Copied when it is changed while an iterator looks at it.
    live: Arc<Map>,
    /// What a crash leaves.
    durable: Map,
    /// What has to be done to `durable` for it to be like `live`.
    unflushed: Vec<Change>,
    failing: bool,
}

#[derive(Clone)]
enum Change {
    Put(Vec<u8>, Bytes),
    Delete(Vec<u8>),
    DeleteRange(KeyRange),
}

impl MemoryKv {
    /// Loses everything that was not flushed.
    pub fn crash(&self) {
        let mut inner = self.inner.lock();
        inner.unflushed.clear();
        inner.live = Arc::new(inner.durable.clone());
    }

    /// From now on every commit and flush fails, or works again.
    pub fn set_failing(&self, failing: bool) {
        self.inner.lock().failing = failing;
    }

    /// All keys and values, so that a test can look at them and damage them.
    pub fn contents(&self) -> BTreeMap<Vec<u8>, Bytes> {
        self.inner.lock().live.as_ref().clone()
    }

    /// Replaces a value behind everybody's back, on the disk as well.
    pub fn damage(&self, key: &[u8], value: Bytes) {
        let mut inner = self.inner.lock();
        Arc::make_mut(&mut inner.live).insert(key.to_vec(), value.clone());
        inner.durable.insert(key.to_vec(), value);
    }
}

impl Kv for MemoryKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.inner.lock().live.get(key).cloned())
    }

    fn batch(&self) -> Box<dyn Batch + '_> {
        Box::new(MemoryBatch {
            kv: self,
            changes: Vec::new(),
        })
    }

    fn iterate(&self, range: KeyRange) -> Box<dyn KvIterator> {
        Box::new(MemoryIterator {
            map: self.inner.lock().live.clone(),
            range,
            here: None,
        })
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut inner = self.inner.lock();
        inner.check()?;
        let changes = mem::take(&mut inner.unflushed);
        apply(&mut inner.durable, changes);
        Ok(())
    }

    fn reclaim(&self, _range: &KeyRange) -> Result<(), StoreError> {
        Ok(())
    }

    fn erase(&self, _ranges: &[KeyRange]) -> Result<(), StoreError> {
        Ok(())
    }

    fn usage(&self) -> KvUsage {
        let inner = self.inner.lock();
        let bytes = inner.durable.iter().map(|(k, v)| k.len() + v.len());
        KvUsage {
            disk_bytes: bytes.sum::<usize>() as u64,
            ..KvUsage::default()
        }
    }
}

impl Inner {
    fn check(&self) -> Result<(), StoreError> {
        match self.failing {
            true => Err(StoreError::Unavailable("told to fail".to_owned())),
            false => Ok(()),
        }
    }
}

fn apply(map: &mut Map, changes: Vec<Change>) {
    for change in changes {
        match change {
            Change::Put(key, value) => {
                map.insert(key, value);
            }
            Change::Delete(key) => {
                map.remove(&key);
            }
            Change::DeleteRange(range) => {
                let doomed: Vec<_> = map.range(range).map(|(k, _)| k.clone()).collect();
                for key in doomed {
                    map.remove(&key);
                }
            }
        }
    }
}

struct MemoryBatch<'a> {
    kv: &'a MemoryKv,
    changes: Vec<Change>,
}

impl Batch for MemoryBatch<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        let value = Bytes::copy_from_slice(value);
        self.changes.push(Change::Put(key.to_vec(), value));
    }

    fn delete(&mut self, key: &[u8]) {
        self.changes.push(Change::Delete(key.to_vec()));
    }

    fn delete_range(&mut self, range: &KeyRange) {
        if range.start < range.end {
            self.changes.push(Change::DeleteRange(range.clone()));
        }
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let mut inner = self.kv.inner.lock();
        inner.check()?;
        inner.unflushed.extend(self.changes.iter().cloned());
        apply(Arc::make_mut(&mut inner.live), self.changes);
        Ok(())
    }
}

struct MemoryIterator {
    map: Arc<Map>,
    range: KeyRange,
    here: Option<(Vec<u8>, Bytes)>,
}

impl MemoryIterator {
    fn go(&mut self, range: impl std::ops::RangeBounds<Vec<u8>>, back: bool) -> bool {
        let mut found = self.map.range(range);
        let found = if back {
            found.next_back()
        } else {
            found.next()
        };
        let inside = found.filter(|(key, _)| self.range.contains(*key));
        self.here = inside.map(|(key, value)| (key.clone(), value.clone()));
        self.here.is_some()
    }

    fn here(&self) -> &(Vec<u8>, Bytes) {
        self.here.as_ref().expect("the iterator is at a key")
    }
}

impl KvIterator for MemoryIterator {
    fn seek(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        let key = key.to_vec().max(self.range.start.clone());
        Ok(self.go(key.., false))
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        if key >= &self.range.end[..] {
            let end = self.range.end.clone();
            return Ok(self.go(..end, true));
        }
        Ok(self.go(..=key.to_vec(), true))
    }

    fn next(&mut self) -> Result<bool, StoreError> {
        let after = std::ops::Bound::Excluded(self.here().0.clone());
        Ok(self.go((after, std::ops::Bound::Unbounded), false))
    }

    fn back(&mut self) -> Result<bool, StoreError> {
        let before = self.here().0.clone();
        Ok(self.go(..before, true))
    }

    fn key(&self) -> &[u8] {
        &self.here().0
    }

    fn value(&self) -> &[u8] {
        &self.here().1
    }
}
