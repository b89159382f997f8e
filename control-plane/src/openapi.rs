//! The description of the REST interface (OpenAPI 3.1), made from the routes, and pages to browse it.

use std::sync::Arc;

use axum::{
    Router,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    },
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    api::Api,
    api_keys, audit, cluster,
    http::{Problem, refusals},
    issuers, members, projects, quotas, revocations, signing_keys, tenants, tokens, topics, usage,
};

/// Where the description is.
const PATH: &str = "/v1/openapi.json";
/// Everything comes from here: the pages ask nobody else for anything. Their styles are set by their scripts.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Highwater control plane",
        description = "Sets up what a Highwater cluster serves: tenants, projects, keys, policies.\n\n\
            Lists go page by page with `limit` and `cursor`. An answer with one resource has its version as `ETag`. \
            A POST with an `Idempotency-Key` may be sent again: the answer is the same for a day. Changes with `If-Match` are made only to the version that was seen. Every \
            refusal is a problem document (RFC 9457) with a stable `code`. Unknown members and parameters are \
            refused. Of a tenant that you are no member of, every answer is that of one that does not exist.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "tenants", description = "Customers"),
        (name = "members", description = "Who may administer a tenant"),
        (name = "projects", description = "Isolated namespaces of topics, keys and connections"),
        (name = "topics", description = "How topics are kept"),
        (name = "quotas", description = "What may be used"),
        (name = "api-keys", description = "Long-lived credentials of projects"),
        (name = "issuers", description = "Who else signs tokens for projects"),
        (name = "tokens", description = "Short-lived credentials, what signs them, and which are good no more"),
        (name = "usage", description = "What was used, by the hour and the day"),
        (name = "audit", description = "Who changed what"),
        (name = "cluster", description = "Nodes and shards, for operators"),
    ),
    components(schemas(Problem)),
    modifiers(&Bearer, &Refusals)
)]
struct Base;

/// Every operation needs a credential.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "An operator's key, or a token of the configured issuer",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key of a project, to mint tokens with"))
            .build();
        components.add_security_scheme("api_key", SecurityScheme::Http(scheme));
        let needs = SecurityRequirement::new("bearer", Vec::<String>::new());
        document.security = Some(vec![needs]);
    }
}

/// What operations refuse is described once.
struct Refusals;

impl Modify for Refusals {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let described = refusals().map(|(name, response)| (name, response.into()));
        components.responses.extend(described);
    }
}

/// All routes, and their description.
pub fn routes() -> (Router<Arc<Api>>, Document) {
    let all = [
        tenants::routes(),
        members::routes(),
        projects::routes(),
        topics::routes(),
        quotas::routes(),
        api_keys::routes(),
        issuers::routes(),
        tokens::routes(),
        revocations::routes(),
        signing_keys::routes(),
        usage::routes(),
        audit::routes(),
        cluster::routes(),
    ];
    let all = all.into_iter().fold(
        OpenApiRouter::with_openapi(Base::openapi()),
        OpenApiRouter::merge,
    );
    all.split_for_parts()
}

/// The description as it is committed and served.
///
/// # Panics
/// Never: it is JSON.
pub fn document() -> String {
    let (_, document) = routes();
    let mut text = document.to_pretty_json().expect("a description is JSON");
    text.push('\n');
    text
}

/// The description and the pages.
pub fn pages() -> Router<Arc<Api>> {
    let document: Arc<str> = document().into();
    let config = Config::new([PATH])
        .validator_url("none")
        .try_it_out_enabled(true);
    let pages = Router::from(SwaggerUi::new("/docs").config(config)).layer(map_response(protect));
    Router::new()
        .route(PATH, get(async move || describe(&document)))
        .merge(pages)
}

fn describe(document: &str) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, kind)], document.to_owned()).into_response()
}

async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=3600"),
    );
    response
}
