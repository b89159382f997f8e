//! The one table of what the control plane refuses, and what the caller can do about it.
//!
//! The codes are those of all front doors ([`ErrorCode`]); the words are the control plane's own.

use axum::http::StatusCode;
use highwater_proto::ErrorCode;

/// Why a request was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A member, parameter or header that cannot be understood or may not have this value.
    Invalid,
    /// Not a topic filter.
    InvalidTopic,
    /// No credential, or none that is good. Which of the two is not said.
    Unauthenticated,
    /// The caller's role does not allow it.
    Forbidden,
    /// Nothing there, or nothing that the caller may know of.
    NotFound,
    /// A sibling has the name.
    NameTaken,
    /// Something else still needs it.
    InUse,
    /// It is being deleted.
    Deleting,
    /// There are as many as there may be.
    LimitReached,
    /// `If-Match` names another version.
    Changed,
    /// The idempotency key was used for another request.
    KeyReused,
    /// Not a cursor of this list.
    CursorInvalid,
    /// The body is too large.
    BodyTooLarge,
    /// The body is not JSON.
    MediaType,
    /// There is no such path.
    NoSuchPath,
    /// The path has no such method.
    NoSuchMethod,
    /// The request took too long to come, or to be answered.
    Timeout,
    /// The caller sends too many requests.
    TooMany,
    /// Too many requests wait.
    Overloaded,
    /// No node answers; nothing was changed.
    NoNode,
    /// It is not known whether the change was made.
    InDoubt,
    /// The service failed.
    Internal,
}

use Reason::*;

struct Row {
    reason: Reason,
    code: ErrorCode,
    /// Where it is not the code's own.
    status: Option<u16>,
    title: &'static str,
    next_step: &'static str,
}

const fn row(
    reason: Reason,
    code: ErrorCode,
    status: Option<u16>,
    title: &'static str,
    next_step: &'static str,
) -> Row {
    Row {
        reason,
        code,
        status,
        title,
        next_step,
    }
}

/// In the order of the enum.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    row(Invalid,         ErrorCode::InvalidRequest,       None,      "the request is not valid",                  "correct the request"),
    row(InvalidTopic,    ErrorCode::InvalidTopic,         None,      "this is not a topic filter",                "correct the filter"),
    row(Unauthenticated, ErrorCode::Unauthenticated,      None,      "no valid credential",                       "send a valid key or token as `Authorization: Bearer …`"),
    row(Forbidden,       ErrorCode::Forbidden,            None,      "your role does not allow this",             "ask an owner of the tenant or an operator"),
    row(NotFound,        ErrorCode::NotFound,             None,      "there is no such resource",                 "check the ids in the path; a list shows those that you may see"),
    row(NameTaken,       ErrorCode::AlreadyExists,        None,      "the name is taken",                         "choose another name, or use the resource that has it"),
    row(InUse,           ErrorCode::Conflict,             None,      "it is in use",                              "remove first what uses it"),
    row(Deleting,        ErrorCode::Conflict,             None,      "it is being deleted",                       "wait until it is gone, or use another one"),
    row(LimitReached,    ErrorCode::QuotaExceeded,        None,      "there are as many as there may be",         "delete what is not needed"),
    row(Changed,         ErrorCode::PreconditionFailed,   None,      "it has changed",                            "read it again, and decide with its new ETag"),
    row(KeyReused,       ErrorCode::IdempotencyKeyReused, None,      "the idempotency key has been used",         "use a new idempotency key for another request"),
    row(CursorInvalid,   ErrorCode::CursorInvalid,        None,      "this is not a cursor of this list",         "use `next` of the page before, with the same path"),
    row(BodyTooLarge,    ErrorCode::PayloadTooLarge,      None,      "the body is too large",                     "send less"),
    row(MediaType,       ErrorCode::Unsupported,          Some(415), "the body has to be JSON",                   "send it with `Content-Type: application/json`"),
    row(NoSuchPath,      ErrorCode::Unsupported,          None,      "there is no such path",                     "see /docs for what exists"),
    row(NoSuchMethod,    ErrorCode::Unsupported,          Some(405), "the path does not have this method",        "see `Allow`, or /docs for what exists"),
    row(Timeout,         ErrorCode::Timeout,              None,      "it took too long",                          "retry, with the same idempotency key"),
    row(TooMany,         ErrorCode::RateLimited,          None,      "you send too many requests",                "retry after the delay given; `RateLimit` says what is left"),
    row(Overloaded,      ErrorCode::Overloaded,           None,      "too many requests are waiting",             "retry after the delay given"),
    row(NoNode,          ErrorCode::NoLeader,             None,      "the cluster does not answer",               "retry after the delay given; nothing was changed"),
    row(InDoubt,         ErrorCode::Unavailable,          None,      "it is not known whether the change was made", "retry with the same idempotency key, or look whether it was"),
    row(Internal,        ErrorCode::Internal,             None,      "the service failed",                        "retry, and report it with its request id if it stays"),
];

impl Reason {
    /// Every reason.
    pub fn all() -> impl Iterator<Item = Reason> {
        TABLE.iter().map(|row| row.reason)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The stable code.
    pub fn code(self) -> ErrorCode {
        self.row().code
    }

    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        let status = self.row().status.unwrap_or(self.code().http_status());
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What it is, for people.
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// What the caller can do.
    pub fn next_step(self) -> &'static str {
        self.row().next_step
    }

    /// After which time a retry makes sense.
    pub fn retry_after_ms(self) -> Option<u64> {
        self.code().is_retryable().then_some(1_000)
    }

    /// With what is to be said of this one.
    pub fn because(self, detail: impl Into<String>) -> Refusal {
        Refusal {
            reason: self,
            detail: detail.into(),
        }
    }
}

/// Why a request was not carried out, in full.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// The kind.
    pub reason: Reason,
    /// What is to be said of this one. It names nothing that the caller may not know.
    pub detail: String,
}

/// What a request comes to.
pub type Result<T> = std::result::Result<T, Refusal>;

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Refusal {
        reason.because(reason.title())
    }
}

/// A refusal because of a member, parameter or header.
pub fn invalid(detail: impl Into<String>) -> Refusal {
    Invalid.because(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_reasons() {
        for (index, reason) in Reason::all().enumerate() {
            assert_eq!(reason as usize, index);
        }
        assert_eq!(
            Reason::NoSuchMethod.status(),
            StatusCode::METHOD_NOT_ALLOWED
        );
    }
}
