//! `…/issuers` of a project.

use std::sync::Arc;

use axum::{Json, extract::State};
use highwater_proto::{control::Role, ids::IssuerId};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    rules,
    shape::{Issuer, IssuerPatch, IssuerSettings},
};
use crate::{
    admin::Need,
    api::Api,
    http::{
        Asked, IfMatch, InPath, IssuerPath, Listing, Page, Parameters, Precondition, ProjectPath,
        ReadRefusals, Repeatable, Submitted, WriteRefusals,
    },
    projects,
    refusal::Result,
    write::Answer,
};

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, patch, delete))
}

/// List the issuers of a project
#[utoipa::path(get, operation_id = "list_issuers", path = "/v1/tenants/{tenant}/projects/{project}/issuers", tag = "issuers", params(ProjectPath, Parameters),
    responses((status = 200, description = "A page of them, oldest first", body = Page<Issuer>), ReadRefusals))]
async fn list(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    listing: Listing,
) -> Result<Json<Page<Issuer>>> {
    let (tenant, project) = (at.tenant.0, at.project.0);
    let name = format!("issuers of {project}");
    let after: Option<IssuerId> = listing.position(&api, &name)?;
    let need = Need::Tenant(tenant, Role::Viewer);
    api.read(&listing.caller, need, |now| {
        projects::find(now, (tenant, project))?;
        let found = listing.find(&now.catalogue.issuers, project, after);
        let shown = found.map(|(id, stored)| (id, Issuer::of(id, project, stored)));
        listing.page(&api, &name, shown).map(Json)
    })
}

/// Let somebody else sign tokens for a project
///
/// One with a `jwks_url` opens nothing until its keys have been fetched from there, which is begun at once and done
/// again every five minutes. No redirections are followed.
#[utoipa::path(post, operation_id = "create_issuer", path = "/v1/tenants/{tenant}/projects/{project}/issuers", tag = "issuers", request_body = IssuerSettings,
    params(ProjectPath, Repeatable),
    responses((status = 201, description = "It was created", body = Issuer), WriteRefusals))]
async fn create(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    Submitted { caller, body, key }: Submitted<IssuerSettings>,
) -> Result<Answer> {
    let at = (at.tenant.0, at.project.0, IssuerId::generate());
    let need = Need::Tenant(at.0, Role::Editor);
    let write = api.writer.write(&caller, need, key.as_ref(), |now| {
        rules::create(now, at, &body)
    });
    write.await
}

/// Get an issuer
#[utoipa::path(get, operation_id = "get_issuer", path = "/v1/tenants/{tenant}/projects/{project}/issuers/{issuer}", tag = "issuers", params(IssuerPath),
    responses((status = 200, description = "It, and its version as ETag", body = Issuer), ReadRefusals))]
async fn get(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<IssuerPath>,
    Asked(caller): Asked,
) -> Result<Answer> {
    let at = (at.tenant.0, at.project.0, at.issuer.0);
    api.read(&caller, Need::Tenant(at.0, Role::Viewer), |now| {
        let stored = rules::find(now, at)?;
        Ok(Answer::of(stored.version, &Issuer::of(at.2, at.1, stored)))
    })
}

/// Change an issuer
#[utoipa::path(patch, operation_id = "update_issuer", path = "/v1/tenants/{tenant}/projects/{project}/issuers/{issuer}", tag = "issuers",
    params(IssuerPath, Precondition),
    request_body(content = IssuerPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "As it is now", body = Issuer), WriteRefusals))]
async fn patch(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<IssuerPath>,
    if_match: IfMatch,
    Submitted { caller, body, .. }: Submitted<IssuerPatch>,
) -> Result<Answer> {
    let at = (at.tenant.0, at.project.0, at.issuer.0);
    let need = Need::Tenant(at.0, Role::Editor);
    let write = api.writer.write(&caller, need, None, |now| {
        rules::patch(now, at, &if_match, &body)
    });
    write.await
}

/// Delete an issuer
///
/// Within a second, its tokens are good no more and what is open with them is closed.
#[utoipa::path(delete, operation_id = "delete_issuer", path = "/v1/tenants/{tenant}/projects/{project}/issuers/{issuer}", tag = "issuers",
    params(IssuerPath, Precondition),
    responses((status = 204, description = "It is gone"), WriteRefusals))]
async fn delete(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<IssuerPath>,
    if_match: IfMatch,
    Asked(caller): Asked,
) -> Result<Answer> {
    let at = (at.tenant.0, at.project.0, at.issuer.0);
    let need = Need::Tenant(at.0, Role::Editor);
    let write = api
        .writer
        .write(&caller, need, None, |now| rules::delete(now, at, &if_match));
    write.await
}
