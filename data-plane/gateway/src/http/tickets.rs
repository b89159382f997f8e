//! `POST /v1/tickets`: a ticket for a browser, with the permissions of the key that asks for it.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header::CACHE_CONTROL},
    response::{IntoResponse, Response},
};
use highwater_broker::ticket::Kind;
use serde::Serialize;

use super::{principal, query::Parameters, refuse};
use crate::{gateway::Door, ticket};

#[derive(Serialize)]
struct Issued {
    ticket: String,
    expires_at_ms: u64,
}

/// Makes a ticket. What it is for is not asked: the request has no body.
pub async fn issue(State(door): State<Arc<Door>>, uri: Uri, headers: HeaderMap) -> Response {
    let asked = principal(&door, &headers).and_then(|principal| {
        Parameters::of(&uri)?.end()?;
        ticket::issue(&door, &principal, Kind::Ticket)
    });
    match asked {
        Err(refusal) => refuse(&door, refusal),
        Ok((ticket, expires_at_ms)) => {
            let issued = Issued {
                ticket,
                expires_at_ms,
            };
            let not_kept = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (StatusCode::CREATED, not_kept, Json(issued)).into_response()
        }
    }
}
