//! `/v1/signing-keys`, for operators, and the public halves for everybody.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, header::CACHE_CONTROL},
    response::{IntoResponse, Response},
    routing,
};
use highwater_proto::ids::SigningKeyId;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    rules::{self, Pair},
    shape::{PublicKeys, SigningKey, Succession},
};
use crate::{
    admin::Need,
    api::Api,
    http::{
        Asked, IfMatch, InPath, Listing, Page, Parameters, Precondition, ReadRefusals, Repeatable,
        SigningKeyPath, Submitted, WriteRefusals,
    },
    refusal::Result,
    write::Answer,
};

/// For how long the set may be kept by those who fetch it, in seconds: five minutes.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, delete))
}

/// The set of public keys, where such sets are looked for (RFC 8615).
pub fn public() -> Router<Arc<Api>> {
    Router::new().route("/.well-known/jwks.json", routing::get(keys))
}

async fn keys(State(api): State<Arc<Api>>) -> Response {
    let ms = (api.clock)();
    let keys = api.replica.read(|catalogue| {
        let keys = catalogue.signing_keys.iter().map(|(_, key)| &key.value);
        PublicKeys::of(keys.filter(|key| !rules::is_over(key, ms)))
    });
    ([(CACHE_CONTROL, KEPT)], Json(keys)).into_response()
}

/// List the signing keys
#[utoipa::path(get, operation_id = "list_signing_keys", path = "/v1/signing-keys", tag = "tokens", params(Parameters),
    responses((status = 200, description = "A page of them, oldest first", body = Page<SigningKey>), ReadRefusals))]
async fn list(State(api): State<Arc<Api>>, listing: Listing) -> Result<Json<Page<SigningKey>>> {
    let name = "signing keys";
    let after: Option<SigningKeyId> = listing.position(&api, name)?;
    api.read(&listing.caller, Need::Operator, |now| {
        let found = listing.find(&now.catalogue.signing_keys, (), after);
        let shown = found.map(|(id, stored)| (id, SigningKey::of(id, stored)));
        listing.page(&api, name, shown).map(Json)
    })
}

/// Give the signing key a successor
///
/// It is published at once and signs after `lead_ms`. Tokens that others have signed before stay good until they end.
#[utoipa::path(post, operation_id = "create_signing_key", path = "/v1/signing-keys", tag = "tokens", params(Repeatable),
    request_body = Succession,
    responses((status = 201, description = "It was created", body = SigningKey), WriteRefusals))]
async fn create(
    State(api): State<Arc<Api>>,
    Submitted { caller, body, key }: Submitted<Succession>,
) -> Result<Answer> {
    let pair = Pair::draw(&api.sealer)?;
    let write = api
        .writer
        .write(&caller, Need::Operator, key.as_ref(), |now| {
            rules::succeed(now, &pair, &body)
        });
    write.await
}

/// Get a signing key
#[utoipa::path(get, operation_id = "get_signing_key", path = "/v1/signing-keys/{signing_key}", tag = "tokens", params(SigningKeyPath),
    responses((status = 200, description = "It, without its private half, and its version as ETag", body = SigningKey), ReadRefusals))]
async fn get(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<SigningKeyPath>,
    Asked(caller): Asked,
) -> Result<Answer> {
    let id = at.signing_key.0;
    api.read(&caller, Need::Operator, |now| {
        let stored = rules::find(now, id)?;
        Ok(Answer::of(stored.version, &SigningKey::of(id, stored)))
    })
}

/// Delete a signing key
///
/// For one that somebody else may know. Within a second, all tokens that it has signed are good no more, and what is
/// open with them is closed.
#[utoipa::path(delete, operation_id = "delete_signing_key", path = "/v1/signing-keys/{signing_key}", tag = "tokens",
    params(SigningKeyPath, Precondition),
    responses((status = 204, description = "It is gone"), WriteRefusals))]
async fn delete(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<SigningKeyPath>,
    if_match: IfMatch,
    Asked(caller): Asked,
) -> Result<Answer> {
    let id = at.signing_key.0;
    let write = api.writer.write(&caller, Need::Operator, None, |now| {
        rules::delete(now, id, &if_match)
    });
    write.await
}
