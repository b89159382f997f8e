//! The streams that are open, by name: `POST /v1/sse/{stream}/auth` brings one another credential.
//!
//! An event stream goes one way only, so its client renews it from outside, with a new credential in the
//! `Authorization` header; its receipt and its warning say where. The address is one of the node that
//! serves the stream, and reaches it where the request takes the same way: over the same HTTP/2
//! connection, as a browser sends it, or through a load balancer that keeps a client at its node.
//! Elsewhere the answer is `not_found`, and the client opens the stream anew with the new credential:
//! with the id of the last event it goes on without a loss.
//!
//! A stream that a ticket has opened and another key has renewed is opened again with a ticket of that key:
//! the address of the first one still holds a ticket of the old key, and is refused when that has ended.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use highwater_broker::{Refusal, Result, catalogue::Principal};
use highwater_proto::{ErrorCode, ids::ProjectId, names::TopicFilter};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    authenticate::principal,
    gateway::Door,
    http::{problem, query::Parameters},
    metrics::Protocol,
    read,
};

/// All streams of a node.
#[derive(Default)]
pub struct Streams(Mutex<HashMap<String, Open>>);

/// What must be known of a stream from outside.
struct Open {
    project: ProjectId,
    filters: Vec<TopicFilter>,
    renewals: watch::Sender<Option<Principal>>,
}

/// A stream's place among them, until it is dropped.
pub struct Place {
    door: Arc<Door>,
    name: String,
    renewals: watch::Receiver<Option<Principal>>,
}

impl Place {
    /// A place for a stream of these filters.
    pub fn take(door: Arc<Door>, project: ProjectId, filters: Vec<TopicFilter>) -> Place {
        let name = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        let (sender, renewals) = watch::channel(None);
        let open = Open {
            project,
            filters,
            renewals: sender,
        };
        door.streams.0.lock().insert(name.clone(), open);
        Place {
            door,
            name,
            renewals,
        }
    }

    /// Where the stream is renewed.
    pub fn address(&self) -> String {
        format!("/v1/sse/{}/auth", self.name)
    }

    /// Resolves with who the client is from now on. Nothing is lost when it is dropped before.
    pub async fn renewed(&mut self) -> Principal {
        loop {
            if self.renewals.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Some(principal) = self.renewals.borrow_and_update().clone() {
                return principal;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.streams.0.lock().remove(&self.name);
    }
}

/// Renews a stream.
pub async fn renew(
    State(door): State<Arc<Door>>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let renewed = principal(&door, &headers).and_then(|principal| {
        Parameters::of(&uri)?.end()?;
        door.streams.renew(&name, principal)
    });
    match renewed {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => problem::refuse(&door, Protocol::Sse, refusal),
    }
}

impl Streams {
    /// # Errors
    /// `not_found` when the principal's project has no such stream on this node, `forbidden` when the
    /// principal may not read all that the stream does.
    fn renew(&self, name: &str, principal: Principal) -> Result<()> {
        let streams = self.0.lock();
        let open = streams.get(name);
        let open = open.filter(|open| open.project == principal.project.id);
        let open = open.ok_or_else(|| {
            let message = "this node serves no such stream; open it anew with this credential";
            Refusal::new(ErrorCode::NotFound, message)
        })?;
        read::require_all(&principal, &open.filters)?;
        open.renewals.send_replace(Some(principal));
        Ok(())
    }
}
