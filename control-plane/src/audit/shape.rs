//! Audit entries as JSON.

use highwater_proto::control;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::shapes::Timestamp;

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Its id.
    #[schema(example = "aud_0193a5c0b7e87d3c9f6a2b1d4e5f6071")]
    pub id: String,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it: `operator`, `user:<subject>`, or `service` for what it does by itself.
    pub actor: String,
    /// From which address.
    pub from: String,
    /// What was done.
    #[schema(example = "project.create")]
    pub action: String,
    /// To what: its id.
    pub resource: String,
    /// What it was, without secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// What it became, without secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
    /// The id of the request.
    pub request: String,
}

impl From<control::AuditEntry> for AuditEntry {
    fn from(stored: control::AuditEntry) -> AuditEntry {
        let json = |text: &str| serde_json::from_str(text).ok();
        AuditEntry {
            before: json(&stored.before),
            after: json(&stored.after),
            id: stored.id,
            at: Timestamp(stored.at_ms),
            actor: stored.actor,
            from: stored.from,
            action: stored.action,
            resource: stored.resource,
            request: stored.request,
        }
    }
}
