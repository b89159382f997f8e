//! One shard in memory: its state as callers see it, its newest entries, and where the written ones are.
//!
//! Callers are ahead of the disk. What they do changes the state at once (`append`, `truncate`, `purge`)
//! and is queued; once it is durable the writer reports it in the same order (`on_written` …). In
//! between, entries are in memory only and stay there.

use std::{collections::VecDeque, ops::Range};

use super::{
    Entry, LogId, ShardState, Vote,
    places::{Places, Spot},
    terms::Terms,
};

/// What an entry in memory takes besides its payload, about.
const ENTRY_MEMORY_BYTES: usize = size_of::<Entry>() + 16;

/// One shard in memory.
#[derive(Debug, Default)]
pub(super) struct Front {
    state: ShardState,
    /// The live entries are `first..next`.
    first: u64,
    next: u64,
    terms: Terms,
    /// The newest entries: those before `next`, without a hole.
    cached: VecDeque<Entry>,
    /// Entries before this one are durable as they are now, and may leave memory.
    durable_next: u64,
    /// Truncations that are not durable yet, each by the first index it removed.
    truncations: VecDeque<u64>,
    /// Where durable entries are. Behind what callers see until the writer has reported.
    places: Places,
}

impl Front {
    pub(super) fn state(&self) -> ShardState {
        self.state
    }

    pub(super) fn live(&self) -> Range<u64> {
        self.first..self.next
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// The cached entries from `index` on, which is not before [`Front::cached_from`].
    pub(super) fn cached(&self, index: u64) -> impl Iterator<Item = &Entry> {
        self.cached.range((index - self.cached_from()) as usize..)
    }

    pub(super) fn cached_from(&self) -> u64 {
        self.next - self.cached.len() as u64
    }

    /// Adds entries behind the last. Returns the memory they take.
    ///
    /// # Panics
    /// If they leave a hole or go back in term: Raft looks at the last entry only, and would be wrong for ever.
    pub(super) fn append(&mut self, entries: &[Entry]) -> usize {
        for entry in entries {
            self.extend(entry.id).expect("a shard's log grows by one");
            self.cached.push_back(entry.clone());
        }
        entries.iter().map(memory_bytes).sum()
    }

    /// Moves the end of the log. The reason if this entry does not follow.
    fn extend(&mut self, id: LogId) -> Result<(), String> {
        match self.state.last {
            // A log may begin anywhere: the shard was handed over with a snapshot.
            None => (self.first, self.next) = (id.index, id.index),
            Some(last) if id.index == last.index + 1 && id.term >= last.term => {}
            Some(last) => return Err(format!("entry {id:?} does not follow {last:?}")),
        }
        if self.first == self.next {
            self.durable_next = self.next;
        }
        self.terms.push(id);
        self.state.last = Some(id);
        self.next = id.index + 1;
        Ok(())
    }

    /// # Panics
    /// If the vote goes back to an earlier term: the node could vote twice.
    pub(super) fn vote(&mut self, vote: Vote) {
        assert!(
            self.state.vote.is_none_or(|saved| vote.term >= saved.term),
            "vote {vote:?} goes back from {:?}",
            self.state.vote
        );
        self.state.vote = Some(vote);
    }

    pub(super) fn commit(&mut self, id: LogId) {
        if self
            .state
            .committed
            .is_none_or(|committed| committed.index < id.index)
        {
            self.state.committed = Some(id);
        }
    }

    /// Removes the entries after `after`, or all. Returns the id that is last now, if that changed, and the
    /// memory that is free.
    ///
    /// # Panics
    /// If a purged or a committed entry is to be removed.
    pub(super) fn truncate(&mut self, after: Option<u64>) -> Option<(Option<LogId>, usize)> {
        let next = after.map_or(0, |index| index + 1);
        if next >= self.next {
            return None;
        }
        let floor = [self.state.purged, self.state.committed]
            .into_iter()
            .flatten()
            .map(|id| id.index + 1)
            .max();
        assert!(
            floor.is_none_or(|floor| next >= floor),
            "truncation after {after:?} removes what is committed"
        );
        let next = next.max(self.first);
        let kept = if next > self.first {
            Some(self.terms.id(next - 1))
        } else {
            self.state.purged
        };
        let mut freed = 0;
        while self.cached_from() < self.next && self.next > next {
            freed += self.cached.pop_back().as_ref().map_or(0, memory_bytes);
            self.next -= 1;
        }
        self.cut(next, kept);
        self.durable_next = self.durable_next.min(next);
        self.truncations.push_back(next);
        Some((kept, freed))
    }

    fn cut(&mut self, next: u64, kept: Option<LogId>) {
        self.terms.truncate(next);
        self.next = next;
        self.state.last = kept;
    }

    /// Forgets entries through `id`, even beyond the last: then the log goes on behind `id`. Returns the memory that
    /// is free, or nothing if that much is purged already.
    pub(super) fn purge(&mut self, id: LogId) -> Option<usize> {
        if self
            .state
            .purged
            .is_some_and(|purged| purged.index >= id.index)
        {
            return None;
        }
        let mut freed = 0;
        while self
            .cached
            .front()
            .is_some_and(|entry| entry.id.index <= id.index)
        {
            freed += self.cached.pop_front().as_ref().map_or(0, memory_bytes);
        }
        self.give_memory_back();
        self.state.purged = Some(id);
        self.first = id.index + 1;
        if self.state.last.is_none_or(|last| last.index <= id.index) {
            self.state.last = Some(id);
            self.next = self.first;
        }
        self.terms.purge(self.first, self.next);
        Some(freed)
    }

    /// Entries are durable: `first` is the index of the first one.
    pub(super) fn on_written(&mut self, first: u64, segment: u64, spots: &[Spot]) {
        for (index, &spot) in (first..).zip(spots) {
            self.places.push(index, segment, spot);
        }
        // Behind a truncation that is still queued, these are not the entries that callers see.
        let valid = self.truncations.iter().copied().min().unwrap_or(u64::MAX);
        self.durable_next = self.durable_next.max(valid.min(first + spots.len() as u64));
    }

    /// The oldest queued truncation is durable.
    pub(super) fn on_truncated(&mut self) {
        let next = self
            .truncations
            .pop_front()
            .expect("a truncation is queued before it is written");
        self.places.truncate(next);
    }

    /// A purge is durable.
    pub(super) fn on_purged(&mut self, id: LogId) {
        self.places.purge(id.index + 1);
    }

    /// Drops durable entries through `index` from memory and returns what that frees.
    pub(super) fn evict(&mut self, index: u64) -> usize {
        let end = self.durable_next.min(index.saturating_add(1));
        let mut freed = 0;
        while self
            .cached
            .front()
            .is_some_and(|entry| entry.id.index < end)
        {
            freed += self.cached.pop_front().as_ref().map_or(0, memory_bytes);
        }
        self.give_memory_back();
        freed
    }

    fn give_memory_back(&mut self) {
        if self.cached.is_empty() && self.cached.capacity() > 64 {
            self.cached = VecDeque::new();
        }
    }
}

/// Replay: what recovery reads is durable, and wrong input is an error.
impl Front {
    /// As an old segment's first batch tells it; where its entries are is not known.
    pub(super) fn restored(state: ShardState) -> Front {
        let next = state.last.map_or(0, |last| last.index + 1);
        let first = state.purged.map_or(0, |purged| purged.index + 1);
        Front {
            state,
            first,
            next,
            durable_next: next,
            ..Front::default()
        }
    }

    pub(super) fn replay_entry(
        &mut self,
        id: LogId,
        segment: u64,
        spot: Spot,
    ) -> Result<(), String> {
        self.extend(id)?;
        self.places.push(id.index, segment, spot);
        self.durable_next = self.next;
        Ok(())
    }

    pub(super) fn replay_vote(&mut self, vote: Vote) {
        self.state.vote = Some(vote);
    }

    pub(super) fn replay_truncate(&mut self, kept: Option<LogId>) -> Result<(), String> {
        let next = kept.map_or(0, |id| id.index + 1);
        if next > self.next || kept.is_some() && next < self.first {
            return Err(format!(
                "truncation after {kept:?} of a log with {:?}",
                self.live()
            ));
        }
        let next = next.max(self.first.min(self.next));
        self.cut(next, kept);
        self.places.truncate(next);
        self.durable_next = next;
        Ok(())
    }

    pub(super) fn replay_purge(&mut self, id: LogId) {
        self.purge(id);
        self.places.purge(self.first);
        self.durable_next = self.next;
    }

    /// The first live entry that is nowhere, if there is one.
    pub(super) fn hole(&self) -> Option<u64> {
        let known = self.places.first()..self.places.end();
        match self.first == self.next || known.contains(&self.first) && known.end == self.next {
            true => None,
            false => Some(self.first),
        }
    }
}

pub(super) fn memory_bytes(entry: &Entry) -> usize {
    entry.payload.len() + ENTRY_MEMORY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(term: u64, indexes: Range<u64>) -> Vec<Entry> {
        let id = |index| LogId {
            term,
            node: 1,
            index,
        };
        indexes
            .map(|index| Entry {
                id: id(index),
                payload: "payload".into(),
            })
            .collect()
    }

    fn spots(count: usize) -> Vec<Spot> {
        vec![
            Spot {
                position: 0,
                bytes: 50
            };
            count
        ]
    }

    #[test]
    fn an_entry_that_replaced_a_written_one_stays_in_memory_until_it_is_written_itself() {
        let mut front = Front::default();
        front.append(&entries(1, 0..10));
        front.truncate(Some(5));
        front.append(&entries(2, 6..8));
        // The first append is durable, its last entries are not what callers see.
        front.on_written(0, 1, &spots(10));
        front.evict(u64::MAX);
        assert_eq!(front.cached_from(), 6);
        front.on_truncated();
        front.evict(u64::MAX);
        assert_eq!((front.cached_from(), front.places().end()), (6, 6));
        front.on_written(6, 2, &spots(2));
        front.evict(6);
        assert_eq!((front.cached_from(), front.places().end()), (7, 8));
    }

    #[test]
    fn a_log_that_was_purged_away_while_it_was_being_written_goes_on_behind() {
        let mut front = Front::default();
        front.append(&entries(1, 0..3));
        front.purge(LogId {
            term: 2,
            node: 1,
            index: 9,
        });
        front.append(&entries(2, 10..11));
        front.on_written(0, 1, &spots(3));
        front.evict(u64::MAX);
        assert_eq!((front.live(), front.cached_from()), (10..11, 10));
        front.on_purged(LogId {
            term: 2,
            node: 1,
            index: 9,
        });
        front.on_written(10, 1, &spots(1));
        front.evict(u64::MAX);
        assert_eq!(
            (front.cached_from(), front.places().first(), front.hole()),
            (11, 10, None)
        );
    }

    #[test]
    fn a_hole_is_noticed() {
        let id = |index| LogId {
            term: 1,
            node: 1,
            index,
        };
        let mut front = Front::restored(ShardState {
            last: Some(id(4)),
            ..ShardState::default()
        });
        assert_eq!(front.hole(), Some(0));
        front.replay_entry(id(5), 1, spots(1)[0]).unwrap();
        assert_eq!(front.hole(), Some(0));
        front.replay_purge(id(3));
        assert_eq!(front.hole(), Some(4));
        front.replay_purge(id(4));
        assert_eq!(front.hole(), None);
        assert!(front.replay_entry(id(7), 1, spots(1)[0]).is_err());
    }
}
