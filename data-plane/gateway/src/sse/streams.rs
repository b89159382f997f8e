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
use tokio::sync::Notify;

use crate::{
    authenticate::principal,
    gateway::Door,
    http::{problem, query::Parameters},
    metrics::Protocol,
    read,
};

/// What a stream is called: nobody guesses it.
type Name = [u8; 16];

/// All streams of a node.
#[derive(Default)]
pub struct Streams(Mutex<HashMap<Name, Arc<Open>>>);

/// What must be known of a stream from outside.
struct Open {
    project: ProjectId,
    filters: Vec<TopicFilter>,
    /// Who the client is from now on, until the stream knows.
    renewal: Mutex<Option<Principal>>,
    renewed: Notify,
}

/// A stream's place among them, until it is dropped.
pub struct Place {
    door: Arc<Door>,
    name: Name,
    open: Arc<Open>,
}

impl Place {
    /// A place for a stream of these filters.
    pub fn take(door: Arc<Door>, project: ProjectId, filters: Vec<TopicFilter>) -> Place {
        let name = rand::random();
        let open = Arc::new(Open {
            project,
            filters,
            renewal: Mutex::default(),
            renewed: Notify::new(),
        });
        door.streams.0.lock().insert(name, open.clone());
        Place { door, name, open }
    }

    /// Where the stream is renewed.
    pub fn address(&self) -> String {
        format!("/v1/sse/{}/auth", URL_SAFE_NO_PAD.encode(self.name))
    }

    /// Resolves with who the client is from now on. Nothing is lost when it is dropped before.
    pub async fn renewed(&self) -> Principal {
        loop {
            if let Some(principal) = self.open.renewal.lock().take() {
                return principal;
            }
            self.open.renewed.notified().await;
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
        let name = URL_SAFE_NO_PAD.decode(name).ok();
        let name = name.and_then(|name| Name::try_from(name).ok());
        let streams = self.0.lock();
        let open = name.and_then(|name| streams.get(&name));
        let open = open.filter(|open| open.project == principal.project.id);
        let open = open.ok_or_else(|| {
            let message = "this node serves no such stream; open it anew with this credential";
            Refusal::new(ErrorCode::NotFound, message)
        })?;
        read::require_all(&principal, &open.filters)?;
        *open.renewal.lock() = Some(principal);
        open.renewed.notify_one();
        Ok(())
    }
}
