//! The fold, against a table of who has each position.

use highwater_proto::cluster::group_event::{Ack, Claim, Frontier, Join, Leave, Range};
use proptest::prelude::*;

use super::*;

const SHARD: ShardId = ShardId(3);

fn member_id(number: u8) -> MemberId {
    MemberId::from_bytes([number; 16])
}

fn home(node: u64, started_at_ms: u64) -> Home {
    Home {
        node,
        started_at_ms,
    }
}

fn event(event: Event) -> GroupEvent {
    GroupEvent { event: Some(event) }
}

fn join(number: u8, home: Home, position: u64) -> GroupEvent {
    event(Event::Join(Join {
        member: Some(wire_member(member_id(number), home)),
        frontiers: vec![Frontier {
            shard: SHARD.0,
            position,
        }],
    }))
}

fn leave(number: u8) -> GroupEvent {
    event(Event::Leave(Leave {
        member: bytes(member_id(number)),
    }))
}

fn claim(number: u8, end_position: u64) -> GroupEvent {
    event(Event::Claim(Claim {
        member: bytes(member_id(number)),
        shard: SHARD.0,
        end_position,
    }))
}

fn range(start: u64, end: u64) -> Range {
    Range {
        shard: SHARD.0,
        start_position: start,
        end_position: end,
    }
}

fn done(number: u8, start: u64, end: u64) -> GroupEvent {
    event(Event::Ack(Ack {
        member: bytes(member_id(number)),
        done: vec![range(start, end)],
        returned: vec![],
    }))
}

fn returned(number: u8, start: u64, end: u64) -> GroupEvent {
    event(Event::Ack(Ack {
        member: bytes(member_id(number)),
        done: vec![],
        returned: vec![range(start, end)],
    }))
}

fn span(start: u64, end: u64) -> Span {
    Span { start, end }
}

#[test]
fn what_is_claimed_at_once_is_claimed_one_after_the_other() {
    let mut group = Group::default();
    assert_eq!(group.apply(claim(1, 9)), None, "nobody has joined");
    group.apply(join(1, home(1, 0), 5));
    group.apply(join(2, home(2, 0), 7));
    assert_eq!(
        group.apply(claim(1, 9)),
        Some((member_id(1), SHARD, span(5, 9)))
    );
    assert_eq!(group.apply(claim(2, 9)), None);
    assert_eq!(
        group.apply(claim(2, 12)),
        Some((member_id(2), SHARD, span(9, 12)))
    );
}

#[test]
fn what_a_member_had_not_acknowledged_is_for_the_others() {
    let mut group = Group::default();
    group.apply(join(1, home(1, 0), 0));
    group.apply(join(2, home(2, 0), 0));
    group.apply(claim(1, 10));
    group.apply(done(1, 3, 5));
    group.apply(done(2, 0, 10));
    group.apply(returned(1, 8, 9));
    group.apply(leave(1));
    let mut left = Vec::new();
    while let Some((_, _, span)) = group.apply(claim(2, 0)) {
        left.push(span);
    }
    assert_eq!(left, [span(0, 3), span(5, 8), span(8, 9), span(9, 10)]);
    group.apply(done(2, 0, 10));
    group.apply(leave(2));
    group.apply(join(3, home(1, 0), 77));
    assert_eq!(
        group.apply(claim(3, 11)),
        Some((member_id(3), SHARD, span(10, 11)))
    );
}

#[test]
fn members_of_a_node_are_gone_when_it_was_started_again() {
    let mut group = Group::default();
    group.apply(join(1, home(1, 5), 0));
    group.apply(join(2, home(2, 5), 0));
    group.apply(claim(1, 4));
    group.apply(join(3, home(1, 6), 0));
    assert!(!group.has(member_id(1)) && group.has(member_id(2)) && group.has(member_id(3)));
    assert_eq!(
        group.apply(claim(2, 4)),
        Some((member_id(2), SHARD, span(0, 4)))
    );
}

#[test]
fn members_take_turns() {
    let mut group = Group::default();
    for number in 1..=3 {
        group.apply(join(number, home(1, 0), 0));
    }
    for turn in 0..7u64 {
        let ranks: Vec<u64> = (1..=3)
            .map(|number| group.rank(member_id(number)))
            .collect();
        let first = (turn % 3) as usize;
        assert_eq!(ranks[first], 0, "{turn}: {ranks:?}");
        assert_eq!(ranks.iter().sum::<u64>(), 3);
        group.apply(claim(1, turn + 1));
    }
}

fn any_event() -> impl Strategy<Value = GroupEvent> {
    let number = 1u8..4;
    prop_oneof![
        (number.clone(), 0u64..3).prop_map(|(number, at)| join(number, home(number.into(), at), 0)),
        number.clone().prop_map(leave),
        (number.clone(), 0u64..40).prop_map(|(number, end)| claim(number, end)),
        (number.clone(), 0u64..40, 0u64..8).prop_map(|(number, start, len)| done(
            number,
            start,
            start + len
        )),
        (number, 0u64..40, 0u64..8).prop_map(|(number, start, len)| returned(
            number,
            start,
            start + len
        )),
    ]
}

proptest! {
    /// Every position below the frontier is done with, or somebody's, or nobody's: never two of these, and
    /// what was acknowledged never comes back.
    #[test]
    fn every_position_is_in_one_place(events in prop::collection::vec(any_event(), 0..120)) {
        let mut group = Group::default();
        let mut is_done = [false; 64];
        for event in events {
            let before = group.clone();
            if let Some(Event::Ack(ack)) = &event.event {
                for range in &ack.done {
                    for at in range.start_position..range.end_position {
                        let part = before.parts.get(&SHARD);
                        let owner = part.and_then(|part| part.leases.range(..=at).next_back());
                        if owner.is_some_and(|(_, lease)| lease.end > at && Some(lease.member) == id(&ack.member)) {
                            is_done[at as usize] = true;
                        }
                    }
                }
            }
            group.apply(event);
            prop_assert_eq!(&Group::restore(&group.snapshot(0)), &group);
            let Some(part) = group.parts.get(&SHARD) else { continue };
            for at in 0..part.frontier {
                let leased = part.leases.iter().filter(|(start, lease)| **start <= at && at < lease.end).count();
                let given_back = part.returned.iter().filter(|(start, end)| **start <= at && at < **end).count();
                prop_assert_eq!(leased + given_back + usize::from(is_done[at as usize]), 1, "position {}", at);
            }
            prop_assert!(part.leases.values().all(|lease| group.members.contains_key(&lease.member)));
        }
    }
}
