//! What lies on disk stays readable: frozen keys, values and a whole small store.
//!
//! Run with `FREEZE=1` to write a sample that does not exist yet. One that exists is never written
//! again: what it holds is what a release has put on disks.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, sync::Arc};

use bytes::Bytes;
use highwater_storage::{
    Store,
    kv::{Kv, memory::MemoryKv},
    log::LogId,
};

use crate::world::*;

fn sample_store() -> World {
    sample_store_and(|_| {})
}

fn sample_store_and(more: impl FnOnce(&mut World)) -> World {
    let mut world = World::in_memory();
    world.time_ms = 1_795_237_786_000;
    world.publish("orders/eu", &["first", "second"]);
    world.publish("gone", &["gone"]);
    world.publish_batch(vec![keyed("state", 7, "kept")]);
    world.publish_batch(vec![run(
        PROJECT,
        "orders/eu",
        vec![highwater_proto::cluster::Publish {
            idempotency: Bytes::from_static(&[9; 16]),
            ..message("third")
        }],
    )]);
    world.checkpoint();
    world.delete("gone");
    world.trim_topic("orders/eu", 1);
    more(&mut world);
    let next = log_id(world.log.len() as u64 + 1);
    world.shard().apply_membership(next, "members".into());
    world.checkpoint();
    world
}

fn to_text(contents: &BTreeMap<Vec<u8>, Bytes>) -> String {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, b| {
            write!(text, "{b:02x}").unwrap();
            text
        })
    };
    let lines = contents
        .iter()
        .map(|(key, value)| format!("{} {}\n", hex(key), hex(value)));
    lines.collect()
}

fn from_text(text: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let unhex = |hex: &str| -> Vec<u8> {
        let bytes = (0..hex.len()).step_by(2);
        bytes
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    };
    let pairs = text.lines().map(|line| line.split_once(' ').unwrap());
    pairs
        .map(|(key, value)| (unhex(key), unhex(value)))
        .collect()
}

fn sample(release: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/samples/store_{release}.hex"))
}

/// The same with a retained record, which its topic's retention has dropped.
fn retaining_store() -> World {
    sample_store_and(|world| {
        world.retain("kept", "retained");
        world.publish("kept", &["later"]);
        world.trim_topic("kept", 1);
    })
}

#[test]
fn the_format_is_written_as_it_was() {
    is_written_as("v1_metered", sample_store());
}

#[test]
fn retained_records_are_written_as_they_were() {
    let store = is_written_as("v1_metered_retained", retaining_store());
    let filters = ["#".try_into().unwrap()];
    let shard = store.shard(SHARD).unwrap();
    let page = shard.retained_records(PROJECT, &filters, (0, u64::MAX), ALL);
    assert_eq!(texts(&page.unwrap().slices), ["retained"]);
}

/// Returns the store that the frozen sample makes.
fn is_written_as(release: &str, world: World) -> Store {
    let path = sample(release);
    let kv = world.disk.memory().unwrap();
    let written = to_text(&kv.contents());
    if std::env::var_os("FREEZE").is_some() && !path.exists() {
        fs::write(&path, &written).unwrap();
    }
    let frozen = fs::read_to_string(&path).unwrap();
    assert_eq!(
        written, frozen,
        "the encoding changed: give it a new version"
    );
    is_read(&frozen, world.shard().applied())
}

/// Before it was written what projects have used.
#[test]
fn a_store_without_usage_is_read() {
    let store = is_read(
        &fs::read_to_string(sample("v1_erasures")).unwrap(),
        Some(log_id(8)),
    );
    let shard = store.shard(SHARD).unwrap();
    assert_eq!(shard.usage(PROJECT, 0..u64::MAX).unwrap(), []);
    let text = fs::read_to_string(sample("v1_retained")).unwrap();
    is_read(&text, Some(log_id(11)));
}

/// Before it was noted on disk what is to be erased.
#[test]
fn a_store_without_erasures_is_read() {
    is_read(&fs::read_to_string(sample("v1")).unwrap(), Some(log_id(8)));
}

fn is_read(frozen: &str, applied: Option<LogId>) -> Store {
    let kv = Arc::new(MemoryKv::default());
    let mut batch = kv.batch();
    for (key, value) in from_text(frozen) {
        batch.put(&key, &value);
    }
    batch.commit().unwrap();
    let store = Store::open(kv).unwrap();
    let shard = store.shard(SHARD).unwrap();
    assert_eq!(shard.applied(), applied);
    assert_eq!(shard.membership(), Some("members".into()));
    let page = shard
        .read_topic(PROJECT, &name("orders/eu"), None, 1, ALL)
        .unwrap();
    assert_eq!(texts(&page.slices), ["second", "third"]);
    let page = shard
        .read_topic(PROJECT, &name("state"), None, 0, ALL)
        .unwrap();
    assert_eq!(texts(&page.slices), ["kept"]);
    store
}
