//! What readers get: pages, gaps, incarnations, times.

use highwater_broker::{
    cursor::NO_TOPIC,
    handle::{FeedSeek, GapReason, PageLimits},
};
use highwater_proto::{ErrorCode, ids::TopicId, names::TopicFilter};
use highwater_storage::ReadError;

use crate::world::*;

#[test]
fn records_are_read_from_disk_and_memory_as_one() {
    on_each_store(|mut world| {
        world.publish("a", &["0", "1"]);
        world.checkpoint();
        world.publish("b", &["x"]);
        world.publish("a", &["2", "3"]);
        let page = world.read("a", 1);
        assert_eq!(texts(&page.slices), ["1", "2", "3"]);
        assert_eq!((page.next_offset, page.through), (4, Some(5)));
        assert_eq!(page.gap, None);
        world.checkpoint();
        assert_eq!(world.texts("a"), ["0", "1", "2", "3"]);
        let end = world.read("a", 4);
        assert_eq!((end.slices.len(), end.through), (0, Some(5)));
    });
}

#[test]
fn a_page_stops_at_its_limits_and_the_next_goes_on() {
    on_each_store(|mut world| {
        let messages: Vec<String> = (0..50).map(|i| format!("message {i:03}")).collect();
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        world.publish("a", &messages[..30]);
        world.checkpoint();
        world.publish("a", &messages[30..]);
        for limits in [(1, 1), (7, 1_000), (1_000, 30), (3, 0), (0, 0)] {
            let limits = PageLimits {
                records: limits.0,
                bytes: limits.1,
            };
            let (mut offset, mut found) = (0, Vec::new());
            loop {
                let shard = world.shard();
                let page = shard.read_topic(PROJECT, &name("a"), None, offset, limits);
                let page = page.unwrap();
                let read = texts(&page.slices);
                assert!(read.len() <= limits.records.max(1));
                let bytes: usize = read.iter().map(String::len).sum();
                assert!(bytes <= limits.bytes || read.len() == 1);
                assert_eq!(page.next_offset, offset + read.len() as u64);
                found.extend(read);
                offset = page.next_offset;
                if page.through.is_some() {
                    break;
                }
            }
            assert_eq!(found, messages);
        }
    });
}

#[test]
fn a_trimmed_topic_tells_what_is_gone() {
    on_each_store(|mut world| {
        world.publish("a", &["0", "1", "2", "3"]);
        for _ in 0..2 {
            world.trim_topic("a", 2);
            let page = world.read("a", 1);
            let gap = page.gap.unwrap();
            assert_eq!((gap.requested, gap.first_available), (1, 2));
            assert_eq!((gap.reason, gap.id), (GapReason::Retention, world.id("a")));
            assert_eq!(texts(&page.slices), ["2", "3"]);
            assert!(world.read("a", 2).gap.is_none());
            world.checkpoint();
        }
        world.trim_topic("a", 4);
        world.checkpoint();
        let page = world.read("a", 0);
        assert_eq!(
            (page.gap.unwrap().first_available, page.next_offset),
            (4, 4)
        );
        assert_eq!(page.through, Some(4));
    });
}

#[test]
fn a_deleted_topic_is_a_gap_that_is_told_once() {
    on_each_store(|mut world| {
        world.publish("a", &["0", "1"]);
        let old = world.id("a");
        world.checkpoint();
        assert!(world.delete("a"));
        let read = |world: &World, incarnation, offset| {
            let shard = world.shard();
            shard.read_topic(PROJECT, &name("a"), incarnation, offset, ALL)
        };
        let page = read(&world, Some(old), 1).unwrap();
        let gap = page.gap.unwrap();
        assert_eq!((gap.reason, gap.requested), (GapReason::Deleted, 1));
        assert_eq!((gap.id, gap.first_available), (NO_TOPIC, 0));
        assert_eq!((page.topic, page.next_offset), (None, 0));
        assert_eq!(page.through, Some(2));
        // Going on from the gap's own cursor.
        assert_eq!(read(&world, Some(NO_TOPIC), 0).unwrap().gap, None);

        world.publish("a", &["new"]);
        for _ in 0..2 {
            let page = read(&world, Some(old), 1).unwrap();
            let gap = page.gap.unwrap();
            assert_eq!((gap.id, gap.first_available), (world.id("a"), 0));
            assert_eq!(texts(&page.slices), ["new"]);
            assert_eq!((page.topic, page.next_offset), (Some(world.id("a")), 1));
            let page = read(&world, Some(NO_TOPIC), 0).unwrap();
            assert_eq!((page.gap, texts(&page.slices)), (None, vec!["new".into()]));
            world.checkpoint();
        }
    });
}

#[test]
fn a_cursor_of_another_topic_is_refused() {
    on_each_store(|mut world| {
        world.publish("a", &["0"]);
        world.publish("b", &["0"]);
        let code = |topic: &str, id, offset| {
            let read = world.shard();
            match read.read_topic(PROJECT, &name(topic), Some(id), offset, ALL) {
                Err(ReadError::Refused(refusal)) => refusal.code(),
                other => panic!("{other:?} is no refusal"),
            }
        };
        let (a, b) = (world.id("a"), world.id("b"));
        assert_eq!(code("a", b, 0), ErrorCode::CursorForeign);
        assert_eq!(code("nothing", a, 0), ErrorCode::CursorForeign);
        assert_eq!(code("a", a, 2), ErrorCode::CursorInvalid);
        assert_eq!(code("a", TopicId(99), 0), ErrorCode::CursorInvalid);
        let page = world.shard().read_topic(OTHER, &name("a"), None, 0, ALL);
        let page = page.unwrap();
        assert_eq!((page.topic, page.slices.len()), (None, 0));
    });
}

#[test]
fn a_topic_is_found_by_time() {
    on_each_store(|mut world| {
        let at = |world: &World, time| {
            let shard = world.shard();
            shard.topic_time(PROJECT, &name("a"), time).unwrap()
        };
        assert_eq!(at(&world, 0), 0);
        for i in 0..40u64 {
            world.time_ms = 2_000_000 + i * 10;
            world.publish("a", &["x".repeat(9_000).as_str()]);
            if i == 15 || i == 30 {
                world.checkpoint();
            }
        }
        for _ in 0..2 {
            for (time, offset) in [
                (0, 0),
                (2_000_000, 0),
                (2_000_001, 1),
                (2_000_150, 15),
                (2_000_155, 16),
                (2_000_300, 30),
                (2_000_301, 31),
                (2_000_390, 39),
                (2_000_391, 40),
            ] {
                assert_eq!(at(&world, time), offset, "{time}");
            }
            world.checkpoint();
        }
        world.trim_topic("a", 20);
        assert_eq!(at(&world, 0), 20);
        assert_eq!(at(&world, 2_000_255), 26);
        let seek = |to| {
            let filters = [TopicFilter::try_from("#").unwrap()];
            world.shard().seek_feed(PROJECT, &filters, to).unwrap()
        };
        assert_eq!(seek(FeedSeek::Earliest), 20);
        assert_eq!(seek(FeedSeek::Time(2_000_255)), 26);
        assert_eq!(seek(FeedSeek::Time(2_000_400)), 40);
        assert_eq!(seek(FeedSeek::Last(3)), 37);
        assert_eq!(seek(FeedSeek::Last(0)), 40);
        assert_eq!(seek(FeedSeek::Last(30)), 20);
    });
}

#[test]
fn a_feed_tells_each_lost_topic_once() {
    on_each_store(|mut world| {
        world.publish("keep", &["k0"]);
        world.publish("trim", &["t0", "t1", "t2"]);
        world.publish("gone", &["g0", "g1"]);
        world.publish("keep", &["k1"]);
        world.checkpoint();
        world.trim_topic("trim", 2);
        world.delete("gone");
        for _ in 0..2 {
            let (mut position, mut told, mut found) = (0, Vec::new(), Vec::new());
            loop {
                let filters = [TopicFilter::try_from("#").unwrap()];
                let one = PageLimits {
                    records: 1,
                    bytes: 1,
                };
                let shard = world.shard();
                let page = shard.read_feed(PROJECT, &filters, position, one).unwrap();
                assert_eq!(page.gap, None);
                told.extend(
                    page.topic_gaps
                        .iter()
                        .map(|g| (g.topic.to_string(), g.reason)),
                );
                found.extend(texts(&page.slices));
                position = page.next_position;
                if page.at_end {
                    break;
                }
            }
            assert_eq!(found, ["k0", "t2", "k1"]);
            assert_eq!(
                told,
                [
                    ("trim".to_owned(), GapReason::Retention),
                    ("gone".to_owned(), GapReason::Deleted)
                ]
            );
            assert_eq!(position, 7);
            world.checkpoint();
        }
    });
}

#[test]
fn a_feed_without_its_beginning_says_where_it_begins() {
    on_each_store(|mut world| {
        world.publish("a", &["0", "1", "2"]);
        world.checkpoint();
        world.publish("a", &["3"]);
        world.checkpoint();
        world.trim_topic("a", 3);
        world.checkpoint();
        world.checkpoint();
        let page = world.feed("#", 1);
        assert_eq!(page.gap, Some((1, 3)));
        assert_eq!((texts(&page.slices), page.at_end), (vec!["3".into()], true));
        assert_eq!(world.feed("#", 3).gap, None);
        world.crash();
        assert_eq!(world.feed("#", 0).gap, Some((0, 3)));
    });
}
