//! A record: one change of one shard, with a checksum of its own so that it can be read alone.

use highwater_proto::ids::ShardId;

use super::{
    super::{LogId, ShardState, Vote, places::Spot},
    Identity, u32_at, u64_at,
};

pub(super) const RECORD_HEADER_BYTES: usize = 16;
const LOG_ID_BYTES: usize = 24;
/// What an entry takes besides its payload.
pub(in crate::log) const ENTRY_OVERHEAD_BYTES: usize = RECORD_HEADER_BYTES + LOG_ID_BYTES;
/// The most that a record other than an entry takes.
pub(in crate::log) const RECORD_BYTES_SMALL_MAX: usize =
    RECORD_HEADER_BYTES + 1 + 16 + 3 * LOG_ID_BYTES;

pub(super) const KIND_ENTRY: u8 = 1;
pub(super) const KIND_VOTE: u8 = 2;
pub(super) const KIND_COMMITTED: u8 = 3;
pub(super) const KIND_TRUNCATE: u8 = 4;
pub(super) const KIND_PURGE: u8 = 5;
pub(super) const KIND_STATE: u8 = 6;

const HAS_VOTE: u8 = 1;
const VOTE_IS_COMMITTED: u8 = 2;
const HAS_COMMITTED: u8 = 4;
const HAS_PURGED: u8 = 8;
const HAS_LAST: u8 = 16;

/// A record as recovery reads it; the payload of an entry is left where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::log) enum Record {
    Entry(LogId, Spot),
    Vote(Vote),
    Committed(LogId),
    Truncate(Option<LogId>),
    Purge(LogId),
    State(ShardState),
}

/// Why bytes are not a record, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::log) struct RecordFault {
    pub(in crate::log) offset: u64,
    pub(in crate::log) what: &'static str,
}

/// The records of a batch's body.
#[derive(Debug)]
pub(in crate::log) struct Records<'a> {
    rest: &'a [u8],
    identity: Identity,
    offset: u64,
}

impl<'a> Records<'a> {
    /// Over a body that begins at `offset` of its segment.
    pub(in crate::log) fn new(body: &'a [u8], identity: Identity, offset: u64) -> Records<'a> {
        Records {
            rest: body,
            identity,
            offset,
        }
    }

    fn take(&mut self) -> Result<(ShardId, Record), &'static str> {
        let header = self
            .rest
            .get(..RECORD_HEADER_BYTES)
            .ok_or("a record ends in its header")?;
        let bytes = RECORD_HEADER_BYTES + u32_at(header, 4) as usize;
        let record = self
            .rest
            .get(..bytes)
            .ok_or("a record goes past its batch")?;
        check(record, self.identity, self.offset)?;
        let spot = Spot {
            position: self.offset as u32,
            bytes: bytes as u32,
        };
        let parsed = parse(record[8], &record[RECORD_HEADER_BYTES..], spot)?;
        self.rest = &self.rest[bytes..];
        self.offset += bytes as u64;
        Ok((ShardId(u32_at(record, 12)), parsed))
    }
}

impl Iterator for Records<'_> {
    type Item = Result<(ShardId, Record), RecordFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let offset = self.offset;
        let record = self.take().map_err(|what| RecordFault { offset, what });
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

/// The payload range of the entry record `bytes`, read alone from `offset`, if it is the one of this shard and index.
pub(in crate::log) fn entry_payload(
    bytes: &[u8],
    identity: Identity,
    offset: u64,
    shard: ShardId,
    index: u64,
) -> Result<(LogId, std::ops::Range<usize>), &'static str> {
    if bytes.len() < ENTRY_OVERHEAD_BYTES
        || RECORD_HEADER_BYTES + u32_at(bytes, 4) as usize != bytes.len()
    {
        return Err("a record of another length");
    }
    check(bytes, identity, offset)?;
    let id = log_id_at(bytes, RECORD_HEADER_BYTES);
    if bytes[8] != KIND_ENTRY || u32_at(bytes, 12) != shard.0 || id.index != index {
        return Err("the record of something else");
    }
    Ok((id, ENTRY_OVERHEAD_BYTES..bytes.len()))
}

/// Fills in the header of a record whose body is in place.
pub(super) fn seal(record: &mut [u8], kind: u8, shard: ShardId, identity: Identity, offset: u64) {
    let body_bytes = u32::try_from(record.len() - RECORD_HEADER_BYTES)
        .expect("a record is smaller than a segment");
    record[4..8].copy_from_slice(&body_bytes.to_le_bytes());
    record[8] = kind;
    record[12..16].copy_from_slice(&shard.0.to_le_bytes());
    let crc = crc32c::crc32c_append(identity.seed(offset), &record[4..]);
    record[..4].copy_from_slice(&crc.to_le_bytes());
}

fn check(record: &[u8], identity: Identity, offset: u64) -> Result<(), &'static str> {
    match crc32c::crc32c_append(identity.seed(offset), &record[4..]) == u32_at(record, 0) {
        true => Ok(()),
        false => Err("the checksum of a record is wrong"),
    }
}

fn parse(kind: u8, body: &[u8], spot: Spot) -> Result<Record, &'static str> {
    Ok(match (kind, body.len()) {
        (KIND_ENTRY, LOG_ID_BYTES..) => Record::Entry(log_id_at(body, 0), spot),
        (KIND_VOTE, 17) => Record::Vote(Vote {
            term: u64_at(body, 0),
            node: u64_at(body, 8),
            committed: body[16] != 0,
        }),
        (KIND_COMMITTED, LOG_ID_BYTES) => Record::Committed(log_id_at(body, 0)),
        (KIND_TRUNCATE, 0) => Record::Truncate(None),
        (KIND_TRUNCATE, LOG_ID_BYTES) => Record::Truncate(Some(log_id_at(body, 0))),
        (KIND_PURGE, LOG_ID_BYTES) => Record::Purge(log_id_at(body, 0)),
        (KIND_STATE, 1..) => {
            Record::State(state(body).ok_or("the state of a shard has another length")?)
        }
        (KIND_ENTRY..=KIND_STATE, _) => return Err("a record has the length of another kind"),
        _ => return Err("a record of unknown kind"),
    })
}

fn state(body: &[u8]) -> Option<ShardState> {
    let (&flags, mut rest) = body.split_first()?;
    let mut take = |bytes: usize| {
        let (taken, left) = rest.split_at_checked(bytes)?;
        rest = left;
        Some(taken)
    };
    let mut state = ShardState::default();
    if flags & HAS_VOTE != 0 {
        let vote = take(16)?;
        let committed = flags & VOTE_IS_COMMITTED != 0;
        state.vote = Some(Vote {
            term: u64_at(vote, 0),
            node: u64_at(vote, 8),
            committed,
        });
    }
    for (flag, id) in [
        (HAS_COMMITTED, &mut state.committed),
        (HAS_PURGED, &mut state.purged),
        (HAS_LAST, &mut state.last),
    ] {
        if flags & flag != 0 {
            *id = Some(log_id_at(take(LOG_ID_BYTES)?, 0));
        }
    }
    rest.is_empty().then_some(state)
}

pub(super) fn put_state(buffer: &mut Vec<u8>, state: &ShardState) {
    let mut flags = 0;
    let at = buffer.len();
    buffer.push(0);
    if let Some(vote) = state.vote {
        flags |= HAS_VOTE | if vote.committed { VOTE_IS_COMMITTED } else { 0 };
        buffer.extend_from_slice(&vote.term.to_le_bytes());
        buffer.extend_from_slice(&vote.node.to_le_bytes());
    }
    for (flag, id) in [
        (HAS_COMMITTED, state.committed),
        (HAS_PURGED, state.purged),
        (HAS_LAST, state.last),
    ] {
        if let Some(id) = id {
            flags |= flag;
            put_log_id(buffer, id);
        }
    }
    buffer[at] = flags;
}

pub(super) fn put_vote(buffer: &mut Vec<u8>, vote: Vote) {
    buffer.extend_from_slice(&vote.term.to_le_bytes());
    buffer.extend_from_slice(&vote.node.to_le_bytes());
    buffer.push(u8::from(vote.committed));
}

pub(super) fn put_log_id(buffer: &mut Vec<u8>, id: LogId) {
    buffer.extend_from_slice(&id.term.to_le_bytes());
    buffer.extend_from_slice(&id.node.to_le_bytes());
    buffer.extend_from_slice(&id.index.to_le_bytes());
}

fn log_id_at(bytes: &[u8], at: usize) -> LogId {
    LogId {
        term: u64_at(bytes, at),
        node: u64_at(bytes, at + 8),
        index: u64_at(bytes, at + 16),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BATCH_HEADER_BYTES, BatchHeader, BatchWriter};
    use super::*;

    const IDENTITY: Identity = Identity {
        segment: 4,
        salt: 0xfeed,
    };

    fn id(index: u64) -> LogId {
        LogId {
            term: 3,
            node: 2,
            index,
        }
    }

    #[test]
    fn every_kind_of_record_is_read_back() {
        let vote = Vote {
            term: 9,
            node: 1,
            committed: true,
        };
        let mut states = vec![ShardState::default()];
        states.push(ShardState {
            vote: Some(vote),
            committed: Some(id(1)),
            purged: Some(id(0)),
            last: Some(id(2)),
        });
        states.push(ShardState {
            committed: Some(id(1)),
            ..ShardState::default()
        });
        let mut batch = BatchWriter::new();
        batch.begin(IDENTITY, 128, 77);
        let spot = batch.entry(ShardId(1), id(5), b"payload");
        batch.vote(ShardId(2), vote);
        batch.committed(ShardId(3), id(6));
        batch.truncate(ShardId(4), None);
        batch.truncate(ShardId(4), Some(id(7)));
        batch.purge(ShardId(5), id(8));
        for state in &states {
            batch.state(ShardId(6), state);
        }
        let bytes = batch.finish().to_vec();
        let header = BatchHeader::decode(&bytes, IDENTITY, 128).unwrap();
        assert_eq!((header.number, header.bytes()), (77, bytes.len() as u64));
        assert_eq!(BatchHeader::decode(&bytes, IDENTITY, 192), None);
        assert_eq!(
            BatchHeader::decode(
                &bytes,
                Identity {
                    segment: 5,
                    ..IDENTITY
                },
                128
            ),
            None
        );

        let body = header.body(&bytes).unwrap();
        let read: Vec<_> = Records::new(body, IDENTITY, 128 + BATCH_HEADER_BYTES as u64)
            .map(Result::unwrap)
            .collect();
        let mut expected = vec![
            (ShardId(1), Record::Entry(id(5), spot)),
            (ShardId(2), Record::Vote(vote)),
            (ShardId(3), Record::Committed(id(6))),
            (ShardId(4), Record::Truncate(None)),
            (ShardId(4), Record::Truncate(Some(id(7)))),
            (ShardId(5), Record::Purge(id(8))),
        ];
        expected.extend(
            states
                .iter()
                .map(|state| (ShardId(6), Record::State(*state))),
        );
        assert_eq!(read, expected);

        let at = spot.position as usize - 128;
        let record = &bytes[at..at + spot.bytes as usize];
        let (read_id, payload) =
            entry_payload(record, IDENTITY, u64::from(spot.position), ShardId(1), 5).unwrap();
        assert_eq!((read_id, &record[payload]), (id(5), &b"payload"[..]));
        assert!(entry_payload(record, IDENTITY, u64::from(spot.position), ShardId(2), 5).is_err());
        assert!(entry_payload(record, IDENTITY, 0, ShardId(1), 5).is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_batch_is_seen() {
        let mut batch = BatchWriter::new();
        batch.begin(IDENTITY, 64, 1);
        batch.entry(ShardId(1), id(5), b"payload");
        let bytes = batch.finish().to_vec();
        let used = BATCH_HEADER_BYTES + ENTRY_OVERHEAD_BYTES + b"payload".len();
        for bit in 0..used * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let whole = BatchHeader::decode(&flipped, IDENTITY, 64)
                .is_some_and(|header| header.body(&flipped).is_some());
            assert!(!whole, "bit {bit}");
        }
    }
}
