//! Why a request was not done: a stable code, a sentence for people, and when to come back.

use std::{borrow::Cow, fmt};

use highwater_proto::{ErrorCode, names::NameError};

/// The one error that reaches clients; each protocol renders it from the table of [`ErrorCode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    code: ErrorCode,
    message: Cow<'static, str>,
    retry_after_ms: Option<u64>,
}

/// The result of whatever a client asks for.
pub type Result<T, E = Refusal> = std::result::Result<T, E>;

impl Refusal {
    /// A refusal with this code. The message says what is wrong; what to do next comes from the code.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal {
            code,
            message: message.into(),
            retry_after_ms: None,
        }
    }

    /// The same, with the time after which a retry makes sense, in milliseconds.
    pub fn retry_after_ms(mut self, delay: u64) -> Refusal {
        self.retry_after_ms = Some(delay);
        self
    }

    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What is wrong, without what to do next.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// When a retry makes sense, in milliseconds from now.
    pub fn delay_ms(&self) -> Option<u64> {
        self.retry_after_ms
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.code.next_step())
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Refusal {
        Refusal::new(ErrorCode::InvalidTopic, error.to_string())
    }
}
