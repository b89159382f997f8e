//! The oracle notices each kind of broken promise.

use std::sync::Arc;

use highwater_broker::segment::{Segment, TopicIdentity};
use highwater_proto::{ErrorCode, ids::ProjectId};

use super::*;

fn topic() -> TopicName {
    TopicName::try_from("a").unwrap()
}

fn message(number: u32) -> MessageId {
    MessageId {
        publisher: 1,
        number,
        filler: 5,
    }
}

fn at(offset: u64) -> Published {
    Published {
        topic: TopicId(1),
        offset,
        duplicate: false,
    }
}

fn slice(base: u64, numbers: &[u32]) -> Slice {
    let identity = TopicIdentity::new(ProjectId::from_bytes([7; 16]), topic(), TopicId(1));
    let messages = numbers.iter().map(|n| message(*n).encode()).collect();
    Slice::whole(Arc::new(Segment::new(
        Arc::new(identity),
        base,
        base,
        0,
        0,
        messages,
    )))
}

fn oracle() -> Oracle {
    let mut oracle = Oracle::default();
    for number in 0..4 {
        oracle.publishing(&topic(), message(number));
    }
    oracle
}

#[test]
fn what_was_acknowledged_stays_where_it_is() {
    let mut oracle = oracle();
    oracle.acked(&topic(), message(0), at(0), 0).unwrap();
    oracle.seen(ShardId(0), &slice(0, &[0, 1])).unwrap();
    assert!(oracle.seen(ShardId(0), &slice(1, &[2])).is_err());
    assert!(oracle.seen(ShardId(0), &slice(2, &[0])).is_err());
}

#[test]
fn what_was_refused_is_not_there() {
    let mut oracle = oracle();
    let refusal = |code| Refusal::new(code, "no");
    oracle
        .not_acked(&topic(), message(0), &refusal(ErrorCode::Unavailable))
        .unwrap();
    oracle
        .not_acked(&topic(), message(1), &refusal(ErrorCode::NoLeader))
        .unwrap();
    oracle.seen(ShardId(0), &slice(0, &[0])).unwrap();
    assert!(oracle.seen(ShardId(0), &slice(1, &[1])).is_err());
}

#[test]
fn what_begins_later_sees_no_less() {
    let mut oracle = oracle();
    oracle.acked(&topic(), message(0), at(3), 0).unwrap();
    assert_eq!(oracle.end(&topic()), 4);
    oracle.reaches(&topic(), 4, 4).unwrap();
    assert!(oracle.reaches(&topic(), 3, 4).is_err());
    assert!(oracle.acked(&topic(), message(1), at(2), 4).is_err());
}

#[test]
fn a_replica_that_ends_early_is_noticed() {
    let mut oracle = oracle();
    oracle.seen(ShardId(0), &slice(0, &[0, 1])).unwrap();
    oracle.holds(&topic(), 0, &[slice(0, &[0, 1])]).unwrap();
    assert!(oracle.holds(&topic(), 0, &[slice(0, &[0])]).is_err());
}
