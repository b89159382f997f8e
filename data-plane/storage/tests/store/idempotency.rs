//! A retried publish is one message, for as long as its key is remembered.

use bytes::Bytes;
use highwater_broker::handle::Published;
use highwater_proto::{cluster, limits::IDEMPOTENCY_WINDOW_MS};

use crate::world::*;

fn publish(world: &mut World, key: u8) -> Published {
    let publish = cluster::Publish {
        idempotency: Bytes::from(vec![key; 16]),
        ..message("m")
    };
    world.publish_batch(vec![run(PROJECT, "a", vec![publish])])[0]
}

#[test]
fn a_retry_gets_the_first_offset_across_checkpoint_and_crash() {
    on_each_store(|mut world| {
        let first = publish(&mut world, 1);
        let retried = |world: &mut World| {
            let again = publish(world, 1);
            assert_eq!((again.offset, again.duplicate), (first.offset, true));
        };
        retried(&mut world);
        world.checkpoint();
        retried(&mut world);
        world.crash();
        retried(&mut world);
        assert!(!publish(&mut world, 2).duplicate);
        assert_eq!(world.texts("a").len(), 2);
    });
}

#[test]
fn a_key_is_known_in_its_window_and_the_next_and_no_longer() {
    on_each_store(|mut world| {
        world.time_ms = 10 * IDEMPOTENCY_WINDOW_MS;
        assert!(!publish(&mut world, 1).duplicate);
        world.checkpoint();
        world.time_ms = 12 * IDEMPOTENCY_WINDOW_MS - 1;
        assert!(publish(&mut world, 1).duplicate);
        world.checkpoint();
        world.time_ms += 1;
        assert!(!publish(&mut world, 1).duplicate);
        assert!(publish(&mut world, 1).duplicate);
    });
}

#[test]
fn expired_keys_leave_the_store() {
    let mut world = World::in_memory();
    let keys = |world: &World| {
        let kv = world.disk.memory().unwrap();
        let contents = kv.contents();
        let keys = contents
            .keys()
            .filter_map(|k| highwater_storage::keys::Key::decode_whole(k));
        keys.filter(|k| matches!(k, highwater_storage::keys::Key::Idempotency(..)))
            .count()
    };
    for key in 0..5 {
        publish(&mut world, key);
    }
    world.checkpoint();
    assert_eq!(keys(&world), 5);
    world.time_ms += 2 * IDEMPOTENCY_WINDOW_MS;
    publish(&mut world, 9);
    world.checkpoint();
    assert_eq!(keys(&world), 1);
}
