//! What outlived its retention is found without reading the data, and goes.

use highwater_broker::catalogue::Retention;
use highwater_proto::{cluster::TopicTrim, ids::ProjectId, names::TopicName};

use crate::world::*;

const NONE: Retention = Retention {
    age_ms: None,
    bytes: None,
    records: None,
};

fn due(world: &World, now_ms: u64, retention: Retention) -> Vec<TopicTrim> {
    let policy = |_: ProjectId, name: &TopicName| match name.as_str() {
        "forever" => NONE,
        _ => retention,
    };
    world.shard().due_trims(now_ms, &policy).unwrap()
}

/// Twenty records of ten bytes, ten milliseconds apart; some on disk, some in memory.
fn filled(world: &mut World, on_disk: u64) {
    for i in 0..20u64 {
        world.time_ms = 5_000_000 + i * 10;
        world.publish("a", &[format!("record {i:03}").as_str()]);
        if i + 1 == on_disk {
            world.checkpoint();
        }
    }
    world.publish("forever", &["x"]);
}

#[test]
fn each_limit_says_where_a_topic_is_to_begin() {
    for on_disk in [0, 7, 12, 20] {
        on_each_store(|mut world| {
            filled(&mut world, on_disk);
            for (retention, now_ms, first) in [
                (NONE, u64::MAX, 0),
                (
                    Retention {
                        records: Some(20),
                        ..NONE
                    },
                    0,
                    0,
                ),
                (
                    Retention {
                        records: Some(5),
                        ..NONE
                    },
                    0,
                    15,
                ),
                (
                    Retention {
                        records: Some(0),
                        ..NONE
                    },
                    0,
                    20,
                ),
                (
                    Retention {
                        bytes: Some(200),
                        ..NONE
                    },
                    0,
                    0,
                ),
                (
                    Retention {
                        bytes: Some(199),
                        ..NONE
                    },
                    0,
                    1,
                ),
                (
                    Retention {
                        bytes: Some(101),
                        ..NONE
                    },
                    0,
                    10,
                ),
                (
                    Retention {
                        bytes: Some(100),
                        ..NONE
                    },
                    0,
                    10,
                ),
                (
                    Retention {
                        bytes: Some(9),
                        ..NONE
                    },
                    0,
                    20,
                ),
                (
                    Retention {
                        age_ms: Some(1_000),
                        ..NONE
                    },
                    5_001_000,
                    0,
                ),
                (
                    Retention {
                        age_ms: Some(1_000),
                        ..NONE
                    },
                    5_001_001,
                    1,
                ),
                (
                    Retention {
                        age_ms: Some(1_000),
                        ..NONE
                    },
                    5_001_100,
                    10,
                ),
                (
                    Retention {
                        age_ms: Some(1_000),
                        ..NONE
                    },
                    5_001_190,
                    19,
                ),
                (
                    Retention {
                        age_ms: Some(1_000),
                        ..NONE
                    },
                    5_001_191,
                    20,
                ),
                (
                    Retention {
                        age_ms: Some(1_000),
                        ..NONE
                    },
                    u64::MAX,
                    20,
                ),
                (
                    Retention {
                        age_ms: Some(1_000),
                        bytes: Some(100),
                        records: Some(3),
                    },
                    5_001_100,
                    17,
                ),
            ] {
                let trims = due(&world, now_ms, retention);
                let found = trims
                    .first()
                    .map_or((0, 0), |t| (t.first_offset, t.first_bytes));
                assert_eq!(
                    found,
                    (first, first * 10),
                    "{retention:?} at {now_ms}, {on_disk}"
                );
            }
        });
    }
}

#[test]
fn applied_trims_free_the_store_and_count_once() {
    on_each_store(|mut world| {
        filled(&mut world, 20);
        let retention = Retention {
            records: Some(5),
            ..NONE
        };
        for _ in 0..3 {
            let trims = due(&world, 0, retention);
            world.trim(trims);
            world.checkpoint();
            assert_eq!(world.texts("a").len(), 5);
            assert!(due(&world, 0, retention).is_empty());
            world.crash();
        }
        let view = world.shard().topic(PROJECT, &name("a")).unwrap();
        assert_eq!((view.first_offset, view.bytes), (15, 50));
        assert_eq!(world.texts("forever"), ["x"]);
    });
}

#[test]
fn whole_blocks_before_the_first_offset_are_deleted() {
    let mut world = World::in_memory();
    for i in 0..40 {
        world.publish("a", &[format!("{i:02}{}", "x".repeat(10_000)).as_str()]);
    }
    world.checkpoint();
    let blocks = |world: &World| -> Vec<u64> {
        let kv = world.disk.memory().unwrap();
        let contents = kv.contents();
        let keys = contents
            .keys()
            .filter_map(|k| highwater_storage::keys::Key::decode_whole(k));
        let offsets = keys.filter_map(|key| match key {
            highwater_storage::keys::Key::Block(_, offset) => Some(offset),
            _ => None,
        });
        offsets.collect()
    };
    assert_eq!(blocks(&world).len(), 14);
    world.trim_topic("a", 20);
    world.checkpoint();
    assert_eq!(blocks(&world)[0], 18);
    assert_eq!(world.texts("a").len(), 20);
    world.trim_topic("a", 40);
    world.checkpoint();
    assert!(blocks(&world).is_empty());
}
