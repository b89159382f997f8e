//! How issuers come, change and go.

use std::sync::Arc;

use highwater_proto::{
    control::{self, document::Resource},
    ids::{IssuerId, ProjectId, TenantId},
    limits::PROJECT_ISSUERS_MAX,
};
use serde_json::json;

use super::shape::{Issuer, IssuerPatch, IssuerSettings};
use crate::{
    catalogue::{Kept as _, Stored},
    http::IfMatch,
    projects,
    refusal::{Reason, Result},
    write::{Answer, Change, Now},
};

/// An issuer of a project of a tenant.
type At = (TenantId, ProjectId, IssuerId);

/// An issuer.
///
/// # Errors
/// When the project has none with this id.
pub fn find<'a>(
    now: &Now<'a>,
    (tenant, project, id): At,
) -> Result<&'a Arc<Stored<control::Issuer>>> {
    projects::find(now, (tenant, project))?;
    let issuer = now.catalogue.issuers.get(id);
    let issuer = issuer.filter(|issuer| issuer.value.project == project.to_string());
    issuer.ok_or_else(|| Reason::NotFound.into())
}

/// A new one.
pub fn create(
    now: &Now<'_>,
    (tenant, project, id): At,
    settings: &IssuerSettings,
) -> Result<Change> {
    projects::changeable(now, (tenant, project), &IfMatch::default())?;
    settings.check()?;
    if now.catalogue.issuers.count_of(project) >= PROJECT_ISSUERS_MAX {
        return Err(Reason::LimitReached.because(format!(
            "a project has at most {PROJECT_ISSUERS_MAX} issuers"
        )));
    }
    check_is_only_one(now, (project, id), settings)?;
    let mut issuer = control::Issuer {
        project: project.to_string(),
        ..control::Issuer::default()
    };
    settings.put_into(&mut issuer);
    let shown = Issuer::of(id, project, &now.fresh(issuer.clone()));
    let location = format!("/v1/tenants/{tenant}/projects/{project}/issuers/{id}");
    let answer = Answer::created(location, &shown);
    Ok(
        Change::write(now, &id, None, Resource::Issuer(issuer), answer).audited(
            now,
            Some(tenant),
            "issuer.create",
            &id,
            (None, Some(json!(shown))),
        ),
    )
}

/// Other settings.
pub fn patch(now: &Now<'_>, at: At, if_match: &IfMatch, patch: &IssuerPatch) -> Result<Change> {
    let (tenant, project, id) = at;
    let stored = find(now, at)?;
    if_match.check(stored.version)?;
    let was = Issuer::of(id, project, stored);
    let before = IssuerSettings::of(&stored.value);
    let after = patch.apply(&before)?;
    if after == before {
        return Ok(Change::none(Answer::of(stored.version, &was)));
    }
    after.check()?;
    check_is_only_one(now, (project, id), &after)?;
    let mut issuer = stored.value.clone();
    after.put_into(&mut issuer);
    let is = Issuer::of(id, project, &now.changed(stored, issuer.clone()));
    let since = Some(stored.created_at_ms);
    Ok(Change::write(
        now,
        &id,
        since,
        Resource::Issuer(issuer),
        Answer::changed(&is),
    )
    .audited(
        now,
        Some(tenant),
        "issuer.update",
        &id,
        (Some(json!(was)), Some(json!(is))),
    ))
}

/// It has other keys at its address. Nothing, if it has another address since.
pub fn fetched(now: &Now<'_>, id: IssuerId, url: &str, keys: &str) -> Result<Change> {
    let unchanged = || Ok(Change::none(Answer::gone()));
    let Some(stored) = now.catalogue.issuers.get(id) else {
        return unchanged();
    };
    let project = stored.value.parent();
    let tenant = project.and_then(|id| now.catalogue.projects.get(id)?.value.parent());
    let (Some(project), Some(tenant)) = (project, tenant) else {
        return unchanged();
    };
    if stored.value.jwks_url != url || stored.value.jwks == keys {
        return unchanged();
    }
    let mut issuer = stored.value.clone();
    issuer.jwks = keys.to_owned();
    issuer.jwks_fetched_at_ms = now.ms;
    let was = Issuer::of(id, project, stored);
    let is = Issuer::of(id, project, &now.changed(stored, issuer.clone()));
    let shown = (Some(json!(was)), Some(json!(is)));
    let since = Some(stored.created_at_ms);
    let change = Change::write(now, &id, since, Resource::Issuer(issuer), Answer::gone());
    Ok(change.audited(now, Some(tenant), "issuer.fetch_keys", &id, shown))
}

/// It is gone at once, and its tokens are good no more.
pub fn delete(now: &Now<'_>, at: At, if_match: &IfMatch) -> Result<Change> {
    let (tenant, project, id) = at;
    let stored = find(now, at)?;
    if_match.check(stored.version)?;
    let was = Issuer::of(id, project, stored);
    Ok(Change::delete(now, &id).audited(
        now,
        Some(tenant),
        "issuer.delete",
        &id,
        (Some(json!(was)), None),
    ))
}

/// # Errors
/// When the project has one with this name, or one that tokens could mean as well.
fn check_is_only_one(
    now: &Now<'_>,
    (project, id): (ProjectId, IssuerId),
    settings: &IssuerSettings,
) -> Result<()> {
    let mut others = now
        .catalogue
        .issuers
        .of(project)
        .filter(|(other, _)| *other != id);
    match others.find(|(_, o)| o.value.name == settings.name || o.value.issuer == settings.issuer) {
        None => Ok(()),
        Some((_, other)) if other.value.name == settings.name => {
            Err(Reason::NameTaken.because("the project has an issuer with this name"))
        }
        Some(_) => Err(Reason::NameTaken.because("the project has an issuer with this `issuer`")),
    }
}

#[cfg(test)]
mod tests;
