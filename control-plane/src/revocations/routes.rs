//! `…/revocations` of a project.

use std::sync::Arc;

use axum::{Json, extract::State};
use highwater_proto::{control::Role, ids::RevocationId};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    rules,
    shape::{NewRevocation, Revocation},
};
use crate::{
    admin::Need,
    api::Api,
    http::{
        Asked, IfMatch, InPath, Listing, Page, Parameters, Precondition, ProjectPath, ReadRefusals,
        Repeatable, RevocationPath, Submitted, WriteRefusals,
    },
    projects,
    refusal::Result,
    write::Answer,
};

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, delete))
}

/// List the revocations of a project
///
/// Those of tokens that have ended anyway are not kept.
#[utoipa::path(get, operation_id = "list_revocations", path = "/v1/tenants/{tenant}/projects/{project}/revocations", tag = "tokens",
    params(ProjectPath, Parameters),
    responses((status = 200, description = "A page of them, oldest first", body = Page<Revocation>), ReadRefusals))]
async fn list(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    listing: Listing,
) -> Result<Json<Page<Revocation>>> {
    let (tenant, project) = (at.tenant.0, at.project.0);
    let name = format!("revocations of {project}");
    let after: Option<RevocationId> = listing.position(&api, &name)?;
    let need = Need::Tenant(tenant, Role::Viewer);
    api.read(&listing.caller, need, |now| {
        projects::find(now, (tenant, project))?;
        let found = listing.find(&now.catalogue.revocations, project, after);
        let shown = found.map(|(id, stored)| (id, Revocation::of(id, project, stored)));
        listing.page(&api, &name, shown).map(Json)
    })
}

/// Revoke tokens
///
/// Within a second, nothing is let in with them and what is open is closed, on every node.
#[utoipa::path(post, operation_id = "create_revocation", path = "/v1/tenants/{tenant}/projects/{project}/revocations", tag = "tokens",
    params(ProjectPath, Repeatable),
    request_body = NewRevocation,
    responses((status = 201, description = "They are revoked", body = Revocation), WriteRefusals))]
async fn create(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    Submitted { caller, body, key }: Submitted<NewRevocation>,
) -> Result<Answer> {
    let at = (at.tenant.0, at.project.0, RevocationId::generate());
    let need = Need::Tenant(at.0, Role::Editor);
    let write = api.writer.write(&caller, need, key.as_ref(), |now| {
        rules::create(now, at, &body)
    });
    write.await
}

/// Get a revocation
#[utoipa::path(get, operation_id = "get_revocation", path = "/v1/tenants/{tenant}/projects/{project}/revocations/{revocation}", tag = "tokens",
    params(RevocationPath),
    responses((status = 200, description = "It, and its version as ETag", body = Revocation), ReadRefusals))]
async fn get(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<RevocationPath>,
    Asked(caller): Asked,
) -> Result<Answer> {
    let at = (at.tenant.0, at.project.0, at.revocation.0);
    api.read(&caller, Need::Tenant(at.0, Role::Viewer), |now| {
        let stored = rules::find(now, at)?;
        Ok(Answer::of(
            stored.version,
            &Revocation::of(at.2, at.1, stored),
        ))
    })
}

/// Take back a revocation
///
/// Tokens that it was about and that have not ended are good again.
#[utoipa::path(delete, operation_id = "delete_revocation", path = "/v1/tenants/{tenant}/projects/{project}/revocations/{revocation}", tag = "tokens",
    params(RevocationPath, Precondition),
    responses((status = 204, description = "It is gone"), WriteRefusals))]
async fn delete(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<RevocationPath>,
    if_match: IfMatch,
    Asked(caller): Asked,
) -> Result<Answer> {
    let at = (at.tenant.0, at.project.0, at.revocation.0);
    let need = Need::Tenant(at.0, Role::Editor);
    let write = api
        .writer
        .write(&caller, need, None, |now| rules::delete(now, at, &if_match));
    write.await
}
