//! Starting: versions, many topics, and reading while everything moves.

use std::{sync::Arc, thread};

use highwater_broker::handle::PageLimits;
use highwater_proto::ids::ShardId;
use highwater_storage::{
    Store, StoreError, keys,
    kv::{Kv, memory::MemoryKv},
};

use crate::world::*;

#[test]
fn another_release_is_recognised() {
    let kv = Arc::new(MemoryKv::default());
    Store::open(kv.clone()).unwrap();
    Store::open(kv.clone()).unwrap();
    let mut version = kv.get(&keys::format()).unwrap().unwrap().to_vec();
    version[1] = 9;
    kv.damage(&keys::format(), version.into());
    let refused = Store::open(kv).err();
    assert_eq!(refused, Some(StoreError::Format { found: 9, known: 1 }));
}

#[test]
fn a_hundred_thousand_topics_are_loaded() {
    on_each_store(|mut world| {
        for batch in 0..25 {
            let topic = |i: usize| format!("devices/{:05}/state", batch * 4_000 + i);
            let runs = (0..4_000).map(|i| run(PROJECT, &topic(i), vec![message("m")]));
            world.publish_batch(runs.collect());
        }
        world.checkpoint();
        world.shard = None;
        world.store = Some(Store::open(Arc::new(MemoryKv::default())).unwrap());
        let kv = world.disk.open();
        let store = Store::open(kv).unwrap();
        let shard = store.shard(SHARD).unwrap();
        assert_eq!(shard.topic_count(), 100_000);
        // How long it takes is for `examples/store_bench.rs` to say.
    });
}

#[test]
fn shards_are_checkpointed_together() {
    on_each_store(|world| {
        let store = world.store();
        let shards: Vec<_> = (10..13).map(|i| store.shard(ShardId(i)).unwrap()).collect();
        for (i, shard) in (1..).zip(&shards[..2]) {
            for index in 1..=i {
                shard.apply_blank(log_id(index));
            }
        }
        shards[1].apply_membership(log_id(3), "members".into());
        let durable = store.checkpoint(&shards).unwrap();
        assert_eq!(durable, [Some(log_id(1)), Some(log_id(3)), None]);
        drop(shards);
        let mut world = world;
        world.crash();
        let shard = world.store().shard(ShardId(11)).unwrap();
        assert_eq!(shard.applied(), Some(log_id(3)));
        assert_eq!(shard.membership(), Some("members".into()));
    });
}

#[test]
fn a_failed_checkpoint_keeps_everything_for_the_next() {
    let mut world = World::in_memory();
    let kv = world.disk.memory().unwrap();
    let kv = kv.clone();
    world.publish("a", &["0"]);
    kv.set_failing(true);
    assert!(world.shard().checkpoint().is_err());
    world.publish("a", &["1"]);
    assert!(world.shard().checkpoint().is_err());
    assert_eq!(world.texts("a"), ["0", "1"]);
    kv.set_failing(false);
    assert_eq!(world.shard().checkpoint(), Ok(Some(log_id(1))));
    world.checkpoint();
    assert_eq!(world.shard().pending_bytes(), 0);
    world.crash();
    assert_eq!(world.texts("a"), ["0", "1"]);
}

#[test]
fn readers_see_every_record_while_checkpoints_and_trims_go_on() {
    on_each_store(|mut world| {
        const RECORDS: u64 = 3_000;
        world.publish("a", &["0"]);
        let shard = world.shard().clone();
        let reader = |seed: usize| {
            let shard = shard.clone();
            thread::spawn(move || {
                let limits = PageLimits {
                    records: 7 + seed,
                    bytes: usize::MAX,
                };
                let mut next = 0;
                while next < RECORDS {
                    let page = shard
                        .read_topic(PROJECT, &name("a"), None, next, limits)
                        .unwrap();
                    let expected = page.gap.map_or(next, |gap| gap.first_available);
                    let found = records(&page.slices);
                    for (offset, record) in (expected..).zip(&found) {
                        assert_eq!(record.1, offset);
                        assert_eq!(record.4, offset.to_string().as_bytes());
                    }
                    next = page.next_offset;
                }
            })
        };
        let readers: Vec<_> = (0..2).map(reader).collect();
        for i in 1..RECORDS {
            world.publish("a", &[i.to_string().as_str()]);
            if i % 97 == 0 {
                world.checkpoint();
            }
            if i % 501 == 0 {
                world.trim_topic("a", i - 300);
            }
        }
        for reader in readers {
            reader.join().unwrap();
        }
    });
}
