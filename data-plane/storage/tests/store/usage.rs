//! What projects have used is known across checkpoints, crashes and snapshots.

use std::ops::Range;

use highwater_broker::metering::HOUR_MS;
use highwater_proto::{
    cluster::{self, Protocol, command::Command},
    limits::USAGE_HOURS_KEPT,
};

use crate::world::*;

const ALL_HOURS: Range<u64> = 0..u64::MAX;

fn publish(world: &mut World, hour: u64, text: &str) {
    world.time_ms = hour * HOUR_MS;
    let publish = cluster::Publish {
        protocol: Protocol::Mqtt.into(),
        ..message(text)
    };
    world.publish_batch(vec![run(PROJECT, "a", vec![publish])]);
}

fn read_meter(world: &mut World, number: u64, messages_out: u64) {
    let traffic = cluster::Traffic {
        protocol: Protocol::Sse.into(),
        messages_out,
        ..cluster::Traffic::default()
    };
    let reading = cluster::Reading {
        time_ms: world.time_ms,
        meter: vec![5; 16].into(),
        number,
        node: 1,
        projects: vec![cluster::ProjectReading {
            project: PROJECT.as_bytes().to_vec().into(),
            traffic: vec![traffic],
            connections: 1,
            keys: Vec::new(),
        }],
    };
    world.apply(Command::Reading(reading));
}

/// Each hour: messages in over MQTT, and out over event streams.
fn seen(world: &World, hours: Range<u64>) -> Vec<(u64, u64, u64)> {
    let hours = world.shard().usage(PROJECT, hours).unwrap();
    let each = hours.iter();
    each.map(|h| (h.hour, h.traffic[4].messages_in, h.traffic[2].messages_out))
        .collect()
}

#[test]
fn hours_are_known_wherever_they_are() {
    on_each_store(|mut world| {
        publish(&mut world, 10, "x");
        publish(&mut world, 10, "y");
        read_meter(&mut world, 1, 7);
        let check = |world: &mut World, expected: &[(u64, u64, u64)]| {
            assert_eq!(seen(world, ALL_HOURS), expected);
            world.checkpoint();
            assert_eq!(seen(world, ALL_HOURS), expected);
            world.crash();
            assert_eq!(seen(world, ALL_HOURS), expected);
        };
        check(&mut world, &[(10, 2, 7)]);
        publish(&mut world, 10, "z");
        // Sent again: it is remembered across the crash.
        read_meter(&mut world, 1, 7);
        check(&mut world, &[(10, 3, 7)]);
        publish(&mut world, 12, "x");
        publish(&mut world, 13, "x");
        check(&mut world, &[(10, 3, 7), (12, 1, 0), (13, 1, 0)]);
        // Without a checkpoint, the log is applied again, and nothing is counted twice.
        publish(&mut world, 14, "x");
        world.crash();
        assert_eq!(seen(&world, 13..20), [(12, 1, 0), (13, 1, 0), (14, 1, 0)]);
        assert_eq!(seen(&world, 11..12), [(10, 3, 7)]);
        assert_eq!(seen(&world, 0..10), []);
    });
}

#[test]
fn what_is_stored_is_known_after_it_was_trimmed_and_deleted() {
    let mut world = World::in_memory();
    publish(&mut world, 10, "x");
    publish(&mut world, 10, "y");
    let stored = |world: &World| {
        let hours = world.shard().usage(PROJECT, ALL_HOURS).unwrap();
        hours.last().unwrap().stored_bytes
    };
    let both = stored(&world);
    let topic_id = world.id("a").0;
    world.trim(vec![cluster::TopicTrim {
        topic_id,
        first_offset: 1,
        first_bytes: both / 2,
    }]);
    assert_eq!(stored(&world), both / 2);
    world.delete("a");
    assert_eq!(stored(&world), 0);
    world.checkpoint();
    world.crash();
    assert_eq!(stored(&world), 0);
}

#[test]
fn hours_of_long_ago_are_forgotten() {
    on_each_store(|mut world| {
        publish(&mut world, 10, "x");
        publish(&mut world, 11, "x");
        publish(&mut world, 12, "x");
        world.checkpoint();
        publish(&mut world, 11 + USAGE_HOURS_KEPT, "x");
        publish(&mut world, 12 + USAGE_HOURS_KEPT, "x");
        world.checkpoint();
        let hours: Vec<u64> = seen(&world, ALL_HOURS)
            .iter()
            .map(|(hour, ..)| *hour)
            .collect();
        assert_eq!(
            hours,
            [11, 12, 11 + USAGE_HOURS_KEPT, 12 + USAGE_HOURS_KEPT]
        );
    });
}
