//! `…/api-keys` of a project.

use std::{collections::HashMap, sync::Arc};

use axum::{Json, extract::State};
use highwater_proto::{
    control::Role,
    ids::{KeyId, ProjectId, TenantId},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    rules::{self, Secret},
    shape::{ApiKey, ApiKeyPatch, ApiKeyWithSecret, NewApiKey, Rotation},
};
use crate::{
    admin::{Caller, Need},
    api::Api,
    http::{
        Asked, IfMatch, InPath, KeyPath, Listing, Page, Parameters, Precondition, ProjectPath,
        ReadRefusals, Repeatable, Submitted, WriteRefusals,
    },
    projects,
    refusal::Result,
    usage,
    write::{Answer, random},
};

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, patch, delete))
        .routes(routes!(rotate))
}

fn draw(api: &Api, id: KeyId) -> Result<Secret> {
    let (text, hash) = api.hasher.make_key(id, &random()?);
    Ok(Secret { text, hash })
}

/// When each key of a project was last used, for who may see that.
async fn uses(
    api: &Api,
    caller: &Caller,
    (tenant, project): (TenantId, ProjectId),
) -> Result<HashMap<KeyId, u64>> {
    let need = Need::Tenant(tenant, Role::Viewer);
    let (ms, spread) = api.read(caller, need, |now| {
        let found = projects::find(now, (tenant, project))?;
        Ok((now.ms, found.value.spread))
    })?;
    Ok(usage::key_uses(api, project, spread, ms).await)
}

/// List the API keys of a project
#[utoipa::path(get, operation_id = "list_api_keys", path = "/v1/tenants/{tenant}/projects/{project}/api-keys", tag = "api-keys",
    params(ProjectPath, Parameters),
    responses((status = 200, description = "A page of them, oldest first, without secrets", body = Page<ApiKey>), ReadRefusals))]
async fn list(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    listing: Listing,
) -> Result<Json<Page<ApiKey>>> {
    let (tenant, project) = (at.tenant.0, at.project.0);
    let name = format!("keys of {project}");
    let after: Option<KeyId> = listing.position(&api, &name)?;
    let need = Need::Tenant(tenant, Role::Viewer);
    let uses = uses(&api, &listing.caller, (tenant, project)).await?;
    api.read(&listing.caller, need, |now| {
        projects::find(now, (tenant, project))?;
        let found = listing.find(&now.catalogue.keys, project, after);
        let shown = found.map(|(id, stored)| {
            let key = ApiKey::of(now.ms, id, project, stored);
            (id, key.used(&uses))
        });
        listing.page(&api, &name, shown).map(Json)
    })
}

/// Create an API key
///
/// Its `secret` is in this answer and nowhere else.
#[utoipa::path(post, operation_id = "create_api_key", path = "/v1/tenants/{tenant}/projects/{project}/api-keys", tag = "api-keys",
    params(ProjectPath, Repeatable),
    request_body = NewApiKey,
    responses((status = 201, description = "It was created", body = ApiKeyWithSecret), WriteRefusals))]
async fn create(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    Submitted { caller, body, key }: Submitted<NewApiKey>,
) -> Result<Answer> {
    let id = KeyId::generate();
    let secret = draw(&api, id)?;
    let at = (at.tenant.0, at.project.0, id);
    let need = Need::Tenant(at.0, Role::Editor);
    let write = api.writer.write(&caller, need, key.as_ref(), |now| {
        rules::create(now, at, &body, &secret)
    });
    write.await
}

/// Get an API key
#[utoipa::path(get, operation_id = "get_api_key", path = "/v1/tenants/{tenant}/projects/{project}/api-keys/{key}", tag = "api-keys",
    params(KeyPath),
    responses((status = 200, description = "It, without its secret, and its version as ETag", body = ApiKey), ReadRefusals))]
async fn get(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<KeyPath>,
    Asked(caller): Asked,
) -> Result<Answer> {
    let at = (at.tenant.0, at.project.0, at.key.0);
    let uses = uses(&api, &caller, (at.0, at.1)).await?;
    api.read(&caller, Need::Tenant(at.0, Role::Viewer), |now| {
        let stored = rules::find(now, at)?;
        let key = ApiKey::of(now.ms, at.2, at.1, stored);
        Ok(Answer::of(stored.version, &key.used(&uses)))
    })
}

/// Change an API key
///
/// Within a second, what is open with it is held to what it allows now.
#[utoipa::path(patch, operation_id = "update_api_key", path = "/v1/tenants/{tenant}/projects/{project}/api-keys/{key}", tag = "api-keys",
    params(KeyPath, Precondition),
    request_body(content = ApiKeyPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "As it is now", body = ApiKey), WriteRefusals))]
async fn patch(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<KeyPath>,
    if_match: IfMatch,
    Submitted { caller, body, .. }: Submitted<ApiKeyPatch>,
) -> Result<Answer> {
    let at = (at.tenant.0, at.project.0, at.key.0);
    let need = Need::Tenant(at.0, Role::Editor);
    let write = api.writer.write(&caller, need, None, |now| {
        rules::patch(now, at, &if_match, &body)
    });
    write.await
}

/// Delete an API key
///
/// Within a second, nothing is let in with it and what is open is closed.
#[utoipa::path(delete, operation_id = "delete_api_key", path = "/v1/tenants/{tenant}/projects/{project}/api-keys/{key}", tag = "api-keys",
    params(KeyPath, Precondition),
    responses((status = 204, description = "It is gone"), WriteRefusals))]
async fn delete(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<KeyPath>,
    if_match: IfMatch,
    Asked(caller): Asked,
) -> Result<Answer> {
    let at = (at.tenant.0, at.project.0, at.key.0);
    let need = Need::Tenant(at.0, Role::Editor);
    let write = api
        .writer
        .write(&caller, need, None, |now| rules::delete(now, at, &if_match));
    write.await
}

/// Give an API key another secret
///
/// The secret that it has now stays good for `overlap_ms`, for clients to change over.
#[utoipa::path(post, operation_id = "rotate_api_key", path = "/v1/tenants/{tenant}/projects/{project}/api-keys/{key}/rotate", tag = "api-keys",
    params(KeyPath, Repeatable),
    request_body = Rotation,
    responses((status = 200, description = "It, with its new secret", body = ApiKeyWithSecret), WriteRefusals))]
async fn rotate(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<KeyPath>,
    Submitted { caller, body, key }: Submitted<Rotation>,
) -> Result<Answer> {
    let at = (at.tenant.0, at.project.0, at.key.0);
    let secret = draw(&api, at.2)?;
    let need = Need::Tenant(at.0, Role::Editor);
    let write = api.writer.write(&caller, need, key.as_ref(), |now| {
        rules::rotate(now, at, &body, &secret)
    });
    write.await
}
