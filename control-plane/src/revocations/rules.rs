//! How revocations come and go. They may be many, so they do not go with their project: they are swept when nothing that
//! they are about can be valid.

use std::sync::Arc;

use highwater_proto::{
    control::{self, document::Resource},
    ids::{ProjectId, RevocationId, TenantId},
    limits::PROJECT_REVOCATIONS_MAX,
};
use serde_json::json;

use super::shape::{NewRevocation, Revocation};
use crate::{
    catalogue::Stored,
    http::IfMatch,
    projects,
    refusal::{Reason, Result},
    write::{Answer, Change, Now},
};

/// A revocation of a project of a tenant.
type At = (TenantId, ProjectId, RevocationId);

/// A revocation.
///
/// # Errors
/// When the project has none with this id.
pub fn find<'a>(
    now: &Now<'a>,
    (tenant, project, id): At,
) -> Result<&'a Arc<Stored<control::Revocation>>> {
    projects::find(now, (tenant, project))?;
    let revocation = now.catalogue.revocations.get(id);
    let revocation = revocation.filter(|found| found.value.project == project.to_string());
    revocation.ok_or_else(|| Reason::NotFound.into())
}

/// A new one.
pub fn create(now: &Now<'_>, (tenant, project, id): At, new: &NewRevocation) -> Result<Change> {
    projects::changeable(now, (tenant, project), &IfMatch::default())?;
    let revocation = new.revocation(now.ms, project)?;
    if now.catalogue.revocations.count_of(project) >= PROJECT_REVOCATIONS_MAX {
        return Err(Reason::LimitReached.because(format!(
            "a project has at most {PROJECT_REVOCATIONS_MAX} revocations; one by subject, or of all tokens, stands for many"
        )));
    }
    let shown = Revocation::of(id, project, &now.fresh(revocation.clone()));
    let location = format!("/v1/tenants/{tenant}/projects/{project}/revocations/{id}");
    let answer = Answer::created(location, &shown);
    let change = Change::write(now, &id, None, Resource::Revocation(revocation), answer);
    let is = (None, Some(json!(shown)));
    Ok(change.audited(now, Some(tenant), "revocation.create", &id, is))
}

/// It is gone, and tokens that have not ended are good again.
pub fn delete(now: &Now<'_>, at: At, if_match: &IfMatch) -> Result<Change> {
    let (tenant, project, id) = at;
    let stored = find(now, at)?;
    if_match.check(stored.version)?;
    let was = (Some(json!(Revocation::of(id, project, stored))), None);
    Ok(Change::delete(now, &id).audited(now, Some(tenant), "revocation.delete", &id, was))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::desk::{Desk, parse};

    fn desk() -> (Desk, TenantId, ProjectId) {
        let (mut desk, tenant) = Desk::with_tenant("acme");
        let (project, new) = (ProjectId::generate(), parse(json!({"name": "p"})));
        desk.make(|now| projects::create(now, (tenant, project), &new))
            .unwrap();
        (desk, tenant, project)
    }

    #[test]
    fn one_says_which_tokens_and_nothing_of_those_to_come() {
        let (mut desk, tenant, project) = desk();
        let mut revoke = |body: Value| {
            let (id, new) = (RevocationId::generate(), parse(body));
            let answer = desk.make(|now| create(now, (tenant, project, id), &new));
            answer.map(|answer| answer.body.unwrap())
        };
        for body in [
            json!({}),
            json!({"all": false}),
            json!({"all": true, "subject": "ann"}),
            json!({"subject": ""}),
            json!({"token_id": "x".repeat(129)}),
            json!({"token_id": "tok_1", "issued_before": "1970-01-01T00:00:01Z"}),
            json!({"all": true, "issued_before": "2970-01-01T00:00:01Z"}),
        ] {
            assert_eq!(revoke(body).unwrap_err().reason, Reason::Invalid);
        }
        let by_subject = revoke(json!({"subject": "ann"})).unwrap();
        assert_eq!(by_subject["subject"], "ann");
        assert!(by_subject["issued_before"].is_string() && by_subject.get("all").is_none());
        let by_id = revoke(json!({"token_id": "tok_1"})).unwrap();
        assert!(by_id.get("issued_before").is_none());
        assert_eq!(revoke(json!({"all": true})).unwrap()["all"], true);
    }

    #[test]
    fn one_is_found_in_its_own_project_only() {
        let (mut desk, tenant, project) = desk();
        let (id, new) = (RevocationId::generate(), parse(json!({"all": true})));
        desk.make(|now| create(now, (tenant, project, id), &new))
            .unwrap();
        let (other, new) = (ProjectId::generate(), parse(json!({"name": "q"})));
        desk.make(|now| projects::create(now, (tenant, other), &new))
            .unwrap();
        let any = IfMatch::default();
        let refused = desk.make(|now| delete(now, (tenant, other, id), &any));
        assert_eq!(refused.unwrap_err().reason, Reason::NotFound);
        desk.make(|now| delete(now, (tenant, project, id), &any))
            .unwrap();
        assert!(desk.catalogue.revocations.is_empty());
    }
}
