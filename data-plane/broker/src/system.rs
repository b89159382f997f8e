//! The system's own project: where the service keeps what it must remember for its clients.
//!
//! What is written here is replicated, ordered and retained like everything else, and is the same on every
//! node. No credential opens it: the catalogue cannot name it. Each use has a first level of its own,
//! and with it the policy that says how long its records stay.

use highwater_proto::{
    ids::{ProjectId, ShardId, TenantId},
    limits::{FEED_SHARDS_MAX, GROUP_EVENTS_KEPT, TICKET_RECORD_MS},
    names::TopicFilter,
};

use crate::{
    catalogue::{Policy, Project, Retention},
    group,
};

/// Its id, which no customer's project may have.
pub const PROJECT: ProjectId = ProjectId::from_bytes([0; 16]);

/// What the topics begin with in which used tickets are recorded.
pub const TICKETS: &str = "tickets/";

/// What the topics begin with in which nodes say that they were started.
pub const NODES: &str = "nodes/";

/// The project in a cluster of these shards: spread over as many of them as one subscription can follow, since
/// it works for every tenant.
///
/// The shards of a cluster never change, and neither does their order, so a topic stays where it is.
pub fn project(mut shards: Vec<ShardId>) -> Project {
    shards.truncate(FEED_SHARDS_MAX);
    let mut project = Project::new(PROJECT, TenantId::from_bytes([0; 16]), "system", shards);
    let tickets = Retention {
        age_ms: Some(TICKET_RECORD_MS),
        ..Retention::default()
    };
    let groups = Retention {
        records: Some(GROUP_EVENTS_KEPT),
        ..Retention::default()
    };
    let policies = [(TICKETS, tickets), (group::LEVEL, groups)].map(|(level, retention)| {
        let filter = TopicFilter::try_from(format!("{level}#").as_str());
        let policy = Policy {
            retention,
            ..Policy::default()
        };
        (filter.expect("a filter of our own"), policy)
    });
    project.policies.extend(policies);
    project
}

#[cfg(test)]
mod tests {
    use highwater_proto::names::TopicName;

    use super::*;

    #[test]
    fn records_of_used_tickets_do_not_stay() {
        let project = project(vec![ShardId(0)]);
        let topic = TopicName::try_from(format!("{TICKETS}7").as_str()).unwrap();
        let age_ms = project.policy(&topic).retention.age_ms;
        assert_eq!(age_ms, Some(TICKET_RECORD_MS));
    }
}
