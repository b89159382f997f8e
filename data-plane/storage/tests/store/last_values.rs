//! Topics that keep the newest record of each key, and the last record of each topic.

use highwater_broker::handle::{LastValuesPage, PageLimits};
use highwater_proto::names::TopicFilter;

use crate::world::*;

#[test]
fn a_last_value_topic_keeps_the_newest_of_each_key() {
    on_each_store(|mut world| {
        for (key, text) in [(1, "1a"), (2, "2a"), (1, "1b")] {
            world.publish_batch(vec![keyed("state", key, text)]);
        }
        world.checkpoint();
        assert_eq!(world.texts("state"), ["2a", "1b"]);
        for (key, text) in [(3, "3a"), (2, "2b"), (2, "2c")] {
            world.publish_batch(vec![keyed("state", key, text)]);
        }
        assert_eq!(world.texts("state"), ["2a", "1b", "3a", "2b", "2c"]);
        for _ in 0..2 {
            world.checkpoint();
            assert_eq!(world.texts("state"), ["1b", "3a", "2c"]);
            let page = world.read("state", 0);
            assert_eq!(
                (page.gap, page.next_offset, page.through),
                (None, 6, Some(6))
            );
            let feed = world.feed("#", 0);
            assert_eq!(texts(&feed.slices), ["1b", "3a", "2c"]);
            assert!(feed.gap.is_none() && feed.topic_gaps.is_empty() && feed.at_end);
            world.crash();
        }
    });
}

#[test]
fn records_from_before_the_policy_stay_whole() {
    on_each_store(|mut world| {
        world.publish("state", &["old", "older"]);
        world.publish_batch(vec![keyed("state", 1, "a")]);
        world.publish_batch(vec![keyed("state", 1, "b")]);
        world.checkpoint();
        world.publish_batch(vec![keyed("state", 1, "c")]);
        world.checkpoint();
        world.crash();
        assert_eq!(world.texts("state"), ["old", "older", "c"]);
    });
}

#[test]
fn superseded_records_leave_the_feed_without_a_gap() {
    on_each_store(|mut world| {
        for round in 0..5 {
            world.publish_batch(vec![keyed("state", 1, &format!("v{round}"))]);
            world.checkpoint();
        }
        world.checkpoint();
        let feed = world.feed("#", 0);
        assert_eq!(
            (feed.gap, texts(&feed.slices)),
            (None, vec!["v4".to_owned()])
        );
    });
}

#[test]
fn the_last_record_of_each_topic_is_found_in_order() {
    on_each_store(|mut world| {
        world.publish("b", &["b0", "b1"]);
        world.publish("a", &["a0"]);
        world.checkpoint();
        world.publish("c/d", &["c0"]);
        world.publish("b", &["b2"]);
        let read = |filter: &str, positions, records| -> LastValuesPage {
            let filters = [TopicFilter::try_from(filter).unwrap()];
            let limits = PageLimits {
                records,
                bytes: 1_000,
            };
            let shard = world.shard();
            shard
                .last_values(PROJECT, &filters, positions, limits)
                .unwrap()
        };
        for _ in 0..2 {
            let page = read("#", (0, 5), 10);
            assert_eq!(texts(&page.slices), ["a0", "c0", "b2"]);
            assert_eq!((page.next_position, page.at_end), (5, true));
            let page = read("#", (0, 5), 2);
            assert_eq!((texts(&page.slices).len(), page.next_position), (2, 4));
            assert!(!page.at_end);
            assert_eq!(texts(&read("#", (4, 5), 2).slices), ["b2"]);
            // What came after the end of the interval is delivered live.
            assert_eq!(texts(&read("#", (0, 4), 9).slices), ["a0", "c0"]);
            assert_eq!(texts(&read("+", (0, 5), 9).slices), ["a0", "b2"]);
            world.checkpoint();
        }
    });
}
