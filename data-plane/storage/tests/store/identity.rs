//! Data is used by the node, the cluster and the number of shards that it was made with, and by no other.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use highwater_proto::ids::NodeId;
use highwater_storage::{
    ClaimError, Identity, Store, StoreError,
    keys::{self, KeyRange},
    kv::{Batch, Kv, KvIterator, KvUsage, memory::MemoryKv},
};

use crate::world::*;

fn identity() -> Identity {
    Identity {
        cluster: "production".into(),
        node: NodeId(2),
        shards: 64,
        replication: 3,
    }
}

#[test]
fn data_is_claimed_once_and_then_only_by_its_owner() {
    on_each_store(|mut world| {
        world.store().claim(&identity()).unwrap();
        world.publish("a", &["0"]);
        world.checkpoint();
        world.crash();
        let claim = |change: fn(&mut Identity)| {
            let mut claimed = identity();
            change(&mut claimed);
            world.store().claim(&claimed).unwrap_err().to_string()
        };
        for (refused, begins, names) in [
            (
                claim(|i| i.cluster = "test".into()),
                "cluster: ",
                "`production`, not `test`",
            ),
            (
                claim(|i| i.node = NodeId(1)),
                "node: ",
                "node 2, not node 1",
            ),
            (claim(|i| i.shards = 65), "shards: ", "64 shards, not 65"),
            (claim(|i| i.replication = 1), "peers: ", "3 nodes, not 1"),
        ] {
            assert!(refused.starts_with(begins), "{refused}");
            assert!(refused.contains(names), "{refused}");
        }
        world.store().claim(&identity()).unwrap();
        assert_eq!(world.texts("a"), ["0"]);
    });
}

#[test]
fn data_of_a_release_that_noted_nothing_is_adopted() {
    on_each_store(|mut world| {
        world.publish("a", &["0"]);
        world.checkpoint();
        world.crash();
        world.store().claim(&identity()).unwrap();
        // It was durable at once.
        world.crash();
        let mut other = identity();
        other.shards = 1;
        assert!(world.store().claim(&other).is_err());
        assert_eq!(world.texts("a"), ["0"]);
    });
}

#[test]
fn a_note_that_is_damaged_is_reported() {
    let kv = Arc::new(MemoryKv::default());
    let store = Store::open(kv.clone()).unwrap();
    store.claim(&identity()).unwrap();
    kv.damage(&keys::identity(), Bytes::from_static(&[1, 2]));
    let refused = store.claim(&identity());
    assert!(matches!(
        refused,
        Err(ClaimError::Store(StoreError::Corrupted(_)))
    ));
}

#[test]
fn the_note_is_written_as_it_was() {
    let kv = Arc::new(MemoryKv::default());
    Store::open(kv.clone()).unwrap().claim(&identity()).unwrap();
    let key = [255, 255, 255, 255, 0, 0, 0, 0, 13];
    let mut value = vec![1];
    value.extend([2, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 3, 0, 0, 0]);
    value.extend(b"production");
    assert_eq!(kv.contents()[&key[..]], value);
}

#[test]
fn a_first_start_that_ends_anywhere_leaves_data_that_can_be_claimed() {
    let mut ended_at = 0;
    loop {
        let disk = Arc::new(MemoryKv::default());
        let kv = Arc::new(EndsAt {
            kv: disk.clone(),
            steps_left: AtomicU64::new(ended_at),
        });
        let started = Store::open(kv).map_err(ClaimError::from);
        let claimed = started.and_then(|store| store.claim(&identity()));
        // The process is killed, or the machine goes down as well.
        for crash in [false, true] {
            if crash {
                disk.crash();
            }
            let mut other = identity();
            other.node = NodeId(1);
            let store = Store::open(disk.clone()).unwrap();
            if claimed.is_ok() {
                assert!(store.claim(&other).is_err(), "it was durable");
            }
            store.claim(&identity()).unwrap();
        }
        if claimed.is_ok() {
            break;
        }
        ended_at += 1;
    }
    assert_eq!(ended_at, 4, "two writes, each with a flush");
}

/// A store whose process ends after so many writes and flushes.
struct EndsAt {
    kv: Arc<MemoryKv>,
    steps_left: AtomicU64,
}

impl EndsAt {
    fn step(&self) -> Result<(), StoreError> {
        let left = self.steps_left.load(Ordering::Relaxed);
        let left = left.checked_sub(1);
        let left = left.ok_or_else(|| StoreError::Unavailable("killed".into()))?;
        self.steps_left.store(left, Ordering::Relaxed);
        Ok(())
    }
}

impl Kv for EndsAt {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.kv.get(key)
    }

    fn batch(&self) -> Box<dyn Batch + '_> {
        Box::new(Step {
            kv: self,
            batch: self.kv.batch(),
        })
    }

    fn iterate(&self, range: KeyRange) -> Box<dyn KvIterator> {
        self.kv.iterate(range)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.step()?;
        self.kv.flush()
    }

    fn reclaim(&self, range: &KeyRange) -> Result<(), StoreError> {
        self.kv.reclaim(range)
    }

    fn erase(&self, ranges: &[KeyRange]) -> Result<(), StoreError> {
        self.kv.erase(ranges)
    }

    fn usage(&self) -> KvUsage {
        self.kv.usage()
    }
}

struct Step<'a> {
    kv: &'a EndsAt,
    batch: Box<dyn Batch + 'a>,
}

impl Batch for Step<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.batch.put(key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.batch.delete(key);
    }

    fn delete_range(&mut self, range: &KeyRange) {
        self.batch.delete_range(range);
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.kv.step()?;
        self.batch.commit()
    }
}
