//! Readers that begin with what is retained.

use super::*;

impl World {
    async fn retain(&self, topic: &str, payload: &str) -> Published {
        self.retain_with_ttl(topic, payload, 0).await
    }

    async fn retain_with_ttl(&self, topic: &str, payload: &str, ttl_ms: u64) -> Published {
        let retain = match payload {
            "" => Retain::Clear,
            _ => Retain::Set,
        };
        let (broker, project) = (&self.broker, &self.project);
        publish(broker, project, topic, (payload, ttl_ms), retain).await
    }
}

impl Reader {
    /// What there is without waiting: what is retained, then the rest.
    async fn retained(&mut self, limits: PageLimits) -> (Vec<Seen>, Vec<Seen>) {
        let time_ms = self.time_ms.clone();
        let now = move || time_ms.load(Ordering::Relaxed);
        let (mut retained, mut live) = (Vec::new(), Vec::new());
        while let Some(delivery) = self.subscription.try_next(limits, &now).await.unwrap() {
            assert_eq!(delivery.gaps, []);
            match delivery.is_retained {
                true => retained.extend(self.look_at(&delivery)),
                false => live.extend(self.look_at(&delivery)),
            }
        }
        (retained, live)
    }
}

fn payloads(seen: &[Seen]) -> Vec<&str> {
    let mut payloads: Vec<&str> = seen.iter().map(|r| r.payload.as_str()).collect();
    payloads.sort_unstable();
    payloads
}

#[tokio::test]
async fn retained_is_the_retained_record_of_each_topic_then_all_that_follow() {
    for shards in [1, 3] {
        let world = World::new(shards);
        for topic in ["a/1", "a/2", "a/3", "b/1"] {
            world.publish(topic, "before").await;
            world.retain(topic, &format!("{topic} old")).await;
            world.retain(topic, &format!("{topic} kept")).await;
            world.publish(topic, "after").await;
        }
        world.publish("a/4", "never retained").await;
        world.retain("a/3", "").await;
        for records in [1, 1_000] {
            let limits = PageLimits { records, ..ALL };
            let mut reader = world.subscribe(&["a/#", "c"], "retained").await;
            let mut one = world.subscribe(&["a/1"], "retained").await;
            world.publish("a/1", "live").await;
            let (retained, live) = reader.retained(limits).await;
            assert_eq!(payloads(&retained), ["a/1 kept", "a/2 kept"]);
            assert_eq!(payloads(&live), ["live"]);
            let (retained, live) = one.retained(limits).await;
            assert_eq!(payloads(&retained), ["a/1 kept"]);
            assert_eq!((retained[0].offset, payloads(&live)), (2, vec!["live"]));
        }
        // One that is replaced after the subscription was opened comes as all that is published since.
        for filter in ["a/2", "a/+"] {
            let mut reader = world.subscribe(&[filter], "retained").await;
            world.retain("a/2", "a/2 kept").await;
            let (retained, live) = reader.retained(ALL).await;
            assert!(!payloads(&retained).contains(&"a/2 kept"));
            assert_eq!(payloads(&live), ["a/2 kept"]);
        }
    }
}

#[tokio::test]
async fn a_topic_without_a_retained_record_yields_nothing() {
    let world = World::new(1);
    world.publish("never", "x").await;
    for payload in ["x", ""] {
        world.retain("cleared", payload).await;
    }
    world.retain("deleted", "x").await;
    world.delete("deleted").await;
    world.publish("deleted", "anew").await;
    world.retain_with_ttl("expired", "x", 50).await;
    world.time_ms.store(1_050, Ordering::Relaxed);
    for filter in ["never", "cleared", "deleted", "expired", "unknown", "#"] {
        let mut reader = world.subscribe(&[filter], "retained").await;
        assert_eq!(reader.payloads().await, Vec::<String>::new(), "{filter}");
        world.publish("never", "live").await;
        let expected = usize::from(filter == "never" || filter == "#");
        assert_eq!(reader.payloads().await.len(), expected, "{filter}");
    }
    // What a clearing was, a record without a payload, is one among others.
    let mut reader = world.subscribe(&["cleared"], "earliest").await;
    assert_eq!(reader.payloads().await, ["x", ""]);
}

#[tokio::test]
async fn a_retained_record_outlives_the_retention_of_its_topic() {
    let world = World::new(1);
    world.retain("a", "kept").await;
    for number in 0..3 {
        world.publish("a", &number.to_string()).await;
    }
    world.shards[0].trim(world.project.id, &name("a"), 3);
    for filter in ["a", "+"] {
        let mut reader = world.subscribe(&[filter], "retained").await;
        assert_eq!(reader.payloads().await, ["kept"]);
        let mut reader = world.subscribe(&[filter], "earliest").await;
        assert!(reader.rest(ALL).await.0.iter().all(|r| r.payload == "2"));
    }
}

#[tokio::test]
async fn whoever_comes_back_has_the_rest_of_what_is_retained_and_all_since_then() {
    for (shards, filters) in [(1, ["a/+"]), (3, ["a/+"]), (1, ["a/1"]), (3, ["a/1"])] {
        let world = World::new(shards);
        for number in 0..6 {
            world.retain(&format!("a/{number}"), "kept").await;
            world.publish(&format!("a/{number}"), "history").await;
        }
        let all = world.subscribe(&filters, "retained").await;
        let receipt = all.subscription.cursor();
        world.publish("a/1", "live").await;
        // Record after record, each time with the cursor of the last one.
        let (mut retained, mut live, mut cursor) = (Vec::new(), Vec::new(), receipt);
        loop {
            let mut reader = world.subscribe(&filters, &format!("cursor:{cursor}")).await;
            let now = || 0;
            let one = PageLimits { records: 1, ..ALL };
            let Some(delivery) = reader.subscription.try_next(one, &now).await.unwrap() else {
                break;
            };
            assert_eq!(delivery.gaps, []);
            let seen = reader.look_at(&delivery);
            cursor = reader.cursor.clone();
            match delivery.is_retained {
                true => retained.extend(seen),
                false => live.extend(seen),
            }
        }
        let expected = if filters == ["a/+"] { 6 } else { 1 };
        assert_eq!(payloads(&retained), vec!["kept"; expected]);
        let topics: std::collections::HashSet<_> = retained.iter().map(|r| &r.topic).collect();
        assert_eq!(topics.len(), expected, "each once");
        assert_eq!(payloads(&live), ["live"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_retained_joins_live_without_a_seam_while_writers_go_on() {
    const COUNT: u64 = 1_000;
    const TOPICS: [&str; 4] = ["a/1", "a/2", "a/3", "a/4"];
    for (filter, shards) in [("a/+", 3), ("a/1", 3), ("a/+", 1)] {
        let world = World::with_tail(shards, 50 * RECORD_BYTES);
        let wanted = TOPICS.iter().filter(|t| {
            let filter = TopicFilter::try_from(filter).unwrap();
            filter.matches(t)
        });
        let wanted = wanted.count();
        let mut writers = write_each(&world, &TOPICS, COUNT, Retain::Set);
        let mut finished = 0;
        while finished < wanted {
            let mut reader = world.subscribe(&[filter], "retained").await;
            // Each topic's records follow one another, whichever of them the reader began with.
            let mut next: HashMap<String, u64> = HashMap::new();
            finished = 0;
            for turn in 0..40 {
                if finished == wanted {
                    break;
                }
                let limits = PageLimits {
                    records: 1 + turn % 7,
                    ..ALL
                };
                let (records, gaps) = reader.next(limits).await;
                assert_eq!(gaps, []);
                for record in records {
                    let known = next.insert(record.topic.clone(), record.offset + 1);
                    assert!(known.is_none_or(|next| next == record.offset), "{record:?}");
                    finished += usize::from(record.offset + 1 == COUNT);
                }
            }
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
    }
}
