//! What every call passes on its way in and out: its credential, its deadline, the bounds of its body, and
//! the error table.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use highwater_broker::Refusal;
use tonic::{Code, Status};

use super::{
    deadline::Deadline,
    incoming::{Incoming, Pace},
    status::{to_status, unreadable},
};
use crate::{authenticate::principal, gateway::Door, metrics::Protocol, serve::Connection};

/// Calls whose clients may send messages for as long as they like, once they have begun. They see to their deadlines.
const STREAMS: [&str; 3] = ["PublishStream", "ServerReflectionInfo", "Subscribe"];

/// Checks the credential of a call before anything of its message is read.
pub async fn authenticated(
    State(door): State<Arc<Door>>,
    mut request: Request,
    next: Next,
) -> Response {
    match principal(&door, request.headers()) {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(refusal) => refuse(&door, &refusal).into_http(),
    }
}

/// Bounds the time and the memory that a call takes before it reaches its handler, and has it refused
/// from the error table when it does not get there.
pub async fn bounded(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let method = request.uri().path().rsplit('/').next();
    let is_stream = method.is_some_and(|method| STREAMS.contains(&method));
    let deadline = Deadline::in_headers(request.headers());
    let connection = Connection::of(request.extensions());
    let pace = match is_stream {
        // A publisher may open its stream long before it has something to say.
        true => Pace::Stream {
            begin_by: (method != Some("PublishStream")).then_some(connection.begin_by),
        },
        false => Pace::Whole,
    };
    let (room, timeout) = (connection.room, door.options.body_timeout);
    let request = request.map(|body| Body::new(Incoming::new(body, pace, room, timeout)));
    let response = match is_stream {
        true => Ok(next.run(request).await),
        // From its first byte on, and not only once the message is there.
        false => deadline.run(next.run(request)).await,
    };
    match response {
        Ok(mut response) => {
            explain(&door, &mut response);
            response
        }
        Err(status) => status.into_http(),
    }
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
