//! What publishers were promised, and whether what is read back keeps it.

use std::collections::{BTreeMap, HashMap};

use highwater_proto::client::{PublishResult, Record};

/// Every acknowledged message of a test. A message is known by its payload, which is unique.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    acked: HashMap<String, PublishResult>,
}

impl Ledger {
    /// Notes an ack.
    pub fn ack(&mut self, payload: String, result: PublishResult) {
        let before = self.acked.insert(payload, result);
        assert!(before.is_none(), "a payload is published once");
    }

    /// Adds what another publisher was promised.
    pub fn merge(&mut self, other: Ledger) {
        for (payload, result) in other.acked {
            self.ack(payload, result);
        }
    }

    /// How many messages were acknowledged.
    pub fn len(&self) -> usize {
        self.acked.len()
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.acked.is_empty()
    }

    /// The topics that have acknowledged messages.
    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.acked.values().map(|r| r.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// Checks all records of one topic, read by its name from its beginning: every acknowledged
    /// message is at the offset and cursor its ack named, no message is there twice, offsets have no
    /// holes, and each publisher's messages are in the order it sent them.
    ///
    /// # Panics
    /// With the first broken promise.
    pub fn check(&self, topic: &str, records: &[Record]) {
        self.check_read_by_filter(topic, records);
        for record in records {
            if let Some(result) = self.acked.get(text(record)) {
                assert_eq!(record.cursor, result.cursor, "cursor of {}", text(record));
            }
        }
    }

    /// The same of records that were read by a filter, whose cursors are the filter's.
    ///
    /// # Panics
    /// With the first broken promise.
    pub fn check_read_by_filter(&self, topic: &str, records: &[Record]) {
        let mut offsets: HashMap<&str, u64> = HashMap::new();
        for (expected, record) in records.iter().enumerate() {
            let payload = text(record);
            assert_eq!(record.offset, expected as u64, "a hole in {topic}");
            let before = offsets.insert(payload, record.offset);
            assert_eq!(before, None, "{payload:?} is in {topic} more than once");
        }
        let (mut lost, mut moved) = (BTreeMap::new(), BTreeMap::new());
        for (payload, result) in self.acked.iter().filter(|(_, r)| r.topic == topic) {
            match offsets.get(payload.as_str()) {
                None => {
                    lost.insert(result.offset, (payload, result.duplicate));
                }
                Some(found) if *found == result.offset => {}
                Some(found) => {
                    moved.insert(result.offset, (found, payload, result.duplicate));
                }
            }
        }
        let first = |count: usize| format!("{count} (the first of them below)");
        assert!(
            lost.is_empty() && moved.is_empty(),
            "{topic} has {} records; lost: {}, moved: {}\nlost, by acknowledged offset (payload, ack was of a duplicate): {:?}\n\
             moved, from acknowledged offset to (found, payload, ack was of a duplicate): {:?}",
            records.len(),
            first(lost.len()),
            first(moved.len()),
            lost.iter().take(10).collect::<Vec<_>>(),
            moved.iter().take(10).collect::<Vec<_>>(),
        );
        check_publishers_order(records);
    }
}

/// Checks that each publisher's messages are in the order it sent them, without a repetition.
///
/// # Panics
/// When they are not.
pub fn check_publishers_order(records: &[Record]) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for record in records {
        let payload = text(record);
        let (publisher, sequence) = payload.split_once('#').expect("publisher#sequence");
        let sequence: u64 = sequence.parse().expect("a sequence number");
        if let Some(before) = last.insert(publisher, sequence) {
            assert!(
                before < sequence,
                "{publisher} sent {sequence} after {before}, at offset {}",
                record.offset
            );
        }
    }
}

/// Checks that all replicas of a topic hold the same records.
///
/// # Panics
/// With the first offset at which they differ, and what each has around it.
pub fn check_replicas(topic: &str, replicas: &[Vec<Record>]) {
    let longest = replicas.iter().map(Vec::len).max().unwrap_or(0);
    let payload = |replica: &Vec<Record>, at: usize| replica.get(at).map(|r| text(r).to_owned());
    for at in 0..longest {
        let first = payload(&replicas[0], at);
        if replicas.iter().any(|replica| payload(replica, at) != first) {
            let around = at.saturating_sub(1)..(at + 5).min(longest);
            let around = replicas.iter().enumerate().map(|(node, replica)| {
                let payloads = around.clone().map(|at| payload(replica, at));
                let count = replica.len();
                format!(
                    "node {node}, {count} records: {:?}",
                    payloads.collect::<Vec<_>>()
                )
            });
            let around: Vec<String> = around.collect();
            panic!(
                "replicas of {topic} differ at offset {at}\n{}",
                around.join("\n")
            );
        }
    }
}

/// Checks that records are those with these offsets, one after the other.
///
/// # Panics
/// When one is missing, repeated or out of place.
pub fn check_consecutive(records: &[Record], first: u64) {
    for (record, expected) in records.iter().zip(first..) {
        assert_eq!(record.offset, expected, "in topic {}", record.topic);
    }
}

/// A record's payload.
///
/// # Panics
/// When it is not text.
pub fn text(record: &Record) -> &str {
    std::str::from_utf8(&record.payload).expect("payloads of tests are text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: u64, payload: &str) -> Record {
        Record {
            topic: "t".into(),
            offset,
            cursor: format!("c{offset}"),
            payload: payload.to_owned().into(),
            ..Record::default()
        }
    }

    fn acked(payloads: &[(u64, &str)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (offset, payload) in payloads {
            let result = PublishResult {
                topic: "t".into(),
                offset: *offset,
                cursor: format!("c{offset}"),
                duplicate: false,
            };
            ledger.ack((*payload).to_owned(), result);
        }
        ledger
    }

    #[test]
    fn kept_promises_pass() {
        let records = [record(0, "a#0"), record(1, "b#0"), record(2, "a#1")];
        acked(&[(0, "a#0"), (2, "a#1")]).check("t", &records);
    }

    #[test]
    #[should_panic(expected = "lost: 1")]
    fn a_lost_message_is_found() {
        acked(&[(0, "a#0"), (1, "a#1")]).check("t", &[record(0, "a#0")]);
    }

    #[test]
    #[should_panic(expected = "more than once")]
    fn a_repeated_message_is_found() {
        acked(&[(0, "a#0")]).check("t", &[record(0, "a#0"), record(1, "a#0")]);
    }

    #[test]
    #[should_panic(expected = "a hole")]
    fn a_hole_is_found() {
        acked(&[]).check("t", &[record(0, "a#0"), record(2, "a#1")]);
    }

    #[test]
    #[should_panic(expected = "after")]
    fn a_swapped_pair_is_found() {
        check_publishers_order(&[record(0, "a#1"), record(1, "a#0")]);
    }
}
