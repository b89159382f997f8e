//! Every key is read back as what it was, and sorts as what it means.

use proptest::prelude::*;

use super::*;

fn any_key() -> impl Strategy<Value = Key> {
    let topic = || any::<u64>().prop_map(TopicId);
    let project = || any::<[u8; 16]>().prop_map(ProjectId::from_bytes);
    let hash = any::<[u8; 16]>();
    prop_oneof![
        Just(Key::Counters),
        Just(Key::Applied),
        topic().prop_map(Key::Topic),
        (topic(), any::<u64>()).prop_map(|(t, n)| Key::Block(t, n)),
        (project(), any::<u64>()).prop_map(|(p, n)| Key::Feed(p, n)),
        project().prop_map(Key::FeedFloor),
        (any::<u64>(), topic(), hash).prop_map(|(w, t, k)| Key::Idempotency(w, t, k)),
        (topic(), hash).prop_map(|(t, k)| Key::Keyed(t, k)),
        (project(), topic()).prop_map(|(p, t)| Key::Tombstone(p, t)),
        topic().prop_map(Key::Retained),
        (project(), any::<u64>()).prop_map(|(p, h)| Key::Usage(p, h)),
        project().prop_map(Key::UsageNow),
        Just(Key::Meters),
    ]
}

proptest! {
    #[test]
    fn a_key_is_read_back(shard in 0..u32::MAX - 1, generation: u32, key in any_key()) {
        let prefix = Prefix::new(ShardId(shard), generation);
        let bytes = prefix.key(key);
        prop_assert_eq!(Key::decode_whole(&bytes), Some(key));
        prop_assert_eq!(prefix.join(&bytes[PREFIX_BYTES..]), bytes.clone());
        prop_assert!(prefix.all().contains(&bytes));
        prop_assert!(generations_from(ShardId(shard), generation).contains(&bytes));
        if let Key::Block(topic, _) = key {
            prop_assert!(prefix.blocks(topic).contains(&bytes));
        }
        if let Key::Retained(topic) = key {
            prop_assert!(prefix.retained(topic).contains(&bytes));
        }
        if let Key::Keyed(topic, _) = key {
            prop_assert!(prefix.keyed(topic).contains(&bytes));
        }
    }

    #[test]
    fn keys_sort_by_their_numbers(topic: u64, a: u64, b: u64) {
        let prefix = Prefix::new(ShardId(1), 1);
        let key = |offset| prefix.key(Key::Block(TopicId(topic), offset));
        prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
    }

    #[test]
    fn what_is_no_key_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Some(key) = Key::decode(&bytes) {
            let mut again = Vec::new();
            key.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}

#[test]
fn expired_windows_are_a_range_of_their_own() {
    let prefix = Prefix::new(ShardId(1), 1);
    let key = |window| prefix.key(Key::Idempotency(window, TopicId(9), [1; 16]));
    let expired = prefix.idempotency_before(5);
    assert!(expired.contains(&key(0)) && expired.contains(&key(4)));
    assert!(!expired.contains(&key(5)));
    assert!(!expired.contains(&prefix.key(Key::FeedFloor(ProjectId::from_bytes([255; 16])))));
}

#[test]
fn shards_and_generations_do_not_overlap() {
    let key = |shard, generation| Prefix::new(ShardId(shard), generation).key(Key::Counters);
    assert!(generations(ShardId(1), 1..3).contains(&key(1, 2)));
    assert!(!generations(ShardId(1), 1..3).contains(&key(1, 3)));
    assert!(!generations_from(ShardId(1), 1).contains(&key(2, 1)));
    assert!(!generations_from(ShardId(1), 1).contains(&generation(ShardId(1))));
}

#[test]
fn an_erasure_is_read_back_and_lies_beside_the_shards() {
    let range = Prefix::new(ShardId(7), 3).blocks(TopicId(u64::MAX));
    let key = erasure(&range.start);
    assert!(erasures().contains(&key));
    assert_eq!(erasure_start(&key), Some(&range.start[..]));
    assert!(!erasures().contains(&format()) && !erasures().contains(&identity()));
}
