//! `…/tokens` of a project, and `/v1/tokens` for who has a key of it.

use std::sync::Arc;

use axum::extract::State;
use highwater_proto::{control::Role, ids::TokenId};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    rules,
    shape::{NewToken, Token},
};
use crate::{
    admin::Need,
    api::Api,
    http::{InPath, Presented, ProjectPath, Submitted, WriteRefusals},
    refusal::Result,
    signing_keys,
    write::Answer,
};

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(mint))
        .routes(routes!(mint_with_key))
}

/// Mint a token for a project
///
/// It is in this answer and nowhere else. `iss` is `highwater`, `aud` the project; it is signed with EdDSA, by a key of
/// `/.well-known/jwks.json`.
#[utoipa::path(post, operation_id = "mint_token", path = "/v1/tenants/{tenant}/projects/{project}/tokens", tag = "tokens",
    params(ProjectPath),
    request_body = NewToken,
    responses((status = 201, description = "It was minted", body = Token), WriteRefusals))]
async fn mint(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    Submitted { caller, body, .. }: Submitted<NewToken>,
) -> Result<Answer> {
    let at = (at.tenant.0, at.project.0, TokenId::generate());
    let need = Need::Tenant(at.0, Role::Editor);
    // A caller who may not mint is not to make a signing key either.
    api.read(&caller, need, |_| Ok(()))?;
    signing_keys::ensure(&api).await?;
    let write = api.writer.write(&caller, need, None, |now| {
        rules::mint(now, at, &body, &api.sealer)
    });
    write.await
}

/// Mint a token with an API key
///
/// For servers that hand tokens to their users' browsers and devices. The credential is an API key of the project. The
/// token ends with the key, at the latest.
#[utoipa::path(post, operation_id = "mint_token_with_key", path = "/v1/tokens", tag = "tokens",
    security(("api_key" = [])),
    request_body = NewToken,
    responses((status = 201, description = "It was minted", body = Token), WriteRefusals))]
async fn mint_with_key(
    State(api): State<Arc<Api>>,
    Presented { holder, body }: Presented<NewToken>,
) -> Result<Answer> {
    signing_keys::ensure(&api).await?;
    let ms = (api.clock)();
    let id = TokenId::generate();
    api.replica
        .read(|catalogue| rules::mint_with(catalogue, ms, &holder, id, &body, &api.sealer))
}
