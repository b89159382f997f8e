//! How the topic policies of a project change: all together, for their order decides.

use highwater_proto::{
    control::document::Resource,
    ids::{ProjectId, TenantId},
};
use serde_json::json;

use super::shape::TopicPolicies;
use crate::{
    http::IfMatch,
    projects,
    refusal::Result,
    write::{Answer, Change, Now},
};

/// Sets them.
pub fn set(
    now: &Now<'_>,
    (tenant, id): (TenantId, ProjectId),
    if_match: &IfMatch,
    policies: &TopicPolicies,
) -> Result<Change> {
    let stored = projects::changeable(now, (tenant, id), if_match)?;
    policies.check()?;
    let before = TopicPolicies::of(&stored.value.policies);
    if before == *policies {
        return Ok(Change::none(Answer::of(stored.version, policies)));
    }
    let mut project = stored.value.clone();
    project.policies = policies.to_stored();
    let (answer, since) = (Answer::changed(policies), Some(stored.created_at_ms));
    let shown = (Some(json!(before)), Some(json!(policies)));
    Ok(
        Change::write(now, &id, since, Resource::Project(project), answer).audited(
            now,
            Some(tenant),
            "project.set_topic_policies",
            &id,
            shown,
        ),
    )
}

#[cfg(test)]
mod tests;
