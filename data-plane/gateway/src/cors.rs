//! Pages of other places (CORS, WHATWG Fetch, section 3.2): what a browser lets them send and read.
//!
//! A preflight has no credential, so nobody knows of which project it is: every origin is told that it may
//! ask, and nothing is learned from it of who has which customers. The request itself is then
//! refused unless its project allows the origin ([`crate::page`]), before anything is done; its page may
//! read why. The routes that need no credential, such as health, are for no other pages.
//!
//! Cookies are allowed, though no request is authenticated by one: see [`crate::ticket`].

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{
    Router,
    extract::Request,
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
            ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
            ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
        },
    },
    response::{IntoResponse, Response},
    routing::future::RouteFuture,
};
use futures_util::{
    FutureExt, TryFutureExt,
    future::{BoxFuture, Either, ready},
};
use highwater_proto::limits::PREFLIGHT_SECONDS_MAX;
use tower::Service;

use crate::page;

/// What a page may ask with. Those of gRPC-web are among them.
const METHODS: &str = "GET, HEAD, POST, DELETE";
/// What a page may read of an answer, beside what every page may.
const EXPOSED: &str = "etag, retry-after, ratelimit, ratelimit-policy, www-authenticate, \
    highwater-cursor, highwater-first-offset, highwater-next-offset, highwater-bytes, \
    grpc-status, grpc-message, grpc-status-details-bin, grpc-encoding";

/// Answers preflights, and lets pages read what they are answered. Requests without an origin pass at
/// the cost of looking for one.
#[derive(Debug, Clone)]
pub struct Cors(pub Router);

impl Service<Request> for Cors {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<RouteFuture<Infallible>, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let headers = request.headers();
        let Some(origin) = headers.get(ORIGIN) else {
            return Either::Left(self.0.call(request));
        };
        if page::is_own(origin, &request) {
            // From here on, an origin is one of another place.
            request.headers_mut().remove(ORIGIN);
            return Either::Left(self.0.call(request));
        }
        if !is_for_pages(request.uri().path()) {
            return Either::Left(self.0.call(request));
        }
        let origin = origin.clone();
        let is_preflight = request.method() == Method::OPTIONS
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if is_preflight {
            let mut response = (StatusCode::NO_CONTENT, preflight(headers)).into_response();
            allow(origin, response.headers_mut());
            return Either::Right(ready(Ok(response)).boxed());
        }
        let answer = self.0.call(request);
        let readable = answer.map_ok(|mut response| {
            let headers = response.headers_mut();
            allow(origin, headers);
            let exposed = HeaderValue::from_static(EXPOSED);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
            response
        });
        Either::Right(readable.boxed())
    }
}

/// Lets a page of this origin read an answer.
fn allow(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let is_so = HeaderValue::from_static("true");
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, is_so);
    headers.append(VARY, HeaderValue::from_static("origin"));
}

/// The routes that ask for a credential.
fn is_for_pages(path: &str) -> bool {
    path.starts_with("/v1/") || path.starts_with("/highwater.client.v1.")
}

fn preflight(asked: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let methods = HeaderValue::from_static(METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    // Headers of messages have names that their publishers choose.
    if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS_MAX.into());
    let depends_on =
        HeaderValue::from_static("access-control-request-method, access-control-request-headers");
    headers.append(VARY, depends_on);
    headers
}
