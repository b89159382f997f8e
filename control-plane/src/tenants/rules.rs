//! How tenants come, change and go.
//!
//! A tenant with projects is in use: they go first, one by one, so that nobody loses a customer's data by one
//! call. Its members go with it.

use std::sync::Arc;

use highwater_proto::{
    control::{self, document::Resource},
    ids::TenantId,
    limits::TENANTS_MAX,
};
use serde_json::{Value, json};

use super::shape::{Tenant, TenantPatch, TenantSettings};
use crate::{
    catalogue::Stored,
    http::IfMatch,
    refusal::{Reason, Result},
    write::{Answer, Change, Now},
};

/// A tenant.
///
/// # Errors
/// When there is none.
pub fn find<'a>(now: &Now<'a>, id: TenantId) -> Result<&'a Arc<Stored<control::Tenant>>> {
    now.catalogue
        .tenants
        .get(id)
        .ok_or_else(|| Reason::NotFound.into())
}

/// A tenant that may be changed, in the version that is meant.
///
/// # Errors
/// When there is none, or not in this version, or not for long.
pub fn changeable<'a>(
    now: &Now<'a>,
    id: TenantId,
    if_match: &IfMatch,
) -> Result<&'a Arc<Stored<control::Tenant>>> {
    let stored = find(now, id)?;
    if_match.check(stored.version)?;
    match stored.value.state() {
        control::State::Deleting => Err(Reason::Deleting.because("the tenant is being deleted")),
        _ => Ok(stored),
    }
}

/// A new one.
pub fn create(now: &Now<'_>, id: TenantId, settings: &TenantSettings) -> Result<Change> {
    settings.check()?;
    if now.catalogue.tenants.len() >= TENANTS_MAX {
        return Err(
            Reason::LimitReached.because(format!("there are at most {TENANTS_MAX} tenants"))
        );
    }
    check_name_is_free(now, id, &settings.name)?;
    let tenant = settings.to_stored();
    let shown = Tenant::of(id, &now.fresh(tenant.clone()));
    let answer = Answer::created(format!("/v1/tenants/{id}"), &shown);
    let change = Change::write(now, &id, None, Resource::Tenant(tenant), answer);
    let shown = (None, Some(json!(shown)));
    Ok(audited_in_both(change, now, id, "tenant.create", shown))
}

/// Other settings. Only operators change what a tenant may use, and whether.
pub fn patch(
    now: &Now<'_>,
    id: TenantId,
    if_match: &IfMatch,
    patch: &TenantPatch,
) -> Result<Change> {
    let stored = changeable(now, id, if_match)?;
    let before = TenantSettings::of(&stored.value);
    let after = patch.apply(&before)?;
    if (after.state, after.quotas) != (before.state, before.quotas) {
        now.caller.principal.must_be_operator()?;
    }
    if after == before {
        return Ok(Change::none(Answer::of(
            stored.version,
            &Tenant::of(id, stored),
        )));
    }
    after.check()?;
    check_name_is_free(now, id, &after.name)?;
    let tenant = after.to_stored();
    let (was, is) = (
        Tenant::of(id, stored),
        Tenant::of(id, &now.changed(stored, tenant.clone())),
    );
    let since = Some(stored.created_at_ms);
    Ok(Change::write(
        now,
        &id,
        since,
        Resource::Tenant(tenant),
        Answer::changed(&is),
    )
    .audited(
        now,
        Some(id),
        "tenant.update",
        &id,
        (Some(json!(was)), Some(json!(is))),
    ))
}

/// Begins a deletion, which the data plane ends.
pub fn delete(now: &Now<'_>, id: TenantId, if_match: &IfMatch) -> Result<Change> {
    let stored = find(now, id)?;
    if_match.check(stored.version)?;
    let was = Tenant::of(id, stored);
    if stored.value.state() == control::State::Deleting {
        return Ok(Change::none(Answer::of(stored.version, &was).accepted()));
    }
    let is_live = |project: &control::Project| project.state() != control::State::Deleting;
    let live = now
        .catalogue
        .projects
        .of(id)
        .filter(|(_, p)| is_live(&p.value))
        .count();
    if live > 0 {
        return Err(Reason::InUse.because(format!(
            "the tenant has projects ({live}): delete them first"
        )));
    }
    let mut tenant = stored.value.clone();
    tenant.set_state(control::State::Deleting);
    let is = Tenant::of(id, &now.changed(stored, tenant.clone()));
    let since = Some(stored.created_at_ms);
    let change = Change::write(
        now,
        &id,
        since,
        Resource::Tenant(tenant),
        Answer::changed(&is).accepted(),
    );
    let shown = (Some(json!(was)), Some(json!(is)));
    let change = audited_in_both(change, now, id, "tenant.delete", shown);
    let members = now.catalogue.members.of(id);
    Ok(members.fold(change, |change, (member, _)| {
        change.and_delete(now, &member)
    }))
}

/// That a tenant comes or goes is for the platform's log, too: its own may be gone before somebody asks.
fn audited_in_both(
    change: Change,
    now: &Now<'_>,
    id: TenantId,
    action: &str,
    shown: (Option<Value>, Option<Value>),
) -> Change {
    change
        .audited(now, Some(id), action, &id, shown.clone())
        .audited(now, None, action, &id, shown)
}

fn check_name_is_free(now: &Now<'_>, id: TenantId, name: &str) -> Result<()> {
    match now.catalogue.tenants.named((), name) {
        Some((other, _)) if other != id => {
            Err(Reason::NameTaken.because("there is a tenant with this name"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
