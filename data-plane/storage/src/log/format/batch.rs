//! A batch: what is written with one call and synced with one call, whole or not at all.

use super::{
    super::{LogId, ShardState, Vote, places::Spot},
    Identity, record, u32_at, u64_at,
};
use highwater_proto::ids::ShardId;

/// Where batches may begin: a search for them looks only there.
pub(in crate::log) const BATCH_ALIGN: usize = 64;
pub(in crate::log) const BATCH_HEADER_BYTES: usize = 32;

/// The first bytes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::log) struct BatchHeader {
    pub(in crate::log) number: u64,
    pub(in crate::log) records: u32,
    body_bytes: u32,
    body_crc: u32,
}

impl BatchHeader {
    /// Reads the header at `offset` of a segment, if there is one of this very segment.
    pub(in crate::log) fn decode(
        bytes: &[u8],
        identity: Identity,
        offset: u64,
    ) -> Option<BatchHeader> {
        let bytes = bytes.get(..BATCH_HEADER_BYTES)?;
        if u64_at(bytes, 24) != identity.salt
            || u32_at(bytes, 0) != header_crc(bytes, identity, offset)
        {
            return None;
        }
        Some(BatchHeader {
            body_bytes: u32_at(bytes, 4),
            records: u32_at(bytes, 8),
            body_crc: u32_at(bytes, 12),
            number: u64_at(bytes, 16),
        })
    }

    /// The body, if it is whole. `bytes` begin with the header.
    pub(in crate::log) fn body<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let body = bytes
            .get(BATCH_HEADER_BYTES..)?
            .get(..self.body_bytes as usize)?;
        (crc32c::crc32c(body) == self.body_crc).then_some(body)
    }

    /// All of its bytes, padding included.
    pub(in crate::log) fn bytes(&self) -> u64 {
        (BATCH_HEADER_BYTES as u64 + u64::from(self.body_bytes))
            .next_multiple_of(BATCH_ALIGN as u64)
    }
}

fn header_crc(bytes: &[u8], identity: Identity, offset: u64) -> u32 {
    crc32c::crc32c_append(identity.seed(offset), &bytes[4..BATCH_HEADER_BYTES])
}

/// Encodes one batch after the other into the same buffer.
#[derive(Debug)]
pub(in crate::log) struct BatchWriter {
    buffer: Vec<u8>,
    identity: Identity,
    offset: u64,
    number: u64,
    records: u32,
}

impl BatchWriter {
    pub(in crate::log) fn new() -> BatchWriter {
        let identity = Identity {
            segment: 0,
            salt: 0,
        };
        BatchWriter {
            buffer: Vec::new(),
            identity,
            offset: 0,
            number: 0,
            records: 0,
        }
    }

    /// Begins a batch for the segment with this identity, at this position.
    pub(in crate::log) fn begin(&mut self, identity: Identity, offset: u64, number: u64) {
        assert_eq!(
            offset % BATCH_ALIGN as u64,
            0,
            "a batch begins where recovery looks for it"
        );
        self.buffer.clear();
        self.buffer.resize(BATCH_HEADER_BYTES, 0);
        (self.identity, self.offset, self.number, self.records) = (identity, offset, number, 0);
    }

    pub(in crate::log) fn entry(&mut self, shard: ShardId, id: LogId, payload: &[u8]) -> Spot {
        self.record(record::KIND_ENTRY, shard, |buffer| {
            record::put_log_id(buffer, id);
            buffer.extend_from_slice(payload);
        })
    }

    pub(in crate::log) fn vote(&mut self, shard: ShardId, vote: Vote) {
        self.record(record::KIND_VOTE, shard, |buffer| {
            record::put_vote(buffer, vote)
        });
    }

    pub(in crate::log) fn committed(&mut self, shard: ShardId, id: LogId) {
        self.record(record::KIND_COMMITTED, shard, |buffer| {
            record::put_log_id(buffer, id)
        });
    }

    pub(in crate::log) fn truncate(&mut self, shard: ShardId, kept: Option<LogId>) {
        self.record(record::KIND_TRUNCATE, shard, |buffer| {
            if let Some(kept) = kept {
                record::put_log_id(buffer, kept);
            }
        });
    }

    pub(in crate::log) fn purge(&mut self, shard: ShardId, id: LogId) {
        self.record(record::KIND_PURGE, shard, |buffer| {
            record::put_log_id(buffer, id)
        });
    }

    pub(in crate::log) fn state(&mut self, shard: ShardId, state: &ShardState) {
        self.record(record::KIND_STATE, shard, |buffer| {
            record::put_state(buffer, state)
        });
    }

    /// Completes the batch and returns its bytes, a multiple of the alignment.
    pub(in crate::log) fn finish(&mut self) -> &[u8] {
        let body = &self.buffer[BATCH_HEADER_BYTES..];
        let body_bytes = u32::try_from(body.len()).expect("a batch is smaller than a segment");
        let body_crc = crc32c::crc32c(body);
        self.buffer
            .resize(self.buffer.len().next_multiple_of(BATCH_ALIGN), 0);
        let header = &mut self.buffer[..BATCH_HEADER_BYTES];
        header[4..8].copy_from_slice(&body_bytes.to_le_bytes());
        header[8..12].copy_from_slice(&self.records.to_le_bytes());
        header[12..16].copy_from_slice(&body_crc.to_le_bytes());
        header[16..24].copy_from_slice(&self.number.to_le_bytes());
        header[24..32].copy_from_slice(&self.identity.salt.to_le_bytes());
        let crc = header_crc(header, self.identity, self.offset);
        header[..4].copy_from_slice(&crc.to_le_bytes());
        &self.buffer
    }

    /// Gives memory back after a batch much larger than usual.
    pub(in crate::log) fn shrink(&mut self, bytes_max: usize) {
        if self.buffer.capacity() > bytes_max {
            self.buffer = Vec::new();
        }
    }

    fn record(&mut self, kind: u8, shard: ShardId, body: impl FnOnce(&mut Vec<u8>)) -> Spot {
        let start = self.buffer.len();
        self.buffer.resize(start + record::RECORD_HEADER_BYTES, 0);
        body(&mut self.buffer);
        let position = self.offset + start as u64;
        record::seal(
            &mut self.buffer[start..],
            kind,
            shard,
            self.identity,
            position,
        );
        self.records += 1;
        Spot {
            position: u32::try_from(position).expect("segments are shorter than 4 GiB"),
            bytes: (self.buffer.len() - start) as u32,
        }
    }
}
