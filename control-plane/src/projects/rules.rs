//! How projects come, change and go.
//!
//! Deleting a project is final: its keys and issuers go at once and in the same commit, so nobody is let in from
//! then on; its data goes after that. Its name is free at once.

use std::sync::Arc;

use highwater_proto::{
    control::{self, document::Resource},
    ids::{ProjectId, TenantId},
    limits::{FEED_SHARDS_MAX, PROJECT_LIFETIME_MS_MAX, TENANT_PROJECTS_MAX},
};
use serde_json::json;

use super::shape::{NewProject, Project, ProjectPatch, ProjectSettings};
use crate::{
    catalogue::Stored,
    http::IfMatch,
    refusal::{Reason, Result, invalid},
    shapes::expiry_ms,
    tenants,
    write::{Answer, Change, Now},
};

/// A project of a tenant.
type At = (TenantId, ProjectId);

/// A project.
///
/// # Errors
/// When the tenant has none with this id.
pub fn find<'a>(now: &Now<'a>, (tenant, id): At) -> Result<&'a Arc<Stored<control::Project>>> {
    let found = now.catalogue.project(tenant, id);
    found.ok_or_else(|| Reason::NotFound.into())
}

/// A project that may be changed, in the version that is meant.
///
/// # Errors
/// When there is none, or not in this version, or not for long.
pub fn changeable<'a>(
    now: &Now<'a>,
    at: At,
    if_match: &IfMatch,
) -> Result<&'a Arc<Stored<control::Project>>> {
    let stored = find(now, at)?;
    if_match.check(stored.version)?;
    match stored.value.state() {
        control::State::Deleting => Err(Reason::Deleting.because("the project is being deleted")),
        _ => Ok(stored),
    }
}

/// # Errors
/// When a project cannot be spread like this in a cluster of so many shards.
pub fn check_spread(spread: u32, shards: usize) -> Result<()> {
    let most = shards.min(FEED_SHARDS_MAX);
    match (1..=most).contains(&(spread as usize)) {
        true => Ok(()),
        false => Err(invalid(format!(
            "`spread` is from 1 to {most} in this cluster"
        ))),
    }
}

/// A new one.
pub fn create(now: &Now<'_>, (tenant, id): At, new: &NewProject) -> Result<Change> {
    tenants::changeable(now, tenant, &IfMatch::default())?;
    let settings = new.settings(now.ms)?;
    settings.check()?;
    if now.catalogue.projects.count_of(tenant) >= TENANT_PROJECTS_MAX {
        return Err(Reason::LimitReached.because(format!(
            "a tenant has at most {TENANT_PROJECTS_MAX} projects, those included that are being deleted"
        )));
    }
    check_name_is_free(now, (tenant, id), &settings.name)?;
    let mut project = control::Project {
        tenant: tenant.to_string(),
        spread: new.spread,
        ..control::Project::default()
    };
    settings.put_into(&mut project);
    let shown = Project::of(id, tenant, &now.fresh(project.clone()));
    let answer = Answer::created(format!("/v1/tenants/{tenant}/projects/{id}"), &shown);
    Ok(
        Change::write(now, &id, None, Resource::Project(project), answer).audited(
            now,
            Some(tenant),
            "project.create",
            &id,
            (None, Some(json!(shown))),
        ),
    )
}

/// Other settings.
pub fn patch(now: &Now<'_>, at: At, if_match: &IfMatch, patch: &ProjectPatch) -> Result<Change> {
    let (tenant, id) = at;
    let stored = changeable(now, at, if_match)?;
    let was = Project::of(id, tenant, stored);
    let before = ProjectSettings::of(&stored.value);
    let after = patch.apply(&before)?;
    if after == before {
        return Ok(Change::none(Answer::of(stored.version, &was)));
    }
    after.check()?;
    if after.expires_at != before.expires_at {
        expiry_ms(now.ms, after.expires_at, None, PROJECT_LIFETIME_MS_MAX)?;
    }
    check_name_is_free(now, at, &after.name)?;
    let mut project = stored.value.clone();
    after.put_into(&mut project);
    let is = Project::of(id, tenant, &now.changed(stored, project.clone()));
    let since = Some(stored.created_at_ms);
    Ok(Change::write(
        now,
        &id,
        since,
        Resource::Project(project),
        Answer::changed(&is),
    )
    .audited(
        now,
        Some(tenant),
        "project.update",
        &id,
        (Some(json!(was)), Some(json!(is))),
    ))
}

/// Begins a deletion, which the data plane ends.
pub fn delete(now: &Now<'_>, at: At, if_match: &IfMatch) -> Result<Change> {
    let (tenant, id) = at;
    let stored = find(now, at)?;
    if_match.check(stored.version)?;
    let was = Project::of(id, tenant, stored);
    if stored.value.state() == control::State::Deleting {
        return Ok(Change::none(Answer::of(stored.version, &was).accepted()));
    }
    let mut project = stored.value.clone();
    project.set_state(control::State::Deleting);
    let is = Project::of(id, tenant, &now.changed(stored, project.clone()));
    let since = Some(stored.created_at_ms);
    let mut change = Change::write(
        now,
        &id,
        since,
        Resource::Project(project),
        Answer::changed(&is).accepted(),
    )
    .audited(
        now,
        Some(tenant),
        "project.delete",
        &id,
        (Some(json!(was)), Some(json!(is))),
    );
    for (key, _) in now.catalogue.keys.of(id) {
        change = change.and_delete(now, &key);
    }
    for (issuer, _) in now.catalogue.issuers.of(id) {
        change = change.and_delete(now, &issuer);
    }
    Ok(change)
}

fn check_name_is_free(now: &Now<'_>, (tenant, id): At, name: &str) -> Result<()> {
    match now.catalogue.projects.named(tenant, name) {
        Some((other, _)) if other != id => {
            Err(Reason::NameTaken.because("the tenant has a project with this name"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
