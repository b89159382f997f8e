//! Where the entries of a shard are on disk: eight bytes an entry, and a run a segment.

use std::collections::VecDeque;

/// A record inside its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    /// Where the record begins.
    pub(super) position: u32,
    /// Its bytes, header included.
    pub(super) bytes: u32,
}

impl Spot {
    pub(super) fn end(self) -> u64 {
        u64::from(self.position) + u64::from(self.bytes)
    }
}

/// The written entries `first..end` of a shard.
#[derive(Debug, Default, Clone)]
pub(super) struct Places {
    first: u64,
    spots: VecDeque<Spot>,
    /// Which segment entries are in: from this index on, until the next run. Never behind `end`.
    runs: VecDeque<Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    index: u64,
    segment: u64,
}

impl Places {
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn end(&self) -> u64 {
        self.first + self.spots.len() as u64
    }

    /// Adds the entry at `index`, which follows the last one, or begins the log.
    pub(super) fn push(&mut self, index: u64, segment: u64, spot: Spot) {
        if self.spots.is_empty() {
            self.first = index;
            self.runs.clear();
        }
        assert_eq!(index, self.end(), "entries are written without a hole");
        if self.runs.back().is_none_or(|run| run.segment != segment) {
            self.runs.push_back(Run { index, segment });
        }
        self.spots.push_back(spot);
    }

    pub(super) fn get(&self, index: u64) -> Option<(u64, Spot)> {
        let spot = *self
            .spots
            .get(usize::try_from(index.checked_sub(self.first)?).ok()?)?;
        let run = self
            .runs
            .partition_point(|run| run.index <= index)
            .checked_sub(1)?;
        Some((self.runs[run].segment, spot))
    }

    /// Forgets entries from `next` on.
    pub(super) fn truncate(&mut self, next: u64) {
        let kept = next.saturating_sub(self.first).min(self.spots.len() as u64);
        self.spots.truncate(kept as usize);
        while self.runs.back().is_some_and(|run| run.index >= next) {
            self.runs.pop_back();
        }
        if kept == 0 {
            self.runs.clear();
        }
    }

    /// Forgets entries before `first`.
    pub(super) fn purge(&mut self, first: u64) {
        if first <= self.first {
            return;
        }
        let gone = (first - self.first).min(self.spots.len() as u64) as usize;
        self.spots.drain(..gone);
        self.first = first;
        if self.spots.is_empty() {
            self.spots = VecDeque::new();
            self.runs = VecDeque::new();
            return;
        }
        while self.runs.get(1).is_some_and(|run| run.index <= first) {
            self.runs.pop_front();
        }
        // A shard that had a burst gives the memory back, but not at every purge.
        if self.spots.len() < self.spots.capacity() / 8 {
            self.spots.shrink_to(self.spots.len() * 2);
        }
    }

    /// The segment of the oldest entry.
    pub(super) fn oldest_segment(&self) -> Option<u64> {
        self.runs.front().map(|run| run.segment)
    }

    /// The last entry in the segment of the oldest one.
    pub(super) fn last_index_in_oldest(&self) -> Option<u64> {
        self.runs.front()?;
        Some(self.runs.get(1).map_or(self.end(), |run| run.index) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(position: u32) -> Spot {
        Spot {
            position,
            bytes: 10,
        }
    }

    fn places() -> Places {
        let mut places = Places::default();
        for (index, segment) in [(5, 1), (6, 1), (7, 2), (8, 4), (9, 4)] {
            places.push(index, segment, spot(index as u32));
        }
        places
    }

    #[test]
    fn entries_are_found_in_their_segments() {
        let places = places();
        assert_eq!(places.get(4), None);
        assert_eq!(places.get(6), Some((1, spot(6))));
        assert_eq!(places.get(7), Some((2, spot(7))));
        assert_eq!(places.get(9), Some((4, spot(9))));
        assert_eq!(places.get(10), None);
        assert_eq!(places.last_index_in_oldest(), Some(6));
    }

    #[test]
    fn a_purge_lets_segments_go() {
        let mut places = places();
        places.purge(6);
        assert_eq!(places.oldest_segment(), Some(1));
        places.purge(7);
        assert_eq!(places.oldest_segment(), Some(2));
        assert_eq!(places.last_index_in_oldest(), Some(7));
        places.purge(20);
        assert_eq!(
            (places.oldest_segment(), places.first(), places.end()),
            (None, 20, 20)
        );
    }

    #[test]
    fn a_truncated_end_is_written_again_elsewhere() {
        let mut places = places();
        places.truncate(7);
        places.push(7, 9, spot(1));
        assert_eq!(places.get(7), Some((9, spot(1))));
        places.truncate(0);
        assert_eq!(places.oldest_segment(), None);
        places.push(3, 9, spot(2));
        assert_eq!(places.get(3), Some((9, spot(2))));
    }
}
