//! A refusal as the protocols with JSON say it, and which errors are no more than the loss of a node.

use std::{fmt, io};

use serde::Deserialize;
use tokio::time::error::Elapsed;
use tokio_tungstenite::tungstenite;

use crate::client::is_retryable;

/// What the service says when it refuses a request, or ends what it had granted.
#[derive(Debug, Clone, Deserialize)]
pub struct Refusal {
    /// The stable code.
    pub code: String,
    /// Why, for people: a problem document calls it `detail`.
    #[serde(alias = "detail")]
    pub message: String,
    /// Whether the same may be granted later.
    pub retryable: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

/// Whether the same may go well at another node, or later: a connection that was lost, no answer in time, or a
/// refusal worth a retry. An answer that cannot be understood is none of these.
pub fn is_loss(error: &anyhow::Error) -> bool {
    if let Some(status) = error.downcast_ref::<tonic::Status>() {
        return is_retryable(status);
    }
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return refusal.retryable;
    }
    error.is::<reqwest::Error>()
        || error.is::<tungstenite::Error>()
        || error.is::<io::Error>()
        || error.is::<Elapsed>()
}

/// The end of a connection that should go on.
pub fn ended() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}
