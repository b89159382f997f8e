//! Damaged data is an error with a name, never a panic and never served.

use highwater_proto::{ErrorCode, names::TopicFilter};
use highwater_storage::{ReadError, StoreError, keys::Key};

use crate::world::*;

fn is_corrupted<T: std::fmt::Debug>(read: Result<T, ReadError>) {
    match read {
        Err(ReadError::Store(error @ StoreError::Corrupted(_))) => {
            assert_eq!(error.code(), ErrorCode::Corrupted);
        }
        other => panic!("{other:?} is served"),
    }
}

#[test]
fn a_damaged_block_or_chunk_is_named_and_not_served() {
    for family in ["block", "feed", "retained"] {
        let mut world = World::in_memory();
        world.publish("a", &["0", "1"]);
        world.retain("b", "2");
        world.checkpoint();
        let kv = world.disk.memory().unwrap();
        for (key, value) in kv.contents() {
            let wanted = match Key::decode_whole(&key) {
                Some(Key::Block(..)) => family == "block",
                Some(Key::Feed(..)) => family == "feed",
                Some(Key::Retained(_)) => family == "retained",
                _ => false,
            };
            if wanted {
                let mut damaged = value.to_vec();
                *damaged.last_mut().unwrap() ^= 1;
                kv.damage(&key, damaged.into());
            }
        }
        let shard = world.shard();
        let filters = [TopicFilter::try_from("#").unwrap()];
        let read_retained = || shard.retained_records(PROJECT, &filters, (0, 9), ALL);
        if family == "retained" {
            is_corrupted(read_retained());
            continue;
        }
        is_corrupted(shard.read_feed(PROJECT, &filters, 0, ALL));
        assert_eq!(texts(&read_retained().unwrap().slices), ["2"]);
        if family == "block" {
            is_corrupted(shard.read_topic(PROJECT, &name("a"), None, 0, ALL));
        }
    }
}

#[test]
fn missing_records_are_named() {
    let mut world = World::in_memory();
    for _ in 0..9 {
        world.publish("a", &["x".repeat(9_000).as_str()]);
    }
    world.checkpoint();
    let kv = world.disk.memory().unwrap();
    // The second block takes the place of the third.
    let contents = kv.contents();
    let blocks: Vec<_> = contents
        .iter()
        .filter(|(key, _)| matches!(Key::decode_whole(key), Some(Key::Block(..))))
        .collect();
    kv.damage(blocks[2].0, blocks[1].1.clone());
    is_corrupted(world.shard().read_topic(PROJECT, &name("a"), None, 0, ALL));
}

/// Flips bytes in the files of a real store: whatever can be opened serves what was written or
/// says that it cannot.
#[cfg(feature = "rocksdb")]
#[test]
fn flipped_bytes_in_files_are_named() {
    use std::{fs, sync::Arc};

    use highwater_storage::{Store, kv::rocks::RocksKv};

    let mut world = World::on_rocksdb();
    let texts_before: Vec<String> = (0..2_000)
        .map(|i| format!("record {i} of the topic"))
        .collect();
    let messages: Vec<&str> = texts_before.iter().map(String::as_str).collect();
    world.publish("a", &messages);
    world.checkpoint();
    let Disk::Rocks(folder) = &world.disk else {
        panic!("the world is on disk");
    };
    let folder = folder.path().to_owned();
    (world.shard, world.store) = (None, None);
    let files = fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path());
    let file = files
        .filter(|f| f.extension().is_some_and(|e| e == "sst"))
        .max_by_key(|f| fs::metadata(f).unwrap().len())
        .unwrap();
    let healthy = fs::read(&file).unwrap();
    let mut named = 0;
    for part in 0..12 {
        let mut damaged = healthy.clone();
        let at = part * healthy.len() / 12 + 17;
        damaged[at] ^= 0x55;
        fs::write(&file, &damaged).unwrap();
        let read = || -> Result<Vec<String>, ReadError> {
            let kv = RocksKv::open(&folder, 1 << 20)?;
            let shard = Store::open(Arc::new(kv))?.shard(SHARD)?;
            let page = shard.read_topic(PROJECT, &name("a"), None, 0, ALL)?;
            Ok(texts(&page.slices))
        };
        match read() {
            Ok(texts) => assert_eq!(texts, texts_before),
            Err(ReadError::Store(StoreError::Corrupted(_))) => named += 1,
            Err(other) => panic!("damage is reported as {other}"),
        }
    }
    assert!(named > 0);
}
