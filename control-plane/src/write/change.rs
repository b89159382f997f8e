//! What a decision comes to: documents to write, what is said of them in the audit logs, and the answer.

use axum::http::StatusCode;
use highwater_proto::{
    control::{AuditEntry, CommitRequest, Deleted, Document, document::Resource},
    ids::{AuditId, TenantId},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Now;

/// A change that is yet to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What is written. The first is what the answer is about.
    pub documents: Vec<Document>,
    /// What is said of it.
    pub audit: Vec<AuditEntry>,
    /// What the caller is answered once it is made.
    pub answer: Answer,
}

/// What a caller is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body, if there is one.
    pub body: Option<Value>,
    /// Where the resource is, if it is new.
    pub location: Option<String>,
    /// The version of the document it is about, for the `ETag`, if it has one.
    pub version: Option<u64>,
    /// Whether it was given before.
    #[serde(skip)]
    pub is_repeated: bool,
}

impl Answer {
    /// A resource as it is at a version.
    pub fn of(version: u64, body: &impl Serialize) -> Answer {
        Answer {
            status: StatusCode::OK.as_u16(),
            body: Some(json!(body)),
            location: None,
            version: Some(version),
            is_repeated: false,
        }
    }

    /// A resource as it will be.
    pub fn changed(body: &impl Serialize) -> Answer {
        // The version is known when it is written.
        Answer::of(0, body)
    }

    /// A new resource, and where it is.
    pub fn created(location: String, body: &impl Serialize) -> Answer {
        Answer {
            status: StatusCode::CREATED.as_u16(),
            location: Some(location),
            ..Answer::changed(body)
        }
    }

    /// It is gone.
    pub fn gone() -> Answer {
        Answer {
            status: StatusCode::NO_CONTENT.as_u16(),
            body: None,
            location: None,
            version: None,
            is_repeated: false,
        }
    }

    /// What was asked for has begun, and ends later.
    pub fn accepted(self) -> Answer {
        Answer {
            status: StatusCode::ACCEPTED.as_u16(),
            ..self
        }
    }

    /// The document that it is about is written at this version.
    pub(super) fn version_is(&mut self, version: u64) {
        if self.version.is_some() && !self.is_repeated {
            self.version = Some(version);
        }
    }
}

impl Change {
    /// Nothing is changed.
    pub fn none(answer: Answer) -> Change {
        Change {
            documents: Vec::new(),
            audit: Vec::new(),
            answer,
        }
    }

    /// Whether there is nothing to commit.
    pub(super) fn is_nothing(&self) -> bool {
        self.documents.is_empty() && self.audit.is_empty()
    }

    /// One document, new at `now`, or as it is `since` that time.
    pub fn write(
        now: &Now<'_>,
        id: &impl ToString,
        since_ms: Option<u64>,
        resource: Resource,
        answer: Answer,
    ) -> Change {
        let document = Document {
            id: id.to_string(),
            version: 0,
            created_at_ms: since_ms.unwrap_or(now.ms),
            updated_at_ms: now.ms,
            ends_commit: false,
            resource: Some(resource),
        };
        Change {
            documents: vec![document],
            ..Change::none(answer)
        }
    }

    /// One document that goes.
    pub fn delete(now: &Now<'_>, id: &impl ToString) -> Change {
        Change::none(Answer::gone()).and_delete(now, id)
    }

    /// Another document goes with it.
    pub fn and_delete(mut self, now: &Now<'_>, id: &impl ToString) -> Change {
        self.documents.push(Document {
            id: id.to_string(),
            updated_at_ms: now.ms,
            resource: Some(Resource::Deleted(Deleted::default())),
            ..Document::default()
        });
        self
    }

    /// Says in the audit log of a tenant, or of the platform, what was there before and is there now, as the REST
    /// interface shows it.
    pub fn audited(
        mut self,
        now: &Now<'_>,
        tenant: Option<TenantId>,
        action: &str,
        resource: &impl ToString,
        (before, after): (Option<Value>, Option<Value>),
    ) -> Change {
        let text = |value: Option<Value>| value.map(|v| v.to_string()).unwrap_or_default();
        self.audit.push(AuditEntry {
            id: AuditId::generate().to_string(),
            tenant: tenant.map(|id| id.to_string()).unwrap_or_default(),
            at_ms: now.ms,
            actor: now.caller.principal.actor.clone(),
            from: now.caller.from.clone(),
            action: action.to_owned(),
            resource: resource.to_string(),
            before: text(before),
            after: text(after),
            request: now.caller.request.clone(),
        });
        self
    }

    pub(super) fn commit(&self, if_version: u64) -> CommitRequest {
        CommitRequest {
            if_version,
            documents: self.documents.clone(),
            audit: self.audit.clone(),
        }
    }
}
