//! One shard's part of the node's log, as openraft wants to see it.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
};

use futures_util::{Stream, stream};
use highwater_proto::limits::APPEND_BYTES_MAX;
use highwater_storage::log::ShardLog;
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};

use crate::raft::{
    Entry, LogId, Types, Vote, entry_from_log, entry_to_log, log_id_from_log, log_id_to_log,
    vote_from_log, vote_to_log,
};

/// Cheap to clone; every clone sees the same log.
#[derive(Clone)]
pub struct LogStore {
    log: ShardLog,
}

impl LogStore {
    /// The log of a shard.
    pub fn new(log: ShardLog) -> LogStore {
        LogStore { log }
    }

    fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let entries = self.log.read(start..end, bytes_max)?;
        let decoded = entries.into_iter().map(|entry| Ok(entry_from_log(entry)?));
        decoded.collect()
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX)
    }

    /// Bounded in bytes: a request that replicates a megabyte per entry must not hold hundreds.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, APPEND_BYTES_MAX)
    }

    /// Reads as it goes, so that replaying a long log after a restart takes bounded memory.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let state = (self.clone(), start, Vec::new().into_iter());
        stream::unfold(Some(state), move |state| async move {
            let (store, mut next, mut ready): (LogStore, u64, std::vec::IntoIter<Entry>) = state?;
            if let Some(entry) = ready.next() {
                return Some((Ok(entry), Some((store, next, ready))));
            }
            if next >= end {
                return None;
            }
            let entries = match store.read(next, end, APPEND_BYTES_MAX) {
                Ok(entries) => entries,
                Err(error) => return Some((Err(error), None)),
            };
            ready = entries.into_iter();
            next += ready.len() as u64;
            let entry = ready.next()?;
            Some((Ok(entry), Some((store, next, ready))))
        })
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.state().vote.map(vote_from_log))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.log.state();
        Ok(LogState {
            last_purged_log_id: state.purged.map(log_id_from_log),
            last_log_id: state.last.or(state.purged).map(log_id_from_log),
        })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.log.save_vote(vote_to_log(vote)).await
    }

    /// Only noted; it goes to disk with whatever is written next. A node that starts with an older
    /// value learns the rest from its leader.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.log.set_committed(log_id_to_log(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.log.state().committed.map(log_id_from_log))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(entry_to_log).collect();
        let done = Box::new(move |result| callback.io_completed(result));
        self.log.append(entries, done).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.log.truncate_after(last.map(|id| id.index)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.log.purge(log_id_to_log(&upto)).await
    }
}
