//! What projects use, counted for their bills.
//!
//! Two things are counted in two ways, so that each is counted once whatever fails:
//!
//! - **What comes in** is counted where it is applied ([`Ledger`]): a message is on the bill if and only if it is in the
//!   log, once, however often it was sent, proposed or applied again.
//! - **What goes out, and how long connections are open**, only the node knows that does it. It counts ([`Meter`]) and
//!   has its reading taken every few seconds ([`Reader`]): a command of the log, with a number, so that one that is
//!   sent again is not counted again. What a node that is killed has counted since its last reading is on nobody's
//!   bill.
//!
//! The ledger of a shard has the hour that is going on in memory; hours that are over are the store's. The use of a
//! project is the sum of what its shards know, and what its nodes count is in its first shard.

use std::{collections::BTreeMap, ops::Range};

use highwater_proto::{
    cluster as wire,
    ids::{KeyId, ProjectId},
    limits::KEY_USES_MAX,
};

use crate::{broker::Broker, catalogue::place_project, handle::ReadRequest, refusal::Result};

mod ledger;
mod meter;
mod reader;

pub use ledger::{Ledger, Metered};
pub use meter::{Meter, Online};
pub use reader::Reader;
pub use wire::Protocol;

/// Milliseconds in an hour.
pub const HOUR_MS: u64 = 3_600 * 1_000;

/// Protocols, with the place in which each is counted.
pub const PROTOCOLS: [Protocol; 5] = [
    Protocol::Http,
    Protocol::Grpc,
    Protocol::Sse,
    Protocol::Websocket,
    Protocol::Mqtt,
];

/// What a protocol is called on a bill.
pub fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Grpc => "grpc",
        Protocol::Sse => "sse",
        Protocol::Websocket => "websocket",
        Protocol::Mqtt => "mqtt",
        Protocol::Unspecified => "",
    }
}

/// Where a protocol is counted; nowhere, if it is none.
fn place(protocol: Protocol) -> Option<usize> {
    (protocol as usize).checked_sub(1)
}

/// What was used over one protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages that were appended.
    pub messages_in: u64,
    /// Bytes of them as they are stored.
    pub bytes_in: u64,
    /// Records that were delivered.
    pub messages_out: u64,
    /// Bytes of their messages.
    pub bytes_out: u64,
    /// Milliseconds of open connections.
    pub connection_ms: u64,
}

/// What was used over every protocol.
pub type Traffics = [Traffic; PROTOCOLS.len()];

/// What a project has used in one hour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hour {
    /// Which one: hours since the Unix epoch.
    pub hour: u64,
    /// In the order of [`PROTOCOLS`].
    pub traffic: Traffics,
    /// Bytes of messages, after the last change of the hour.
    pub stored_bytes: u64,
    /// The most connections at once.
    pub peak_connections: u64,
    /// What each node has last said of its connections, and when.
    connections: BTreeMap<u64, (u64, u64)>,
    /// When each of the project's keys was last used, in milliseconds since the Unix epoch: in the last hour only.
    pub keys: BTreeMap<KeyId, u64>,
}

/// Time after which what a node has said of its connections counts no more: it is gone, and they are elsewhere.
const SAID_MS: u64 = 75_000;

impl Traffic {
    /// Adds more.
    pub fn add(&mut self, more: &Traffic) {
        self.messages_in += more.messages_in;
        self.bytes_in += more.bytes_in;
        self.messages_out += more.messages_out;
        self.bytes_out += more.bytes_out;
        self.connection_ms += more.connection_ms;
    }

    /// What was used since another moment.
    pub fn since(&self, before: &Traffic) -> Traffic {
        Traffic {
            messages_in: self.messages_in.saturating_sub(before.messages_in),
            bytes_in: self.bytes_in.saturating_sub(before.bytes_in),
            messages_out: self.messages_out.saturating_sub(before.messages_out),
            bytes_out: self.bytes_out.saturating_sub(before.bytes_out),
            connection_ms: self.connection_ms.saturating_sub(before.connection_ms),
        }
    }

    fn to_wire(self, protocol: Protocol) -> wire::Traffic {
        wire::Traffic {
            protocol: protocol.into(),
            messages_in: self.messages_in,
            bytes_in: self.bytes_in,
            messages_out: self.messages_out,
            bytes_out: self.bytes_out,
            connection_ms: self.connection_ms,
        }
    }

    fn from_wire(traffic: &wire::Traffic) -> Traffic {
        Traffic {
            messages_in: traffic.messages_in,
            bytes_in: traffic.bytes_in,
            messages_out: traffic.messages_out,
            bytes_out: traffic.bytes_out,
            connection_ms: traffic.connection_ms,
        }
    }
}

/// A message came in over a protocol.
pub fn came_in(traffics: &mut Traffics, protocol: Protocol, bytes: u64) {
    if let Some(at) = place(protocol) {
        traffics[at].messages_in += 1;
        traffics[at].bytes_in += bytes;
    }
}

fn traffics_to_wire(traffics: &Traffics) -> Vec<wire::Traffic> {
    let all = PROTOCOLS.into_iter().zip(traffics);
    let used = all.filter(|(_, traffic)| **traffic != Traffic::default());
    used.map(|(protocol, traffic)| traffic.to_wire(protocol))
        .collect()
}

fn traffics_from_wire(traffics: &[wire::Traffic]) -> Traffics {
    let mut read = Traffics::default();
    for traffic in traffics {
        if let Some(at) = place(traffic.protocol()) {
            read[at].add(&Traffic::from_wire(traffic));
        }
    }
    read
}

fn key_use(key: &[u8; 16], used_ms: u64) -> wire::KeyUse {
    wire::KeyUse {
        key: key.to_vec().into(),
        used_ms,
    }
}

fn key_from_wire(used: &wire::KeyUse) -> Option<(KeyId, u64)> {
    Some((KeyId::try_from(&used.key[..]).ok()?, used.used_ms))
}

impl Hour {
    /// An hour in which nothing was used.
    pub fn new(hour: u64) -> Hour {
        Hour {
            hour,
            ..Hour::default()
        }
    }

    /// As it is stored.
    pub fn to_wire(&self) -> wire::HourOfUse {
        let connections = self.connections.iter();
        wire::HourOfUse {
            hour: self.hour,
            traffic: traffics_to_wire(&self.traffic),
            stored_bytes: self.stored_bytes,
            peak_connections: self.peak_connections,
            connections: connections
                .map(|(node, (connections, time_ms))| wire::NodeConnections {
                    node: *node,
                    connections: *connections,
                    time_ms: *time_ms,
                })
                .collect(),
            keys: self
                .keys
                .iter()
                .map(|(key, used_ms)| key_use(key.as_bytes(), *used_ms))
                .collect(),
        }
    }

    /// Reads [`Hour::to_wire`].
    pub fn from_wire(hour: &wire::HourOfUse) -> Hour {
        let connections = hour.connections.iter();
        Hour {
            hour: hour.hour,
            traffic: traffics_from_wire(&hour.traffic),
            stored_bytes: hour.stored_bytes,
            peak_connections: hour.peak_connections,
            connections: connections
                .map(|said| (said.node, (said.connections, said.time_ms)))
                .collect(),
            keys: hour.keys.iter().filter_map(key_from_wire).collect(),
        }
    }

    /// So much more was used.
    fn use_more(&mut self, more: &Traffics) {
        for (traffic, more) in self.traffic.iter_mut().zip(more) {
            traffic.add(more);
        }
    }

    /// Adds what another shard knows of the same hour.
    pub fn add(&mut self, other: &Hour) {
        self.use_more(&other.traffic);
        self.stored_bytes += other.stored_bytes;
        self.peak_connections += other.peak_connections;
        for (key, used_ms) in &other.keys {
            self.used(*key, *used_ms);
        }
    }

    /// A key was used.
    fn used(&mut self, key: KeyId, used_ms: u64) {
        let last_ms = self.keys.entry(key).or_default();
        *last_ms = (*last_ms).max(used_ms);
        if self.keys.len() > KEY_USES_MAX {
            let oldest = self
                .keys
                .iter()
                .min_by_key(|(key, used_ms)| (**used_ms, **key));
            let oldest = oldest.map(|(key, _)| *key);
            oldest.and_then(|key| self.keys.remove(&key));
        }
    }

    /// A node has had so many connections at once.
    fn said(&mut self, node: u64, connections: u64, time_ms: u64) {
        self.connections.insert(node, (connections, time_ms));
        self.connections
            .retain(|_, (_, said_ms)| time_ms < said_ms.saturating_add(SAID_MS));
        let together = self.connections.values().map(|(open, _)| open).sum();
        self.peak_connections = self.peak_connections.max(together);
    }
}

/// The use of a project in some hours, from what each of its shards knows: one entry for each hour in which anything is
/// known, in their order. What is stored stays so from one hour to the next.
pub fn merge(shards: Vec<Vec<Hour>>) -> Vec<Hour> {
    let mut hours: BTreeMap<u64, Hour> = BTreeMap::new();
    for hour in shards.iter().flatten() {
        hours
            .entry(hour.hour)
            .or_insert_with(|| Hour::new(hour.hour));
    }
    for shard in shards {
        let mut known = shard.into_iter().peekable();
        let mut stored_bytes = 0;
        for (at, sum) in &mut hours {
            match known.next_if(|hour| hour.hour == *at) {
                Some(hour) => {
                    stored_bytes = hour.stored_bytes;
                    sum.add(&hour);
                }
                None => sum.stored_bytes += stored_bytes,
            }
        }
    }
    hours.into_values().collect()
}

/// What a project has used in some hours since the Unix epoch: those in which anything is known, and before them perhaps
/// an earlier one, since what is stored stays so. It may be one that is deleted; its topics are, or were, spread over
/// so many shards.
///
/// # Errors
/// Those of reading a shard.
pub async fn usage(
    broker: &Broker,
    project: ProjectId,
    spread: usize,
    hours: Range<u64>,
) -> Result<Vec<Hour>> {
    let mut shards = Vec::new();
    for shard in place_project(project, spread, broker.shards().len() as u32) {
        let shard = broker.shard(shard)?;
        // Whatever was acknowledged before is in it.
        shard.frontier().await?;
        let hours = hours.clone();
        let known = shard.read(|reply| ReadRequest::Usage {
            project,
            hours,
            reply,
        });
        shards.push(known.await?);
    }
    Ok(merge(shards))
}

#[cfg(test)]
mod tests;
