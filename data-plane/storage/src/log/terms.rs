//! Who made which entries, as runs: a shard has as many runs as it had leaders, not as it has entries.

use std::collections::VecDeque;

use super::LogId;

/// The ids of a shard's entries.
#[derive(Debug, Default, Clone)]
pub(super) struct Terms {
    /// The first entry of each run; a run goes on to the next one's index.
    runs: VecDeque<LogId>,
}

impl Terms {
    pub(super) fn push(&mut self, id: LogId) {
        if self
            .runs
            .back()
            .is_none_or(|run| (run.term, run.node) != (id.term, id.node))
        {
            self.runs.push_back(id);
        }
    }

    /// The id of the entry at `index`, which must be there.
    pub(super) fn id(&self, index: u64) -> LogId {
        let after = self.runs.partition_point(|run| run.index <= index);
        let run = self.runs[after.checked_sub(1).expect("an entry is in a run")];
        LogId { index, ..run }
    }

    /// Forgets entries from `next` on.
    pub(super) fn truncate(&mut self, next: u64) {
        while self.runs.back().is_some_and(|run| run.index >= next) {
            self.runs.pop_back();
        }
    }

    /// Forgets entries before `first`; `next` is the end of the log.
    pub(super) fn purge(&mut self, first: u64, next: u64) {
        if first >= next {
            self.runs = VecDeque::new();
        }
        while self.runs.get(1).is_some_and(|run| run.index <= first) {
            self.runs.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId {
            term,
            node: 7,
            index,
        }
    }

    #[test]
    fn ids_follow_truncation_and_purge() {
        let mut terms = Terms::default();
        for (term, index) in [(1, 0), (1, 1), (2, 2), (2, 3), (5, 4)] {
            terms.push(id(term, index));
        }
        assert_eq!(
            [0, 1, 2, 3, 4].map(|index| terms.id(index).term),
            [1, 1, 2, 2, 5]
        );
        terms.truncate(3);
        terms.push(id(6, 3));
        assert_eq!([1, 2, 3].map(|index| terms.id(index).term), [1, 2, 6]);
        terms.purge(2, 4);
        assert_eq!(terms.runs.len(), 2);
        assert_eq!(terms.id(2), id(2, 2));
        terms.purge(4, 4);
        assert!(terms.runs.is_empty());
    }
}
