//! How quotas change. Those of a tenant are the operator's to set, those of a project the tenant's.

use highwater_proto::{
    control::document::Resource,
    ids::{ProjectId, TenantId},
};

use super::Quotas;
use crate::{
    http::IfMatch,
    projects,
    refusal::Result,
    tenants,
    write::{Answer, Change, Now},
};
use serde_json::json;

/// Sets those of a tenant.
pub fn set_of_tenant(
    now: &Now<'_>,
    id: TenantId,
    if_match: &IfMatch,
    quotas: &Quotas,
) -> Result<Change> {
    let stored = tenants::changeable(now, id, if_match)?;
    quotas.check()?;
    let before = stored.value.quotas.unwrap_or_default();
    let mut tenant = stored.value.clone();
    tenant.quotas = Some(quotas.into());
    if before == quotas.into() {
        return Ok(Change::none(Answer::of(stored.version, quotas)));
    }
    let (answer, since) = (Answer::changed(quotas), Some(stored.created_at_ms));
    let shown = (Some(json!(Quotas::from(&before))), Some(json!(quotas)));
    Ok(
        Change::write(now, &id, since, Resource::Tenant(tenant), answer).audited(
            now,
            Some(id),
            "tenant.set_quotas",
            &id,
            shown,
        ),
    )
}

/// Sets those of a project.
pub fn set_of_project(
    now: &Now<'_>,
    (tenant, id): (TenantId, ProjectId),
    if_match: &IfMatch,
    quotas: &Quotas,
) -> Result<Change> {
    let stored = projects::changeable(now, (tenant, id), if_match)?;
    quotas.check()?;
    let before = stored.value.quotas.unwrap_or_default();
    let mut project = stored.value.clone();
    project.quotas = Some(quotas.into());
    if before == quotas.into() {
        return Ok(Change::none(Answer::of(stored.version, quotas)));
    }
    let (answer, since) = (Answer::changed(quotas), Some(stored.created_at_ms));
    let shown = (Some(json!(Quotas::from(&before))), Some(json!(quotas)));
    Ok(
        Change::write(now, &id, since, Resource::Project(project), answer).audited(
            now,
            Some(tenant),
            "project.set_quotas",
            &id,
            shown,
        ),
    )
}

#[cfg(test)]
mod tests;
