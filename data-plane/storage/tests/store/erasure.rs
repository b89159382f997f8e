//! What is deleted is gone from the disk.

use std::{fs, path::Path};

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
