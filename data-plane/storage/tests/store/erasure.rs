//! What is deleted is gone from the disk.

use std::{fs, path::Path};

use highwater_proto::limits::ERASURES_MAX;

use crate::world::*;

/// Text that does not compress away, different for each seed.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(bytes);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(char::from(b'!' + (state >> 32) as u8 % 90));
    }
    text
}

fn holds(folder: &Path, needle: &str) -> bool {
    let needle = &needle.as_bytes()[..24];
    let files = fs::read_dir(folder).unwrap().map(|f| f.unwrap().path());
    let mut files = files.filter(|f| f.is_file());
    files.any(|f| {
        let bytes = fs::read(f).unwrap_or_default();
        bytes.windows(needle.len()).any(|w| w == needle)
    })
}

#[test]
fn an_erased_topic_is_in_no_file() {
    let mut world = World::on_rocksdb();
    let (secret, other) = (noise(1, 3_000), noise(2, 3_000));
    world.publish("before", &[&other]);
    world.publish("secret", &[&secret, &secret]);
    world.retain("secret", &secret);
    world.publish("then", &[&other]);
    world.checkpoint();
    let Disk::Rocks(folder) = &world.disk else {
        panic!("the world is on disk");
    };
    let folder = folder.path().to_owned();
    assert!(holds(&folder, &secret) && holds(&folder, &other));
    world.delete("secret");
    world.checkpoint();
    world.store().compact_erased().unwrap();
    assert!(
        !holds(&folder, &secret),
        "the deleted topic is still on disk"
    );
    assert!(holds(&folder, &other));
    assert_eq!(world.texts("then"), [other]);
}

#[test]
fn erased_records_of_a_trimmed_topic_are_in_no_file() {
    let mut world = World::on_rocksdb();
    let texts: Vec<String> = (0..30).map(|i| noise(10 + i, 20_000)).collect();
    let messages: Vec<&str> = texts.iter().map(String::as_str).collect();
    world.publish("a", &messages);
    world.checkpoint();
    world.trim_topic("a", 20);
    world.checkpoint();
    world.store().compact_erased().unwrap();
    let Disk::Rocks(folder) = &world.disk else {
        panic!("the world is on disk");
    };
    assert!(!holds(folder.path(), &texts[3]));
    assert!(holds(folder.path(), &texts[25]));
    assert_eq!(world.texts("a"), texts[20..]);
}

#[test]
fn what_was_deleted_before_a_restart_is_erased_after_it() {
    let mut world = World::on_rocksdb();
    let (secret, other) = (noise(1, 3_000), noise(2, 3_000));
    world.publish("before", &[&other]);
    world.publish("secret", &[&secret]);
    world.publish("then", &[&other]);
    world.checkpoint();
    world.delete("secret");
    world.checkpoint();
    world.crash();
    let Disk::Rocks(folder) = &world.disk else {
        panic!("the world is on disk");
    };
    assert!(world.store().compact_erased().unwrap() > 0);
    assert!(!holds(folder.path(), &secret));
    assert!(holds(folder.path(), &other));
    assert_eq!(world.store().compact_erased().unwrap(), 0);
}

/// However many there are at once.
#[test]
fn erasing_takes_nothing_that_lies_between_what_was_deleted() {
    on_each_store(|mut world| {
        let name = |i: usize| format!("t/{i}");
        let topics = 2 * (ERASURES_MAX + 10);
        for i in 0..topics {
            world.publish(&name(i), &[&format!("text {i}")]);
        }
        world.checkpoint();
        for i in (0..topics).step_by(2) {
            world.delete(&name(i));
        }
        world.checkpoint();
        assert!(world.store().compact_erased().unwrap() > ERASURES_MAX);
        world.crash();
        for i in (1..topics).step_by(2) {
            assert_eq!(world.texts(&name(i)), [format!("text {i}")]);
        }
    });
}

#[test]
fn a_topic_that_is_trimmed_again_and_again_is_one_range_to_erase() {
    on_each_store(|mut world| {
        let texts: Vec<String> = (0..30).map(|i| noise(10 + i, 20_000)).collect();
        let messages: Vec<&str> = texts.iter().map(String::as_str).collect();
        world.publish("a", &messages);
        world.checkpoint();
        for first_offset in [5, 20] {
            world.trim_topic("a", first_offset);
            world.checkpoint();
        }
        // One topic, trimmed twice, is one range.
        let noted = world.store().compact_erased().unwrap();
        world.trim_topic("a", 25);
        world.checkpoint();
        assert_eq!(world.store().compact_erased().unwrap(), 1);
        assert!(noted <= 2, "{noted} ranges");
        assert_eq!(world.texts("a"), texts[25..]);
    });
}
