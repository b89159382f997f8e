//! The batches of the segments, one after the other, applied to the shards they speak of.

use std::collections::BTreeMap;

use highwater_proto::ids::ShardId;

use super::super::{
    LogError, ShardState,
    format::{
        BATCH_ALIGN, BATCH_HEADER_BYTES, BatchHeader, FILE_HEADER_BYTES, FileHeader, Record,
        Records,
    },
    front::Front,
    segments::Segment,
};

/// The shards as of the batches read so far.
pub(super) struct Replay {
    shards: BTreeMap<ShardId, Front>,
    next_batch: u64,
    begun: bool,
}

impl Replay {
    pub(super) fn new(first_batch: u64) -> Replay {
        Replay {
            shards: BTreeMap::new(),
            next_batch: first_batch,
            begun: false,
        }
    }

    /// Reads a whole segment, to `end` if a later one says where that is, else as far as its batches go.
    /// Returns where they end.
    pub(super) fn segment(
        &mut self,
        segment: &Segment,
        header: &FileHeader,
        bytes: &[u8],
        end: Option<u64>,
    ) -> Result<u64, LogError> {
        let mut reader = SegmentReader {
            segment,
            bytes,
            offset: FILE_HEADER_BYTES as u64,
        };
        if header.first_batch != self.next_batch {
            let what = format!(
                "it begins with batch {}, not {}",
                header.first_batch, self.next_batch
            );
            return Err(LogError::corrupted(&segment.name, 0, what));
        }
        let (batch, body) = reader
            .whole()
            .ok_or_else(|| reader.corrupted("the state of all shards is damaged"))?;
        self.first_batch(&reader, batch, body)?;
        reader.offset += batch.bytes();

        while end.is_none_or(|end| reader.offset < end) {
            let Some((batch, body)) = reader.whole() else {
                match (end, reader.later_batch()) {
                    (None, None) => {
                        reader.report_cut();
                        break;
                    }
                    (None, Some(later)) => {
                        let what =
                            format!("a batch is damaged, and a later one begins at byte {later}");
                        return Err(reader.corrupted(what));
                    }
                    (Some(_), _) => {
                        return Err(
                            reader.corrupted("a batch is damaged, and there is a later segment")
                        );
                    }
                }
            };
            self.batch(&reader, batch, body)?;
            reader.offset += batch.bytes();
        }
        match end {
            Some(end) if end != reader.offset => {
                Err(reader.corrupted(format!("the segment should end at byte {end}")))
            }
            _ => Ok(reader.offset),
        }
    }

    /// The shards, if nothing is missing of them, and the number of the next batch.
    pub(super) fn finish(self, oldest: &str) -> Result<(Vec<(ShardId, Front)>, u64), LogError> {
        for (shard, front) in &self.shards {
            if let Some(index) = front.hole() {
                let what = format!(
                    "entry {index} of shard {shard} is live and in no segment from here on"
                );
                return Err(LogError::corrupted(oldest, 0, what));
            }
        }
        Ok((self.shards.into_iter().collect(), self.next_batch))
    }

    /// The batch that begins a segment: in the oldest it is where we start from, later it must agree.
    fn first_batch(
        &mut self,
        reader: &SegmentReader<'_>,
        batch: BatchHeader,
        body: &[u8],
    ) -> Result<(), LogError> {
        let mut states = BTreeMap::new();
        self.records(reader, batch, body, |_, shard, record| match record {
            Record::State(state) if states.insert(shard, state).is_none() => Ok(()),
            _ => Err(format!(
                "the first batch of a segment has more than one state for shard {shard}"
            )),
        })?;
        if !self.begun {
            self.begun = true;
            self.shards = states
                .into_iter()
                .map(|(shard, state)| (shard, Front::restored(state)))
                .collect();
            return Ok(());
        }
        let known: BTreeMap<ShardId, ShardState> = self
            .shards
            .iter()
            .map(|(&shard, front)| (shard, front.state()))
            .collect();
        match known == states {
            true => Ok(()),
            false => Err(reader
                .corrupted("the state of the shards is not what the segments before add up to")),
        }
    }

    fn batch(
        &mut self,
        reader: &SegmentReader<'_>,
        batch: BatchHeader,
        body: &[u8],
    ) -> Result<(), LogError> {
        let segment = reader.segment.identity.segment;
        self.records(reader, batch, body, |replay, shard, record| {
            let front = replay.shards.entry(shard).or_default();
            match record {
                Record::Entry(id, spot) => front.replay_entry(id, segment, spot),
                Record::Vote(vote) => {
                    front.replay_vote(vote);
                    Ok(())
                }
                Record::Committed(id) => {
                    front.commit(id);
                    Ok(())
                }
                Record::Truncate(kept) => front.replay_truncate(kept),
                Record::Purge(id) => {
                    front.replay_purge(id);
                    Ok(())
                }
                Record::State(_) => {
                    Err("a state of a shard that does not begin a segment".to_owned())
                }
            }
        })
    }

    fn records(
        &mut self,
        reader: &SegmentReader<'_>,
        batch: BatchHeader,
        body: &[u8],
        mut apply: impl FnMut(&mut Replay, ShardId, Record) -> Result<(), String>,
    ) -> Result<(), LogError> {
        let name = &reader.segment.name;
        if batch.number != self.next_batch {
            let what = format!("batch {} where {} should be", batch.number, self.next_batch);
            return Err(reader.corrupted(what));
        }
        let start = reader.offset + BATCH_HEADER_BYTES as u64;
        let mut count = 0;
        for record in Records::new(body, reader.segment.identity, start) {
            let (shard, record) =
                record.map_err(|fault| LogError::corrupted(name, fault.offset, fault.what))?;
            apply(self, shard, record)
                .map_err(|what| reader.corrupted(format!("shard {shard}: {what}")))?;
            count += 1;
        }
        if count != batch.records {
            return Err(
                reader.corrupted(format!("a batch of {} records has {count}", batch.records))
            );
        }
        self.next_batch += 1;
        Ok(())
    }
}

/// A position in the bytes of a segment.
struct SegmentReader<'a> {
    segment: &'a Segment,
    bytes: &'a [u8],
    offset: u64,
}

impl<'a> SegmentReader<'a> {
    /// The batch at the position and its body, if it is whole.
    fn whole(&self) -> Option<(BatchHeader, &'a [u8])> {
        let bytes = self.bytes.get(self.offset as usize..)?;
        let header = BatchHeader::decode(bytes, self.segment.identity, self.offset)?;
        Some((header, header.body(bytes)?))
    }

    /// Where, behind the position, there is the header of a batch of this segment. It was written after everything
    /// before it had been synced.
    fn later_batch(&self) -> Option<u64> {
        let start = self.offset as usize + BATCH_ALIGN;
        (start..self.bytes.len())
            .step_by(BATCH_ALIGN)
            .map(|at| at as u64)
            .find(|&at| {
                BatchHeader::decode(&self.bytes[at as usize..], self.segment.identity, at).is_some()
            })
    }

    /// The log ends here. Stale bytes of a reused file are the usual reason, and say nothing.
    fn report_cut(&self) {
        let header = self
            .bytes
            .get(self.offset as usize..)
            .and_then(|bytes| BatchHeader::decode(bytes, self.segment.identity, self.offset));
        if let Some(header) = header {
            tracing::info!(
                file = self.segment.name,
                offset = self.offset,
                bytes = header.bytes(),
                "cut off a batch of the log that a crash had interrupted"
            );
        }
    }

    fn corrupted(&self, what: impl Into<String>) -> LogError {
        LogError::corrupted(&self.segment.name, self.offset, what)
    }
}
