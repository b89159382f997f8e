//! A group of consumers that share the records of a filter: each record is for one of them, and for another
//! when that one leaves without having acknowledged it.
//!
//! There is no coordinator. What the members do is written, as events, to a topic of the
//! [system's project](crate::system), and whoever reads the events in their order knows who has what: a
//! [`Group`] is a fold over them. A claim says how far a member would like to take; what it gets is decided
//! by its place among the events, so two claims at once are two claims one after the other, and no event is
//! ever refused. Members take turns ([`Group::rank`]), which only saves needless claims.
//!
//! A position is taken whether or not the record there matches the filter, so that what is taken is
//! described by a few spans. A group outlives its members: the next one goes on where they were.

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_proto::{
    cluster::{self, GroupEvent, GroupMember, group_event::Event, session::Place},
    ids::{MemberId, ProjectId, ShardId},
    limits::GROUP_MEMBERS_MAX,
    names::{TopicFilter, TopicName},
};
use prost::Message as _;

use crate::system;

/// The topic of the system's project that a group is kept in. It is a hash of all that makes the group, and no
/// release may change it.
pub fn topic(project: ProjectId, name: &str, filter: &TopicFilter) -> TopicName {
    let mut hasher = blake3::Hasher::new_derive_key("highwater 2026-11 group key");
    hasher.update(project.as_bytes());
    hasher.update(&(name.len() as u64).to_be_bytes());
    hasher.update(name.as_bytes());
    hasher.update(filter.as_str().as_bytes());
    let hash = hasher.finalize().to_hex();
    let topic = format!("{}{}", system::GROUPS, &hash[..32]);
    TopicName::try_from(topic.as_str()).expect("a valid name")
}

/// A node, from one of its starts to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home {
    /// The node's number.
    pub node: u64,
    /// When it was started, in milliseconds since the Unix epoch.
    pub started_at_ms: u64,
}

impl From<Home> for Place {
    fn from(home: Home) -> Place {
        Place {
            node: home.node,
            started_at_ms: home.started_at_ms,
        }
    }
}

impl From<&Place> for Home {
    fn from(place: &Place) -> Home {
        Home {
            node: place.node,
            started_at_ms: place.started_at_ms,
        }
    }
}

/// Positions of a shard, from the first to before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first position.
    pub start: u64,
    /// The position after the last.
    pub end: u64,
}

/// What somebody has taken and not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lease {
    end: u64,
    member: MemberId,
}

/// The group in one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Part {
    frontier: u64,
    /// By their first position. They do not overlap, nor do they with what is returned.
    leases: BTreeMap<u64, Lease>,
    /// Start and end.
    returned: BTreeMap<u64, u64>,
}

/// What the events of a group amount to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    members: BTreeMap<MemberId, Home>,
    parts: BTreeMap<ShardId, Part>,
    claims: u64,
}

impl Group {
    /// Takes the next event. Returns what the member of a claim got, if it was one.
    ///
    /// An event that makes no sense, of a member that is gone for example, changes nothing.
    pub fn apply(&mut self, event: GroupEvent) -> Option<(MemberId, ShardId, Span)> {
        match event.event? {
            Event::Join(join) => self.join(join),
            Event::Leave(leave) => {
                if let Some(member) = id(&leave.member) {
                    self.leave(member);
                }
            }
            Event::Claim(claim) => return self.claim(&claim),
            Event::Ack(ack) => self.ack(&ack),
            // Whoever reads on has it already.
            Event::Snapshot(_) => {}
        }
        None
    }

    fn join(&mut self, join: cluster::group_event::Join) {
        let Some((member, home)) = join.member.as_ref().and_then(member) else {
            return;
        };
        if self.parts.is_empty() {
            self.parts = join
                .frontiers
                .iter()
                .map(|frontier| {
                    let part = Part {
                        frontier: frontier.position,
                        ..Part::default()
                    };
                    (ShardId(frontier.shard), part)
                })
                .collect();
        }
        // What was there before its node was started again is not there any more.
        let mut members = self.members.iter();
        let gone = members
            .find(|(_, other)| other.node == home.node && other.started_at_ms < home.started_at_ms);
        if let Some((gone, _)) = gone {
            let gone = *gone;
            self.leave(gone);
            return self.join(join);
        }
        if self.members.len() < GROUP_MEMBERS_MAX {
            self.members.insert(member, home);
        }
    }

    fn leave(&mut self, member: MemberId) {
        if self.members.remove(&member).is_none() {
            return;
        }
        for part in self.parts.values_mut() {
            let leases = std::mem::take(&mut part.leases);
            for (start, lease) in leases {
                if lease.member == member {
                    part.returned.insert(start, lease.end);
                } else {
                    part.leases.insert(start, lease);
                }
            }
        }
    }

    fn claim(&mut self, claim: &cluster::group_event::Claim) -> Option<(MemberId, ShardId, Span)> {
        let member = id(&claim.member).filter(|member| self.members.contains_key(member))?;
        let shard = ShardId(claim.shard);
        let part = self.parts.get_mut(&shard)?;
        let span = match part.returned.pop_first() {
            Some((start, end)) => Span { start, end },
            None if claim.end_position > part.frontier => {
                let start = std::mem::replace(&mut part.frontier, claim.end_position);
                self.claims += 1;
                Span {
                    start,
                    end: claim.end_position,
                }
            }
            None => return None,
        };
        let lease = Lease {
            end: span.end,
            member,
        };
        part.leases.insert(span.start, lease);
        Some((member, shard, span))
    }

    fn ack(&mut self, ack: &cluster::group_event::Ack) {
        let Some(member) = id(&ack.member) else {
            return;
        };
        for (ranges, is_returned) in [(&ack.done, false), (&ack.returned, true)] {
            for range in ranges {
                if let Some(part) = self.parts.get_mut(&ShardId(range.shard)) {
                    let span = Span {
                        start: range.start_position,
                        end: range.end_position,
                    };
                    part.take(member, span, is_returned);
                }
            }
        }
    }

    /// Whether somebody is a member.
    pub fn has(&self, member: MemberId) -> bool {
        self.members.contains_key(&member)
    }

    /// Whether somebody has joined it, ever.
    pub fn is_open(&self) -> bool {
        !self.parts.is_empty()
    }

    /// All members, and where they are.
    pub fn members(&self) -> impl Iterator<Item = (MemberId, Home)> + '_ {
        self.members.iter().map(|(member, home)| (*member, *home))
    }

    /// In each shard, the first position that nobody has taken, and whether something was given back.
    pub fn open_ends(&self) -> impl Iterator<Item = (ShardId, u64, bool)> + '_ {
        let parts = self.parts.iter();
        parts.map(|(shard, part)| (*shard, part.frontier, !part.returned.is_empty()))
    }

    /// How many members come before this one in taking what comes next.
    pub fn rank(&self, member: MemberId) -> u64 {
        let count = self.members.len().max(1) as u64;
        let place = self.members.range(..member).count() as u64;
        (place + count - self.claims % count) % count
    }

    /// The state as an event, of all events before an offset.
    pub fn snapshot(&self, next_offset: u64) -> cluster::Group {
        let members = self
            .members
            .iter()
            .map(|(id, home)| wire_member(*id, *home));
        let parts = self.parts.iter().map(|(shard, part)| cluster::group::Part {
            shard: shard.0,
            frontier: part.frontier,
            leases: part
                .leases
                .iter()
                .map(|(start, lease)| cluster::group::Lease {
                    member: bytes(lease.member),
                    span: Some(wire_span(*start, lease.end)),
                })
                .collect(),
            returned: part
                .returned
                .iter()
                .map(|(start, end)| wire_span(*start, *end))
                .collect(),
        });
        cluster::Group {
            next_offset,
            members: members.collect(),
            parts: parts.collect(),
            claims: self.claims,
        }
    }

    /// Reads [`Group::snapshot`]. What makes no sense is left out.
    pub fn restore(snapshot: &cluster::Group) -> Group {
        let parts = snapshot.parts.iter().map(|part| {
            let leases = part.leases.iter().filter_map(|lease| {
                let span = lease.span.as_ref()?;
                let member = id(&lease.member)?;
                let lease = Lease {
                    end: span.end_position,
                    member,
                };
                Some((span.start_position, lease))
            });
            let returned = part.returned.iter();
            let restored = Part {
                frontier: part.frontier,
                leases: leases.collect(),
                returned: returned
                    .map(|span| (span.start_position, span.end_position))
                    .collect(),
            };
            (ShardId(part.shard), restored)
        });
        Group {
            members: snapshot.members.iter().filter_map(member).collect(),
            parts: parts.collect(),
            claims: snapshot.claims,
        }
    }
}

impl Part {
    /// Takes from the member's leases what lies in a span.
    fn take(&mut self, member: MemberId, span: Span, is_returned: bool) {
        if span.start >= span.end {
            return;
        }
        let first = self
            .leases
            .range(..=span.start)
            .next_back()
            .map_or(span.start, |(start, _)| *start);
        let touched: Vec<u64> = self
            .leases
            .range(first..span.end)
            .filter(|(start, lease)| {
                lease.member == member && lease.end > span.start && **start < span.end
            })
            .map(|(start, _)| *start)
            .collect();
        for start in touched {
            let Some(lease) = self.leases.remove(&start) else {
                continue;
            };
            if start < span.start {
                let before = Lease {
                    end: span.start,
                    member,
                };
                self.leases.insert(start, before);
            }
            if span.end < lease.end {
                self.leases.insert(span.end, lease.clone());
            }
            if is_returned {
                self.returned
                    .insert(start.max(span.start), lease.end.min(span.end));
            }
        }
    }
}

/// The event in a stored message, if there is one.
pub fn decode(message: &Bytes) -> Option<GroupEvent> {
    GroupEvent::decode(system::payload(message)?).ok()
}

/// An event as it is stored.
pub fn encode(event: Event) -> Vec<u8> {
    GroupEvent { event: Some(event) }.encode_to_vec()
}

/// A member as it joins.
pub fn wire_member(member: MemberId, home: Home) -> GroupMember {
    GroupMember {
        id: bytes(member),
        node: home.node,
        node_started_at_ms: home.started_at_ms,
    }
}

/// A member's id in an event.
pub fn bytes(member: MemberId) -> Bytes {
    Bytes::copy_from_slice(member.as_bytes())
}

fn wire_span(start: u64, end: u64) -> cluster::group::Span {
    cluster::group::Span {
        start_position: start,
        end_position: end,
    }
}

fn id(bytes: &Bytes) -> Option<MemberId> {
    MemberId::try_from(&bytes[..]).ok()
}

fn member(member: &GroupMember) -> Option<(MemberId, Home)> {
    let home = Home {
        node: member.node,
        started_at_ms: member.node_started_at_ms,
    };
    Some((id(&member.id)?, home))
}

#[cfg(test)]
mod tests;
