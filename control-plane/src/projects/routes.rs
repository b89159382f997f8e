//! `/v1/tenants/{tenant}/projects`.

use std::sync::Arc;

use axum::{Json, extract::State};
use highwater_proto::{
    control::Role,
    ids::{ProjectId, TenantId},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    rules,
    shape::{NewProject, Project, ProjectPatch},
};
use crate::{
    admin::Need,
    api::Api,
    cluster,
    http::{
        Asked, IfMatch, InPath, Listing, Page, Parameters, Precondition, ProjectPath, ReadRefusals,
        Repeatable, Submitted, TenantPath, WriteRefusals,
    },
    refusal::Result,
    write::Answer,
};

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, patch, delete))
}

/// List the projects of a tenant
#[utoipa::path(get, operation_id = "list_projects", path = "/v1/tenants/{tenant}/projects", tag = "projects", params(TenantPath, Parameters),
    responses((status = 200, description = "A page of them, oldest first", body = Page<Project>), ReadRefusals))]
async fn list(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<TenantPath>,
    listing: Listing,
) -> Result<Json<Page<Project>>> {
    let tenant: TenantId = at.tenant.0;
    let name = format!("projects of {tenant}");
    let after: Option<ProjectId> = listing.position(&api, &name)?;
    let need = Need::Tenant(tenant, Role::Viewer);
    api.read(&listing.caller, need, |now| {
        let found = listing.find(&now.catalogue.projects, tenant, after);
        let shown = found.map(|(id, stored)| (id, Project::of(id, tenant, stored)));
        listing.page(&api, &name, shown).map(Json)
    })
}

/// Create a project
///
/// With `expires_at` or `expires_in_ms`, it is deleted by itself then, with all of its data: for one run of tests,
/// say.
#[utoipa::path(post, operation_id = "create_project", path = "/v1/tenants/{tenant}/projects", tag = "projects", request_body = NewProject,
    params(TenantPath, Repeatable),
    responses((status = 201, description = "It was created", body = Project), WriteRefusals))]
async fn create(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<TenantPath>,
    Submitted { caller, body, key }: Submitted<NewProject>,
) -> Result<Answer> {
    let at = (at.tenant.0, ProjectId::generate());
    let need = Need::Tenant(at.0, Role::Editor);
    api.read(&caller, need, |_| Ok(()))?;
    if body.spread != 1 {
        rules::check_spread(body.spread, cluster::shards(&api).await?)?;
    }
    let write = api.writer.write(&caller, need, key.as_ref(), |now| {
        rules::create(now, at, &body)
    });
    write.await
}

/// Get a project
#[utoipa::path(get, operation_id = "get_project", path = "/v1/tenants/{tenant}/projects/{project}", tag = "projects", params(ProjectPath),
    responses((status = 200, description = "It, and its version as ETag", body = Project), ReadRefusals))]
async fn get(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    Asked(caller): Asked,
) -> Result<Answer> {
    let (tenant, id) = (at.tenant.0, at.project.0);
    api.read(&caller, Need::Tenant(tenant, Role::Viewer), |now| {
        let stored = rules::find(now, (tenant, id))?;
        Ok(Answer::of(stored.version, &Project::of(id, tenant, stored)))
    })
}

/// Change a project
#[utoipa::path(patch, operation_id = "update_project", path = "/v1/tenants/{tenant}/projects/{project}", tag = "projects",
    params(ProjectPath, Precondition),
    request_body(content = ProjectPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "As it is now", body = Project), WriteRefusals))]
async fn patch(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    if_match: IfMatch,
    Submitted { caller, body, .. }: Submitted<ProjectPatch>,
) -> Result<Answer> {
    let need = Need::Tenant(at.tenant.0, Role::Editor);
    let write = api.writer.write(&caller, need, None, |now| {
        rules::patch(now, (at.tenant.0, at.project.0), &if_match, &body)
    });
    write.await
}

/// Delete a project
///
/// With all of its data. Its keys and issuers are gone at once; it is gone when the data plane has removed the data.
#[utoipa::path(delete, operation_id = "delete_project", path = "/v1/tenants/{tenant}/projects/{project}", tag = "projects",
    params(ProjectPath, Precondition),
    responses((status = 202, description = "Its deletion has begun", body = Project), WriteRefusals))]
async fn delete(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    if_match: IfMatch,
    Asked(caller): Asked,
) -> Result<Answer> {
    let need = Need::Tenant(at.tenant.0, Role::Editor);
    let write = api.writer.write(&caller, need, None, |now| {
        rules::delete(now, (at.tenant.0, at.project.0), &if_match)
    });
    write.await
}
