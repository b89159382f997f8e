//! What is counted, and that it is counted once.

use highwater_proto::{ids::ProjectId, limits::METER_FORGOTTEN_MS};

use super::*;

const PROJECT: ProjectId = ProjectId::from_bytes([7; 16]);

fn reading(number: u64, node: u64, messages_out: u64, connections: u64) -> wire::Reading {
    let traffic = Traffic {
        messages_out,
        ..Traffic::default()
    };
    wire::Reading {
        time_ms: 0,
        meter: vec![node as u8; 16].into(),
        number,
        node,
        projects: vec![wire::ProjectReading {
            project: PROJECT.as_bytes().to_vec().into(),
            traffic: vec![traffic.to_wire(Protocol::Mqtt)],
            connections,
            keys: vec![key_use(&[9; 16], number)],
        }],
    }
}

fn came(messages: &[(Protocol, u64)]) -> Traffics {
    let mut traffics = Traffics::default();
    for (protocol, bytes) in messages {
        came_in(&mut traffics, *protocol, *bytes);
    }
    traffics
}

#[test]
fn a_reading_that_is_sent_again_is_taken_once() {
    let (mut ledger, mut metered) = (Ledger::default(), Metered::default());
    let mut take = |number, node, messages| {
        ledger.take(&reading(number, node, messages, 1), 10, &mut metered);
        ledger.hour(PROJECT).unwrap().traffic[4].messages_out
    };
    assert_eq!(take(1, 1, 5), 5);
    assert_eq!(take(1, 1, 5), 5);
    assert_eq!(take(1, 2, 7), 12);
    assert_eq!(take(2, 1, 1), 13);
    assert_eq!(take(1, 1, 5), 13);
}

#[test]
fn a_ledger_is_restored_as_it_was_stored() {
    let (mut ledger, mut metered) = (Ledger::default(), Metered::default());
    ledger.take(&reading(3, 1, 5, 2), 10, &mut metered);
    ledger.appended(PROJECT, &came(&[(Protocol::Http, 9)]), 9, 20, &mut metered);
    let hour = Hour::from_wire(&ledger.hour(PROJECT).unwrap().to_wire());
    assert_eq!(Some(&hour), ledger.hour(PROJECT));
    let mut restored = Ledger::restore([(PROJECT, hour)], ledger.meters());
    restored.take(&reading(3, 1, 5, 2), 30, &mut metered);
    assert_eq!(restored.hour(PROJECT), ledger.hour(PROJECT));
    // A meter that was not heard of for long is forgotten when others are heard of.
    restored.take(&reading(1, 2, 0, 0), 10 + METER_FORGOTTEN_MS, &mut metered);
    assert_eq!(restored.meters().meters.len(), 1);
}

#[test]
fn an_hour_is_over_when_the_next_one_begins_and_what_is_stored_stays() {
    let (mut ledger, mut metered) = (Ledger::default(), Metered::default());
    ledger.appended(
        PROJECT,
        &came(&[(Protocol::Http, 9), (Protocol::Mqtt, 1)]),
        10,
        20,
        &mut metered,
    );
    ledger.appended(
        PROJECT,
        &came(&[(Protocol::Unspecified, 5)]),
        15,
        30,
        &mut metered,
    );
    assert!(metered.over.is_empty());
    ledger.stores(PROJECT, 4, HOUR_MS, &mut metered);
    let (_, over) = metered.over.pop().unwrap();
    assert_eq!((over.hour, over.stored_bytes), (0, 15));
    assert_eq!(over.traffic[0].messages_in + over.traffic[4].messages_in, 2);
    let now = ledger.hour(PROJECT).unwrap();
    assert_eq!(
        (now.hour, now.stored_bytes, now.traffic),
        (1, 4, Traffics::default())
    );
    ledger.take(&reading(1, 1, 1, 0), 3 * HOUR_MS, &mut metered);
    assert_eq!(ledger.hour(PROJECT).unwrap().stored_bytes, 4);
    // When keys were used is known from hour to hour, and kept once.
    ledger.take(&reading(7, 1, 0, 0), 4 * HOUR_MS, &mut metered);
    ledger.take(&reading(1, 2, 0, 0), 5 * HOUR_MS, &mut metered);
    let keys = &ledger.hour(PROJECT).unwrap().keys;
    assert_eq!(keys.values().collect::<Vec<_>>(), [&7]);
    assert!(metered.over.iter().all(|(_, hour)| hour.keys.is_empty()));
}

#[test]
fn the_peak_is_of_all_nodes_together_and_a_node_that_is_gone_has_none() {
    let (mut ledger, mut metered) = (Ledger::default(), Metered::default());
    let mut take = |number, node, connections, time_ms| {
        ledger.take(
            &reading(number, node, 0, connections),
            time_ms,
            &mut metered,
        );
        ledger.hour(PROJECT).unwrap().peak_connections
    };
    assert_eq!(take(1, 1, 3, 0), 3);
    assert_eq!(take(1, 2, 4, 10), 7);
    assert_eq!(take(2, 1, 1, 20), 7);
    assert_eq!(take(2, 2, 5, 30), 7);
    assert_eq!(take(3, 2, 8, 20 + SAID_MS), 8);
}

#[test]
fn shards_are_added_up_and_what_one_stores_stays_while_it_says_nothing() {
    let hour = |hour, stored_bytes, messages_in| {
        let mut made = Hour::new(hour);
        made.stored_bytes = stored_bytes;
        made.traffic[0].messages_in = messages_in;
        made
    };
    let merged = merge(vec![
        vec![hour(1, 10, 1), hour(3, 30, 3)],
        vec![hour(2, 5, 2), hour(3, 6, 4)],
    ]);
    let seen: Vec<_> = merged
        .iter()
        .map(|h| (h.hour, h.stored_bytes, h.traffic[0].messages_in))
        .collect();
    assert_eq!(seen, [(1, 10, 1), (2, 15, 2), (3, 36, 7)]);
}

#[test]
fn a_connection_counts_for_as_long_as_it_is_open() {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use crate::{catalogue::Quotas, quota::Usage};

    let usage = Usage::of_tenant(&Quotas::default());
    let now = Arc::new(AtomicU64::new(1_000));
    let clock = || {
        let now = now.clone();
        Arc::new(move || now.load(Ordering::SeqCst)) as Arc<dyn Fn() -> u64 + Send + Sync>
    };
    let first = Online::new(usage.clone(), Protocol::Sse, clock());
    now.store(1_500, Ordering::SeqCst);
    let second = Online::new(usage.clone(), Protocol::Sse, clock());
    let meter = usage.meter();
    assert_eq!(meter.read(2_000)[2].connection_ms, 1_000 + 500);
    drop(first);
    now.store(4_000, Ordering::SeqCst);
    assert_eq!(meter.read(4_000)[2].connection_ms, 500 + 2_500);
    assert_eq!(meter.take_open_max(), 2);
    assert_eq!(meter.take_open_max(), 1);
    drop(second);
    assert_eq!(meter.read(9_000)[2].connection_ms, 500 + 2_500);
    assert_eq!((meter.open(), meter.take_open_max()), (0, 1));
}
