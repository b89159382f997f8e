//! What every call passes on its way in and out: its credential, and the error table.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use highwater_broker::Refusal;
use tonic::{Code, Status};

use super::status::{to_status, unreadable};
use crate::{authenticate::authenticate, gateway::Door, metrics::Protocol};

/// Checks the credential of a call before anything of its message is read.
pub async fn authenticated(
    State(door): State<Arc<Door>>,
    mut request: Request,
    next: Next,
) -> Response {
    match authenticate(&door.broker, request.headers()) {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(refusal) => refuse(&door, &refusal).into_http(),
    }
}

/// Has a call that does not reach its handler refused from the error table.
pub async fn explained(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    explain(&door, &mut response);
    response
}

/// Gives the refusals of the codec and of the services, which know nothing of it, their place in the
/// error table.
fn explain(door: &Door, response: &mut Response) {
    let headers = response.headers();
    let is_told = headers.contains_key(Status::GRPC_STATUS);
    if !is_told || headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return;
    }
    // The codec leaves it beside the headers too, together with the error that it came from.
    let status = match response.extensions().get::<Status>() {
        Some(status) => Some(status.clone()),
        None => Status::from_header_map(headers),
    };
    if let Some(status) = status.filter(|status| status.code() != Code::Ok) {
        let status = refuse(door, &unreadable(&status));
        // Its texts are our own, and fit into headers.
        let _ = status.add_header(response.headers_mut());
    }
}

fn refuse(door: &Door, refusal: &Refusal) -> Status {
    door.metrics.refused(Protocol::Grpc, refusal);
    to_status(refusal)
}
