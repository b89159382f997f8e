//! How members come, change and go.
//!
//! A tenant keeps an owner: its owners cannot remove or demote the last one, for nobody of theirs could undo that.
//! Operators can.

use std::sync::Arc;

use highwater_proto::{
    control::{self, document::Resource},
    ids::{AdministratorId, TenantId},
    limits::TENANT_MEMBERS_MAX,
};
use serde_json::json;

use super::shape::{Member, MemberPatch, MemberSettings, NewMember};
use crate::{
    catalogue::Stored,
    http::IfMatch,
    refusal::{Reason, Result},
    tenants,
    write::{Answer, Change, Now},
};

/// A member of a tenant.
type At = (TenantId, AdministratorId);

/// A member.
///
/// # Errors
/// When the tenant has none with this id.
pub fn find<'a>(now: &Now<'a>, (tenant, id): At) -> Result<&'a Arc<Stored<control::Member>>> {
    let member = now.catalogue.members.get(id);
    let member = member.filter(|member| member.value.tenant == tenant.to_string());
    member.ok_or_else(|| Reason::NotFound.into())
}

/// A new one.
pub fn create(now: &Now<'_>, (tenant, id): At, new: &NewMember) -> Result<Change> {
    tenants::changeable(now, tenant, &IfMatch::default())?;
    new.check()?;
    let members = &now.catalogue.members;
    if members.count_of(tenant) >= TENANT_MEMBERS_MAX {
        return Err(Reason::LimitReached
            .because(format!("a tenant has at most {TENANT_MEMBERS_MAX} members")));
    }
    if members.named(tenant, &new.subject).is_some() {
        return Err(Reason::NameTaken.because("the tenant has a member with this subject"));
    }
    let member = control::Member {
        tenant: tenant.to_string(),
        subject: new.subject.clone(),
        role: control::Role::from(new.role).into(),
    };
    let shown = Member::of(id, tenant, &now.fresh(member.clone()));
    let answer = Answer::created(format!("/v1/tenants/{tenant}/members/{id}"), &shown);
    Ok(
        Change::write(now, &id, None, Resource::Member(member), answer).audited(
            now,
            Some(tenant),
            "member.create",
            &id,
            (None, Some(json!(shown))),
        ),
    )
}

/// Another role.
pub fn patch(now: &Now<'_>, at: At, if_match: &IfMatch, patch: &MemberPatch) -> Result<Change> {
    let (tenant, id) = at;
    let stored = find(now, at)?;
    if_match.check(stored.version)?;
    let was = Member::of(id, tenant, stored);
    let after = patch.apply(&MemberSettings { role: was.role })?;
    if after.role == was.role {
        return Ok(Change::none(Answer::of(stored.version, &was)));
    }
    keep_an_owner(now, at)?;
    let mut member = stored.value.clone();
    member.set_role(after.role.into());
    let is = Member::of(id, tenant, &now.changed(stored, member.clone()));
    let since = Some(stored.created_at_ms);
    Ok(Change::write(
        now,
        &id,
        since,
        Resource::Member(member),
        Answer::changed(&is),
    )
    .audited(
        now,
        Some(tenant),
        "member.update",
        &id,
        (Some(json!(was)), Some(json!(is))),
    ))
}

/// It is gone at once.
pub fn delete(now: &Now<'_>, at: At, if_match: &IfMatch) -> Result<Change> {
    let (tenant, id) = at;
    let stored = find(now, at)?;
    if_match.check(stored.version)?;
    keep_an_owner(now, at)?;
    let was = Member::of(id, tenant, stored);
    Ok(Change::delete(now, &id).audited(
        now,
        Some(tenant),
        "member.delete",
        &id,
        (Some(json!(was)), None),
    ))
}

/// # Errors
/// When the tenant would have no other owner, and the caller is not an operator.
fn keep_an_owner(now: &Now<'_>, (tenant, id): At) -> Result<()> {
    let is_owner = |member: &control::Member| member.role() == control::Role::Owner;
    let mut others = now
        .catalogue
        .members
        .of(tenant)
        .filter(|(other, _)| *other != id);
    let has_other = others.any(|(_, member)| is_owner(&member.value));
    let was_owner = now
        .catalogue
        .members
        .get(id)
        .is_some_and(|member| is_owner(&member.value));
    match was_owner && !has_other && !now.caller.principal.is_operator {
        true => {
            Err(Reason::InUse.because("a tenant keeps an owner: make another member one first"))
        }
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
