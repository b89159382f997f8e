//! `…/members` of a tenant.

use std::sync::Arc;

use axum::{Json, extract::State};
use highwater_proto::{control::Role, ids::AdministratorId};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    rules,
    shape::{Member, MemberPatch, NewMember},
};
use crate::{
    admin::Need,
    api::Api,
    http::{
        Asked, IfMatch, InPath, Listing, MemberPath, Page, Parameters, Precondition, ReadRefusals,
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

/// List who may administer a tenant
///
/// `name` is a subject.
#[utoipa::path(get, operation_id = "list_members", path = "/v1/tenants/{tenant}/members", tag = "members", params(TenantPath, Parameters),
    responses((status = 200, description = "A page of them, oldest first", body = Page<Member>), ReadRefusals))]
async fn list(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<TenantPath>,
    listing: Listing,
) -> Result<Json<Page<Member>>> {
    let tenant = at.tenant.0;
    let name = format!("members of {tenant}");
    let after: Option<AdministratorId> = listing.position(&api, &name)?;
    let need = Need::Tenant(tenant, Role::Viewer);
    api.read(&listing.caller, need, |now| {
        let found = listing.find(&now.catalogue.members, tenant, after);
        let shown = found.map(|(id, stored)| (id, Member::of(id, tenant, stored)));
        listing.page(&api, &name, shown).map(Json)
    })
}

/// Let somebody administer a tenant
#[utoipa::path(post, operation_id = "create_member", path = "/v1/tenants/{tenant}/members", tag = "members", request_body = NewMember,
    params(TenantPath, Repeatable),
    responses((status = 201, description = "It was added", body = Member), WriteRefusals))]
async fn create(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<TenantPath>,
    Submitted { caller, body, key }: Submitted<NewMember>,
) -> Result<Answer> {
    let at = (at.tenant.0, AdministratorId::generate());
    let need = Need::Tenant(at.0, Role::Owner);
    let write = api.writer.write(&caller, need, key.as_ref(), |now| {
        rules::create(now, at, &body)
    });
    write.await
}

/// Get a member
#[utoipa::path(get, operation_id = "get_member", path = "/v1/tenants/{tenant}/members/{member}", tag = "members", params(MemberPath),
    responses((status = 200, description = "It, and its version as ETag", body = Member), ReadRefusals))]
async fn get(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<MemberPath>,
    Asked(caller): Asked,
) -> Result<Answer> {
    let at = (at.tenant.0, at.member.0);
    api.read(&caller, Need::Tenant(at.0, Role::Viewer), |now| {
        let stored = rules::find(now, at)?;
        Ok(Answer::of(stored.version, &Member::of(at.1, at.0, stored)))
    })
}

/// Change what a member may do
#[utoipa::path(patch, operation_id = "update_member", path = "/v1/tenants/{tenant}/members/{member}", tag = "members",
    params(MemberPath, Precondition),
    request_body(content = MemberPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "As it is now", body = Member), WriteRefusals))]
async fn patch(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<MemberPath>,
    if_match: IfMatch,
    Submitted { caller, body, .. }: Submitted<MemberPatch>,
) -> Result<Answer> {
    let at = (at.tenant.0, at.member.0);
    let need = Need::Tenant(at.0, Role::Owner);
    let write = api.writer.write(&caller, need, None, |now| {
        rules::patch(now, at, &if_match, &body)
    });
    write.await
}

/// Let a member administer a tenant no more
#[utoipa::path(delete, operation_id = "delete_member", path = "/v1/tenants/{tenant}/members/{member}", tag = "members",
    params(MemberPath, Precondition),
    responses((status = 204, description = "It is gone"), WriteRefusals))]
async fn delete(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<MemberPath>,
    if_match: IfMatch,
    Asked(caller): Asked,
) -> Result<Answer> {
    let at = (at.tenant.0, at.member.0);
    let need = Need::Tenant(at.0, Role::Owner);
    let write = api
        .writer
        .write(&caller, need, None, |now| rules::delete(now, at, &if_match));
    write.await
}
