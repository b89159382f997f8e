//! Openraft's types filled in with ours, and the ways between the two and the wire.
//!
//! Only this crate names openraft, so that a new release of it is this crate's change.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bytes::{BufMut, Bytes, BytesMut};
use highwater_broker::state::Answer;
use highwater_proto::cluster as wire;
use highwater_storage::log;
use openraft::{EntryPayload, StoredMembership, alias, vote::leader_id_adv};
use prost::Message as _;

use crate::machine::Machine;

openraft::declare_raft_types!(
    /// One shard's Raft group.
    pub Types:
        D = Proposal,
        R = Outcome,
        NodeId = u64,
        Node = Member,
);

/// A running Raft group.
pub type Raft = openraft::Raft<Types, Machine>;
pub type LogId = alias::LogIdOf<Types>;
pub type Vote = alias::VoteOf<Types>;
pub type Entry = alias::EntryOf<Types>;
pub type LeaderId = leader_id_adv::LeaderId<u64, u64>;
pub type Membership = openraft::Membership<u64, Member>;
pub type Stored = StoredMembership<LeaderId, u64, Member>;
pub type SnapshotMeta = alias::SnapshotMetaOf<Types>;

/// Where a member of the group listens for its peers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// `host:port`.
    pub address: String,
}

/// An encoded command, with the byte in front that marks it as one: just as it lies in the log.
#[derive(Clone, PartialEq)]
pub struct Proposal(pub Bytes);

/// What a proposer is told when its command was applied.
#[derive(Debug, Clone, Default)]
pub struct Outcome(pub Answer);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

const BLANK: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;

impl Proposal {
    /// Encodes a command.
    pub fn encode(command: &wire::Command) -> Proposal {
        let mut bytes = BytesMut::with_capacity(1 + command.encoded_len());
        bytes.put_u8(COMMAND);
        command.encode_raw(&mut bytes);
        Proposal(bytes.freeze())
    }

    /// Decodes the command. Its messages are slices of the proposal.
    pub fn decode(&self) -> Result<wire::Command, prost::DecodeError> {
        wire::Command::decode(self.0.slice(1..))
    }
}

/// An entry that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// No kind, or one of a newer release.
    #[error("entry {0} has an unknown kind")]
    UnknownKind(u64),
    /// The message behind the kind is broken.
    #[error("entry {0} cannot be decoded: {1}")]
    Decode(u64, prost::DecodeError),
}

impl From<EntryError> for std::io::Error {
    fn from(error: EntryError) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

pub fn entry_to_log(entry: Entry) -> log::Entry {
    let payload = match entry.payload {
        EntryPayload::Blank => Bytes::from_static(&[BLANK]),
        EntryPayload::Normal(proposal) => proposal.0,
        EntryPayload::Membership(membership) => {
            let mut bytes = BytesMut::new();
            bytes.put_u8(MEMBERSHIP);
            membership_to_wire(&membership).encode_raw(&mut bytes);
            bytes.freeze()
        }
    };
    log::Entry {
        id: log_id_to_log(&entry.log_id),
        payload,
    }
}

pub fn entry_from_log(entry: log::Entry) -> Result<Entry, EntryError> {
    let index = entry.id.index;
    let payload = match entry.payload.first() {
        Some(&BLANK) => EntryPayload::Blank,
        Some(&COMMAND) => EntryPayload::Normal(Proposal(entry.payload)),
        Some(&MEMBERSHIP) => {
            let membership = wire::Membership::decode(entry.payload.slice(1..))
                .map_err(|error| EntryError::Decode(index, error))?;
            EntryPayload::Membership(membership_from_wire(membership))
        }
        _ => return Err(EntryError::UnknownKind(index)),
    };
    Ok(Entry {
        log_id: log_id_from_log(entry.id),
        payload,
    })
}

pub fn entry_to_wire(entry: Entry) -> wire::Entry {
    let entry = entry_to_log(entry);
    wire::Entry {
        id: Some(wire::LogId {
            term: entry.id.term,
            node: entry.id.node,
            index: entry.id.index,
        }),
        payload: entry.payload,
    }
}

pub fn entry_from_wire(entry: wire::Entry) -> Result<Entry, EntryError> {
    let id = entry.id.unwrap_or_default();
    entry_from_log(log::Entry {
        id: log::LogId {
            term: id.term,
            node: id.node,
            index: id.index,
        },
        payload: entry.payload,
    })
}

pub fn log_id_to_log(id: &LogId) -> log::LogId {
    log::LogId {
        term: id.leader_id.term,
        node: id.leader_id.node_id,
        index: id.index,
    }
}

pub fn log_id_from_log(id: log::LogId) -> LogId {
    LogId {
        leader_id: LeaderId {
            term: id.term,
            node_id: id.node,
        },
        index: id.index,
    }
}

pub fn log_id_to_wire(id: &LogId) -> wire::LogId {
    wire::LogId {
        term: id.leader_id.term,
        node: id.leader_id.node_id,
        index: id.index,
    }
}

pub fn log_id_from_wire(id: wire::LogId) -> LogId {
    LogId {
        leader_id: LeaderId {
            term: id.term,
            node_id: id.node,
        },
        index: id.index,
    }
}

pub fn vote_to_log(vote: &Vote) -> log::Vote {
    log::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub fn vote_from_log(vote: log::Vote) -> Vote {
    Vote {
        leader_id: LeaderId {
            term: vote.term,
            node_id: vote.node,
        },
        committed: vote.committed,
    }
}

pub fn vote_to_wire(vote: &Vote) -> wire::Vote {
    wire::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub fn vote_from_wire(vote: wire::Vote) -> Vote {
    Vote {
        leader_id: LeaderId {
            term: vote.term,
            node_id: vote.node,
        },
        committed: vote.committed,
    }
}

pub fn membership_to_wire(membership: &Membership) -> wire::Membership {
    let voters = |set: &BTreeSet<u64>| wire::VoterSet {
        voters: set.iter().copied().collect(),
    };
    let node = |(id, member): (&u64, &Member)| wire::Node {
        id: *id,
        address: member.address.clone(),
    };
    wire::Membership {
        configs: membership.get_joint_config().iter().map(voters).collect(),
        nodes: membership.nodes().map(node).collect(),
    }
}

pub fn membership_from_wire(membership: wire::Membership) -> Membership {
    let sets = membership
        .configs
        .into_iter()
        .map(|set| set.voters.into_iter().collect());
    let node = |node: wire::Node| {
        let member = Member {
            address: node.address,
        };
        (node.id, member)
    };
    let nodes: BTreeMap<u64, Member> = membership.nodes.into_iter().map(node).collect();
    // What is in the log was valid when it was proposed, so no check is repeated here.
    let sets: Vec<BTreeSet<u64>> = sets.collect();
    Membership::new(sets.clone(), nodes.clone())
        .unwrap_or_else(|_| Membership::new_with_defaults(sets, nodes.into_keys()))
}

/// A membership with the entry that set it, as the store keeps it.
pub fn stored_to_bytes(stored: &Stored) -> Bytes {
    wire::SnapshotBegin {
        vote: None,
        last: None,
        membership_log_id: stored.log_id().as_ref().map(log_id_to_wire),
        membership: Some(membership_to_wire(stored.membership())),
    }
    .encode_to_vec()
    .into()
}

/// The inverse of [`stored_to_bytes`].
pub fn stored_from_bytes(bytes: &[u8]) -> Result<Stored, prost::DecodeError> {
    let stored = wire::SnapshotBegin::decode(bytes)?;
    Ok(Stored::new(
        stored.membership_log_id.map(log_id_from_wire),
        membership_from_wire(stored.membership.unwrap_or_default()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_the_log_and_the_wire() {
        let member = Member {
            address: "node:1".into(),
        };
        let sets = vec![[1, 2].into(), [2, 3].into()];
        let nodes: BTreeMap<u64, Member> = (1..=4).map(|id| (id, member.clone())).collect();
        let membership = Membership::new(sets, nodes).unwrap();
        let command = wire::Command { command: None };
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Proposal::encode(&command)),
            EntryPayload::Membership(membership),
        ] {
            let log_id = log_id_from_log(log::LogId {
                term: 3,
                node: 2,
                index: 9,
            });
            let entry = Entry { log_id, payload };
            let logged = entry_from_log(entry_to_log(entry.clone())).unwrap();
            assert_eq!(logged, entry);
            assert_eq!(
                entry_from_wire(entry_to_wire(entry.clone())).unwrap(),
                entry
            );
        }
    }
}
