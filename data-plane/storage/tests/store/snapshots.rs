//! A snapshot carries everything, and installing one is all or nothing.

use std::sync::Arc;

use highwater_proto::limits::SNAPSHOT_CHUNK_BYTES_MAX;
use highwater_storage::{ShardSnapshot, ShardStore, Store, StoreError};

use crate::world::*;

fn filled() -> World {
    let mut world = World::in_memory();
    for i in 0..300 {
        world.publish("a", &[format!("{i}{}", "x".repeat(9_000)).as_str()]);
    }
    world.publish("gone", &["g"]);
    world.retain("kept", "retained");
    world.publish("kept", &["later"]);
    world.publish_batch(vec![keyed("state", 1, "old")]);
    world.checkpoint();
    world.publish_batch(vec![keyed("state", 1, "new")]);
    world.trim_topic("a", 10);
    world.trim_topic("kept", 1);
    world.delete("gone");
    world
}

fn send(mut snapshot: ShardSnapshot, shard: &Arc<ShardStore>) -> Result<(), StoreError> {
    let mut installer = shard.install();
    while let Some(chunk) = snapshot.next_chunk()? {
        let bytes: usize = chunk.iter().map(|(k, v)| k.len() + v.len()).sum();
        assert!(bytes <= SNAPSHOT_CHUNK_BYTES_MAX || chunk.len() == 1);
        installer.add(chunk)?;
    }
    installer.finish(snapshot.applied(), snapshot.membership())
}

#[test]
fn an_installed_snapshot_is_like_the_original() {
    let source = filled();
    source.checkpoint();
    on_each_store(|mut world| {
        world.publish("a", &["other"]);
        world.publish("b", &["other"]);
        let snapshot = source.shard().snapshot().unwrap();
        assert_eq!(Some(snapshot.applied()), source.shard().applied());
        send(snapshot, world.shard()).unwrap();
        world.log = source.log.clone();
        for _ in 0..2 {
            assert_eq!(world.shard().applied(), source.shard().applied());
            assert_eq!(world.texts("a"), source.texts("a"));
            assert_eq!(world.texts("state"), ["new"]);
            assert_eq!(world.retained_texts("#"), ["retained"]);
            assert!(world.shard().topic(PROJECT, &name("b")).is_none());
            let (ours, theirs) = (world.feed("#", 0), source.feed("#", 0));
            assert_eq!(records(&ours.slices), records(&theirs.slices));
            assert_eq!(ours.topic_gaps, theirs.topic_gaps);
            let used = |world: &World| world.shard().usage(PROJECT, 0..u64::MAX).unwrap();
            assert_eq!(used(&world), used(&source));
            world.crash();
        }
        // And it goes on from there, again and again.
        world.publish("a", &["more"]);
        world.checkpoint();
        send(source.shard().snapshot().unwrap(), world.shard()).unwrap();
        assert_eq!(world.texts("a"), source.texts("a"));
    });
}

#[test]
fn a_snapshot_does_not_change_while_it_is_read() {
    on_each_store(|mut world| {
        world.publish("a", &["0", "1"]);
        world.checkpoint();
        let mut snapshot = world.shard().snapshot().unwrap();
        world.publish("a", &["2"]);
        world.trim_topic("a", 2);
        world.publish("b", &["0"]);
        world.checkpoint();
        let target = World::in_memory();
        let mut installer = target.shard().install();
        while let Some(chunk) = snapshot.next_chunk().unwrap() {
            installer.add(chunk).unwrap();
        }
        installer.finish(snapshot.applied(), None).unwrap();
        assert_eq!(target.texts("a"), ["0", "1"]);
        assert_eq!(target.shard().applied(), Some(log_id(2)));
    });
}

#[test]
fn an_unfinished_installation_leaves_the_old_state() {
    let source = filled();
    source.checkpoint();
    on_each_store(|mut world| {
        world.publish("a", &["mine"]);
        world.checkpoint();
        let mut snapshot = source.shard().snapshot().unwrap();
        for crash in [false, true] {
            let mut installer = world.shard().install();
            if let Some(chunk) = snapshot.next_chunk().unwrap() {
                installer.add(chunk).unwrap();
            }
            world.store().checkpoint(&[]).unwrap();
            assert_eq!(world.texts("a"), ["mine"]);
            match crash {
                // The process is gone before it could clean up.
                true => std::mem::forget(installer),
                false => drop(installer),
            }
            if world.disk.memory().is_some() {
                world.crash();
            }
            assert_eq!(world.texts("a"), ["mine"]);
        }
        send(source.shard().snapshot().unwrap(), world.shard()).unwrap();
        assert_eq!(world.texts("a"), source.texts("a"));
    });
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let world = World::in_memory();
    assert!(matches!(
        world.shard().snapshot(),
        Err(StoreError::Unavailable(_))
    ));
    let mut installer = world.shard().install();
    let strange = vec![("\u{fe}".into(), "value".into())];
    assert!(matches!(
        installer.add(strange),
        Err(StoreError::Corrupted(_))
    ));

    let source = filled();
    let mut snapshot = source.shard().snapshot().unwrap();
    let mut refused = 0;
    while let Some(chunk) = snapshot.next_chunk().unwrap() {
        for (key, value) in chunk {
            let mut damaged = value.to_vec();
            *damaged.last_mut().unwrap() ^= 1;
            refused += usize::from(installer.add(vec![(key, damaged.into())]).is_err());
        }
    }
    assert!(refused > 90, "blocks carry checksums");
}

#[test]
fn a_state_that_makes_no_sense_is_not_installed() {
    let mut world = World::in_memory();
    world.publish("a", &["mine"]);
    let source = filled();
    let mut snapshot = source.shard().snapshot().unwrap();
    let mut installer = world.shard().install();
    while let Some(chunk) = snapshot.next_chunk().unwrap() {
        let wrong = chunk.into_iter().map(|(key, value)| match key[0] {
            5 => (key, value.slice(..4)),
            _ => (key, value),
        });
        installer.add(wrong.collect()).unwrap();
    }
    let refused = installer.finish(snapshot.applied(), None);
    assert!(matches!(refused, Err(StoreError::Corrupted(_))));
    assert_eq!(world.texts("a"), ["mine"]);
    let _ = Store::open(world.disk.open()).unwrap();
}
