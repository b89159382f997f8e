//! `…/quotas` of a tenant and of a project.

use std::sync::Arc;

use axum::extract::State;
use highwater_proto::control::Role;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Quotas, rules};
use crate::{
    admin::Need,
    api::Api,
    http::{
        Asked, IfMatch, InPath, Precondition, ProjectPath, ReadRefusals, Submitted, TenantPath,
        WriteRefusals,
    },
    projects,
    refusal::Result,
    tenants,
    write::Answer,
};

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(get_of_tenant, set_of_tenant))
        .routes(routes!(get_of_project, set_of_project))
}

/// What a tenant may use
#[utoipa::path(get, operation_id = "get_tenant_quotas", path = "/v1/tenants/{tenant}/quotas", tag = "quotas", params(TenantPath),
    responses((status = 200, description = "What all its projects may use together", body = Quotas), ReadRefusals))]
async fn get_of_tenant(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<TenantPath>,
    Asked(caller): Asked,
) -> Result<Answer> {
    let need = Need::Tenant(at.tenant.0, Role::Viewer);
    api.read(&caller, need, |now| {
        let tenant = tenants::find(now, at.tenant.0)?;
        let quotas = Quotas::from(&tenant.value.quotas.unwrap_or_default());
        Ok(Answer::of(tenant.version, &quotas))
    })
}

/// Set what a tenant may use
///
/// For operators. Replaces all of its quotas.
#[utoipa::path(put, operation_id = "set_tenant_quotas", path = "/v1/tenants/{tenant}/quotas", tag = "quotas",
    params(TenantPath, Precondition),
    request_body = Quotas,
    responses((status = 200, description = "As they are now", body = Quotas), WriteRefusals))]
async fn set_of_tenant(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<TenantPath>,
    if_match: IfMatch,
    Submitted { caller, body, .. }: Submitted<Quotas>,
) -> Result<Answer> {
    let need = Need::Tenant(at.tenant.0, Role::Owner);
    let write = api.writer.write(&caller, need, None, |now| {
        now.caller.principal.must_be_operator()?;
        rules::set_of_tenant(now, at.tenant.0, &if_match, &body)
    });
    write.await
}

/// What a project may use
#[utoipa::path(get, operation_id = "get_project_quotas", path = "/v1/tenants/{tenant}/projects/{project}/quotas", tag = "quotas", params(ProjectPath),
    responses((status = 200, description = "Within those of its tenant", body = Quotas), ReadRefusals))]
async fn get_of_project(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    Asked(caller): Asked,
) -> Result<Answer> {
    let need = Need::Tenant(at.tenant.0, Role::Viewer);
    api.read(&caller, need, |now| {
        let project = projects::find(now, (at.tenant.0, at.project.0))?;
        let quotas = Quotas::from(&project.value.quotas.unwrap_or_default());
        Ok(Answer::of(project.version, &quotas))
    })
}

/// Set what a project may use
///
/// Replaces all of its quotas. Those of its tenant hold all the same.
#[utoipa::path(put, operation_id = "set_project_quotas", path = "/v1/tenants/{tenant}/projects/{project}/quotas", tag = "quotas",
    params(ProjectPath, Precondition),
    request_body = Quotas,
    responses((status = 200, description = "As they are now", body = Quotas), WriteRefusals))]
async fn set_of_project(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    if_match: IfMatch,
    Submitted { caller, body, .. }: Submitted<Quotas>,
) -> Result<Answer> {
    let need = Need::Tenant(at.tenant.0, Role::Editor);
    let write = api.writer.write(&caller, need, None, |now| {
        rules::set_of_project(now, (at.tenant.0, at.project.0), &if_match, &body)
    });
    write.await
}
