//! A topic's retained record stays until another one takes its place or it is cleared.

use highwater_broker::handle::PageLimits;

use crate::world::*;

#[test]
fn the_retained_records_are_found_in_order() {
    on_each_store(|mut world| {
        world.retain("b", "b0");
        world.retain("a", "a0");
        world.publish("a", &["a1"]);
        world.checkpoint();
        world.retain("c/d", "c0");
        world.publish("never", &["n"]);
        world.retain("b", "b1");
        let read = |filter: &str, positions, records| {
            let limits = PageLimits {
                records,
                bytes: 1_000,
            };
            world.retained(filter, positions, limits)
        };
        for _ in 0..2 {
            let page = read("#", (0, 6), 10);
            assert_eq!(texts(&page.slices), ["a0", "c0", "b1"]);
            assert_eq!((page.next_position, page.at_end), (6, true));
            let page = read("#", (0, 6), 2);
            assert_eq!((texts(&page.slices).len(), page.next_position), (2, 4));
            assert!(!page.at_end);
            assert_eq!(texts(&read("#", (4, 6), 2).slices), ["b1"]);
            // What came after the end of the interval is delivered live.
            assert_eq!(texts(&read("#", (0, 5), 9).slices), ["a0", "c0"]);
            assert_eq!(texts(&read("+", (0, 6), 9).slices), ["a0", "b1"]);
            assert_eq!(texts(&read("a", (0, 6), 9).slices), ["a0"]);
            assert_eq!(
                texts(&read("never", (0, 6), 9).slices),
                Vec::<String>::new()
            );
            world.checkpoint();
        }
    });
}

#[test]
fn it_outlives_its_topics_retention_and_restarts() {
    on_each_store(|mut world| {
        world.retain("a", "kept");
        world.publish("a", &["1", "2", "3"]);
        let before = world.retained("a", (0, 9), ALL);
        let before = records(&before.slices);
        for first_offset in 1..=3 {
            for _ in 0..2 {
                world.trim_topic("a", first_offset);
                assert_eq!(world.retained_texts("#"), ["kept"]);
                world.checkpoint();
                assert_eq!(world.retained_texts("a"), ["kept"]);
                world.crash();
            }
        }
        let after = world.retained("a", (0, 9), ALL);
        assert_eq!(records(&after.slices), before);
        assert_eq!(world.texts("a"), ["3"]);
        world.retain("a", "newer");
        world.crash();
        assert_eq!(world.retained_texts("a"), ["newer"]);
    });
}

#[test]
fn superseding_the_record_by_its_key_leaves_the_retained_one() {
    on_each_store(|mut world| {
        let mut first = keyed("state", 1, "kept");
        first.publishes[0].retain = highwater_proto::cluster::Retain::Set.into();
        world.publish_batch(vec![first]);
        world.checkpoint();
        for text in ["old", "new"] {
            world.publish_batch(vec![keyed("state", 1, text)]);
        }
        for _ in 0..2 {
            world.checkpoint();
            assert_eq!(world.texts("state"), ["new"]);
            assert_eq!(world.retained_texts("state"), ["kept"]);
            world.crash();
        }
    });
}

#[test]
fn what_was_cleared_or_deleted_is_retained_no_more() {
    on_each_store(|mut world| {
        let nothing = Vec::<String>::new();
        for checkpoints in [[true, true], [true, false], [false, true], [false, false]] {
            for topic in ["cleared", "deleted"] {
                world.retain(topic, "x");
                if checkpoints[0] {
                    world.checkpoint();
                }
                match topic {
                    "cleared" => drop(world.retain(topic, "")),
                    _ => assert!(world.delete(topic)),
                }
                if checkpoints[1] {
                    world.checkpoint();
                }
                assert_eq!(world.retained_texts("#"), nothing);
                world.crash();
                assert_eq!(world.retained_texts("#"), nothing);
                world.publish(topic, &["anew"]);
                assert_eq!(world.retained_texts("#"), nothing);
            }
        }
        // Cleared and deleted between two checkpoints, which leaves nothing of it on the disk either.
        world.retain("deleted", "x");
        world.checkpoint();
        world.retain("deleted", "");
        assert!(world.delete("deleted"));
        world.checkpoint();
        if let Some(kv) = world.disk.memory() {
            let is_retained = |key: &Vec<u8>| {
                let key = highwater_storage::keys::Key::decode_whole(key);
                matches!(key, Some(highwater_storage::keys::Key::Retained(_)))
            };
            assert_eq!(kv.contents().keys().filter(|k| is_retained(k)).count(), 0);
        }
    });
}
