//! Every small value is read back, and no bytes make reading one panic.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn values_are_read_back(numbers: [u64; 6], flags: [bool; 2], retained: Option<u64>, name in "[a-z/]{1,30}", membership: Option<Vec<u8>>) {
        let mut topic = Topic {
            identity: Arc::new(TopicIdentity::new(
                ProjectId::from_bytes([3; 16]),
                TopicName::try_from(name.as_str()).unwrap(),
                TopicId(9),
            )),
            first_offset: numbers[0].min(numbers[1]),
            next_offset: numbers[0].max(numbers[1]),
            first_bytes: numbers[2].min(numbers[3]),
            next_bytes: numbers[2].max(numbers[3]),
            last_position: numbers[4],
            time_ms: numbers[5],
            last_value: flags[0],
            retained: None,
        };
        if topic.next_offset > 0 {
            topic.retained = retained.map(|position| RetainedRecord {
                offset: numbers[5] % topic.next_offset,
                position,
            });
        }
        let value = encode_topic(&topic, flags[1]);
        prop_assert_eq!(decode_topic(TopicId(9), &value), Ok((topic.clone(), flags[1])));
        if let Some(beyond) = &mut topic.retained {
            beyond.offset = topic.next_offset;
            prop_assert!(decode_topic(TopicId(9), &encode_topic(&topic, false)).is_err());
        }
        topic.first_offset = 1;
        topic.next_offset = 0;
        prop_assert!(decode_topic(TopicId(9), &encode_topic(&topic, false)).is_err());

        let counters = Counters { next_position: numbers[0], next_topic: numbers[1], time_ms: numbers[2] };
        prop_assert_eq!(decode_counters(&encode_counters(&counters)), Ok(counters));

        let id = LogId { term: numbers[0], node: numbers[1], index: numbers[2] };
        let membership = membership.map(Bytes::from);
        let value = encode_applied(id, membership.as_ref());
        prop_assert_eq!(decode_applied(&value), Ok((id, membership)));

        let tombstone = Tombstone { name: topic.identity.name.clone(), next_offset: numbers[0] };
        prop_assert_eq!(decode_tombstone(&encode_tombstone(&tombstone)), Ok(tombstone));
        prop_assert_eq!(decode_number(&encode_number(numbers[0])), Ok(numbers[0]));

        let identity = Identity {
            cluster: topic.identity.name.to_string(),
            node: NodeId(numbers[0]),
            shards: numbers[1] as u32,
            replication: numbers[2] as u32,
        };
        prop_assert_eq!(decode_identity(&encode_identity(&identity)), Ok(identity));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), version: Option<bool>) {
        let mut bytes = bytes;
        if let (Some(first), Some(version)) = (bytes.first_mut(), version) {
            *first = if version { VERSION } else { VERSION_RETAINING };
        }
        let _ = decode_topic(TopicId(1), &bytes);
        let _ = decode_counters(&bytes);
        let _ = decode_applied(&bytes);
        let _ = decode_tombstone(&bytes);
        let _ = decode_number(&bytes);
        let _ = decode_identity(&bytes);
    }
}
