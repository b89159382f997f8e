//! `/v1/tenants`.

use std::sync::Arc;

use axum::{Json, extract::State};
use highwater_proto::{control::Role, ids::TenantId};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    rules,
    shape::{Tenant, TenantPatch, TenantSettings},
};
use crate::{
    admin::Need,
    api::Api,
    http::{
        Asked, IfMatch, InPath, Listing, Page, Parameters, Precondition, ReadRefusals, Repeatable,
        Submitted, TenantPath, WriteRefusals,
    },
    refusal::Result,
    write::{Answer, Now},
};

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, patch, delete))
}

/// List the tenants that you may administer
#[utoipa::path(get, operation_id = "list_tenants", path = "/v1/tenants", tag = "tenants", params(Parameters),
    responses((status = 200, description = "A page of them, oldest first", body = Page<Tenant>), ReadRefusals))]
async fn list(State(api): State<Arc<Api>>, listing: Listing) -> Result<Json<Page<Tenant>>> {
    let after: Option<TenantId> = listing.position(&api, "tenants")?;
    api.read(&listing.caller, Need::Anybody, |now| {
        let page = match (&listing.name, now.caller.principal.is_operator) {
            (Some(name), _) => {
                let named = now.catalogue.tenants.named((), name).map(|(id, _)| id);
                listing.page(&api, "tenants", shown(now, named.into_iter()))
            }
            (None, true) => {
                let all = now.catalogue.tenants.of_after((), after).map(|(id, _)| id);
                listing.page(&api, "tenants", shown(now, all))
            }
            (None, false) => {
                let mut own: Vec<TenantId> = own(now).filter(|id| Some(*id) > after).collect();
                own.sort();
                own.dedup();
                listing.page(&api, "tenants", shown(now, own.into_iter()))
            }
        };
        page.map(Json)
    })
}

/// Those that the caller is a member of.
fn own<'a>(now: &Now<'a>) -> impl Iterator<Item = TenantId> + use<'a> {
    let (catalogue, subjects) = (now.catalogue, &now.caller.principal.subjects);
    subjects
        .iter()
        .flat_map(|subject| catalogue.tenants_of(subject))
}

fn shown<'a>(
    now: &Now<'a>,
    ids: impl Iterator<Item = TenantId>,
) -> impl Iterator<Item = (TenantId, Tenant)> {
    let (catalogue, principal) = (now.catalogue, &now.caller.principal);
    ids.filter(move |id| principal.sees(catalogue, *id))
        .filter_map(move |id| Some((id, Tenant::of(id, catalogue.tenants.get(id)?))))
}

/// Create a tenant
///
/// For operators.
#[utoipa::path(post, operation_id = "create_tenant", path = "/v1/tenants", tag = "tenants", request_body = TenantSettings,
    params(Repeatable),
    responses((status = 201, description = "It was created", body = Tenant), WriteRefusals))]
async fn create(
    State(api): State<Arc<Api>>,
    Submitted { caller, body, key }: Submitted<TenantSettings>,
) -> Result<Answer> {
    let id = TenantId::generate();
    let write = api
        .writer
        .write(&caller, Need::Operator, key.as_ref(), |now| {
            rules::create(now, id, &body)
        });
    write.await
}

/// Get a tenant
#[utoipa::path(get, operation_id = "get_tenant", path = "/v1/tenants/{tenant}", tag = "tenants", params(TenantPath),
    responses((status = 200, description = "It, and its version as ETag", body = Tenant), ReadRefusals))]
async fn get(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<TenantPath>,
    Asked(caller): Asked,
) -> Result<Answer> {
    let id = at.tenant.0;
    api.read(&caller, Need::Tenant(id, Role::Viewer), |now| {
        let stored = rules::find(now, id)?;
        Ok(Answer::of(stored.version, &Tenant::of(id, stored)))
    })
}

/// Change a tenant
///
/// Owners change its name and labels; operators also its state and quotas.
#[utoipa::path(patch, operation_id = "update_tenant", path = "/v1/tenants/{tenant}", tag = "tenants",
    params(TenantPath, Precondition),
    request_body(content = TenantPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "As it is now", body = Tenant), WriteRefusals))]
async fn patch(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<TenantPath>,
    if_match: IfMatch,
    Submitted { caller, body, .. }: Submitted<TenantPatch>,
) -> Result<Answer> {
    let id = at.tenant.0;
    let write = api
        .writer
        .write(&caller, Need::Tenant(id, Role::Owner), None, |now| {
            rules::patch(now, id, &if_match, &body)
        });
    write.await
}

/// Delete a tenant
///
/// For operators, and once it has no projects. Its members go with it; it is gone when the data plane has removed
/// what was left.
#[utoipa::path(delete, operation_id = "delete_tenant", path = "/v1/tenants/{tenant}", tag = "tenants",
    params(TenantPath, Precondition),
    responses((status = 202, description = "Its deletion has begun", body = Tenant), WriteRefusals))]
async fn delete(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<TenantPath>,
    if_match: IfMatch,
    Asked(caller): Asked,
) -> Result<Answer> {
    let id = at.tenant.0;
    let write = api
        .writer
        .write(&caller, Need::Tenant(id, Role::Owner), None, |now| {
            now.caller.principal.must_be_operator()?;
            rules::delete(now, id, &if_match)
        });
    write.await
}
