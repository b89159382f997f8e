//! The system's own projects: where the service keeps what it must remember for its clients, and, in the meta
//! group, what every node has to know.
//!
//! What is written here is replicated, ordered and retained like everything else, and is the same on every
//! node. No credential opens it: the catalogue cannot name it. Each use has a first level of its own,
//! and with it the policy that says how long its records stay.

use bytes::Bytes;
use highwater_proto::{
    client::Message,
    ids::{ProjectId, ShardId, TenantId},
    limits::{AUDIT_MS, FEED_SHARDS_MAX, GROUP_EVENTS_KEPT, TICKET_RECORD_MS},
    names::{TopicFilter, TopicName},
};
use prost::Message as _;

use crate::{
    catalogue::{Policy, Project, Retention},
    handle::{Publish, Retain, TopicPolicy},
    metering::Protocol,
};

/// Its id, which no customer's project may have.
pub const PROJECT: ProjectId = ProjectId::from_bytes([0; 16]);

/// The id of what the meta group holds: what every node has to know.
pub const META: ProjectId = ProjectId::from_bytes([0xFF; 16]);

/// Whether an id is one that no customer's project may have.
pub fn is_own(id: ProjectId) -> bool {
    id == PROJECT || id == META
}

/// The topic of the catalogue's documents, in the meta group.
pub const CATALOGUE: &str = "catalogue";

/// What the topics begin with that are audit logs, in the meta group.
pub const AUDIT: &str = "audit/";

/// What the topics begin with in which used tickets are recorded.
pub const TICKETS: &str = "tickets/";

/// What the topics begin with in which nodes say that they were started.
pub const NODES: &str = "nodes/";

/// What the topics begin with in which the newest record is a session.
pub const SESSIONS: &str = "sessions/";

/// What the topics begin with that hold the events of a group.
pub const GROUPS: &str = "groups/";

/// The project in a cluster of these shards: spread over as many of them as one subscription can follow, since
/// it works for every tenant.
///
/// The shards of a cluster never change, and neither does their order, so a topic stays where it is.
pub fn project(mut shards: Vec<ShardId>) -> Project {
    shards.truncate(FEED_SHARDS_MAX);
    let so_many = |records| Retention {
        records: Some(records),
        ..Retention::default()
    };
    let policies = [
        (TICKETS, TopicPolicy::default(), for_ms(TICKET_RECORD_MS)),
        (GROUPS, TopicPolicy::default(), so_many(GROUP_EVENTS_KEPT)),
        (NODES, NEWEST_COUNTS, Retention::default()),
        (SESSIONS, NEWEST_COUNTS, Retention::default()),
    ];
    of_our_own(PROJECT, shards, policies)
}

/// The project of the meta group.
pub fn meta_project(meta: ShardId) -> Project {
    let policies = [
        (CATALOGUE, NEWEST_COUNTS, Retention::default()),
        (AUDIT, TopicPolicy::default(), for_ms(AUDIT_MS)),
    ];
    of_our_own(META, vec![meta], policies)
}

const NEWEST_COUNTS: TopicPolicy = TopicPolicy {
    last_value: true,
    must_exist: false,
    topics_max: None,
    stored_bytes_max: None,
};

fn for_ms(ms: u64) -> Retention {
    Retention {
        age_ms: Some(ms),
        ..Retention::default()
    }
}

/// Each policy is of one topic, or of those below a level that ends with a slash.
fn of_our_own<const N: usize>(
    id: ProjectId,
    shards: Vec<ShardId>,
    policies: [(&str, TopicPolicy, Retention); N],
) -> Project {
    let mut project = Project::new(id, TenantId::from_bytes([0; 16]), "system", shards);
    let policies = policies.map(|(level, topic, retention)| {
        let filter = match level.ends_with('/') {
            true => TopicFilter::try_from(format!("{level}#").as_str()),
            false => TopicFilter::try_from(level),
        };
        (
            filter.expect("a filter of our own"),
            Policy { topic, retention },
        )
    });
    project.policies.extend(policies);
    project
}

/// A record for a topic of one of these projects. What is retained is what readers of all such topics begin with.
pub fn publish(project: &Project, topic: TopicName, payload: Vec<u8>, retain: Retain) -> Publish {
    let message = Message {
        payload: payload.into(),
        retain: retain == Retain::Set,
        ..Message::default()
    };
    Publish {
        project: project.id,
        policy: project.policy(&topic).topic,
        topic,
        message: message.encode_to_vec().into(),
        idempotency: None,
        key: None,
        if_end: None,
        retain,
        with_previous: false,
        protocol: Protocol::Unspecified,
    }
}

/// The payload of a stored record; nothing of one that is none.
pub fn payload(message: &Bytes) -> Option<Bytes> {
    Message::decode(message.clone())
        .ok()
        .map(|message| message.payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_used_tickets_do_not_stay() {
        let project = project(vec![ShardId(0)]);
        let topic = TopicName::try_from(format!("{TICKETS}7").as_str()).unwrap();
        let age_ms = project.policy(&topic).retention.age_ms;
        assert_eq!(age_ms, Some(TICKET_RECORD_MS));
    }
}
