//! Topics that keep the newest record of each key.

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
