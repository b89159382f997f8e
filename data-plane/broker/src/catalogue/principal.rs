//! Who makes a request, as the catalogue said when it was looked at.

use std::sync::Arc;

use highwater_credentials::SecretHash;
use highwater_proto::{
    ErrorCode,
    ids::KeyId,
    names::{TopicFilter, TopicName},
};

use super::{Operation, Permissions, Project, tokens::Token};
use crate::refusal::{Refusal, Result};

/// Who makes a request.
#[derive(Debug, Clone)]
pub struct Principal {
    /// What was presented.
    pub credential: Credential,
    /// The project it opens.
    pub project: Arc<Project>,
    /// What it allows.
    pub permissions: Arc<Permissions>,
    /// Until when, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
}

/// What makes a principal.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An API key. The hash tells it from one that was given the same id and another secret since.
    Key(KeyId, SecretHash),
    /// A token.
    Token(Arc<Token>),
}

impl Principal {
    /// The API key, if it is one.
    pub fn key(&self) -> Option<KeyId> {
        match &self.credential {
            Credential::Key(id, _) => Some(*id),
            Credential::Token(_) => None,
        }
    }

    /// # Errors
    /// `forbidden` when the credential does not allow the operation on this topic.
    pub fn require(&self, operation: Operation, topic: &TopicName) -> Result<()> {
        match self.permissions.allow(operation, topic) {
            true => Ok(()),
            false => Err(forbidden(operation)),
        }
    }

    /// # Errors
    /// `forbidden` when the credential does not allow the operation on all topics of the filter.
    pub fn require_all(&self, operation: Operation, filter: &TopicFilter) -> Result<()> {
        match self.permissions.allow_all(operation, filter) {
            true => Ok(()),
            false => Err(forbidden(operation)),
        }
    }
}

fn forbidden(operation: Operation) -> Refusal {
    let message = format!("this credential may not {} here", operation.name());
    Refusal::new(ErrorCode::Forbidden, message)
}
