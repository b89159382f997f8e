//! How a command ends: the exit codes, and the one place that turns an error into one of them.

use std::process::ExitCode;

use highwater_proto::{ErrorCode, client};
use tonic::Code;

/// What the exit codes mean, at the end of `--help`.
pub const HELP: &str = "\
Exit codes:
  0  done
  1  failed, or refused for good
  2  wrong arguments or configuration
  3  not reachable or not able just now; the same command may succeed later
  4  the key is missing, not valid, or does not allow this
  5  no such topic or resource
  6  `diff` found that something is different";

/// Not a failure, but something for scripts to know.
const DIFFERENT: u8 = 6;

/// An error that knows its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Exit {
    code: u8,
    message: String,
    is_retryable: bool,
    /// Of the HTTP answer, if it is one.
    status: Option<u16>,
}

impl Exit {
    fn new(code: u8, message: impl Into<String>) -> Exit {
        Exit {
            code,
            message: message.into(),
            is_retryable: false,
            status: None,
        }
    }

    /// Wrong arguments or configuration.
    pub fn usage(message: impl Into<String>) -> Exit {
        Exit::new(2, message)
    }

    /// Not now.
    pub fn unavailable(message: impl Into<String>) -> Exit {
        Exit {
            is_retryable: true,
            ..Exit::new(3, message)
        }
    }

    /// No credential.
    pub fn unauthenticated(message: impl Into<String>) -> Exit {
        Exit::new(4, message)
    }

    /// Nothing there.
    pub fn not_found(message: impl Into<String>) -> Exit {
        Exit::new(5, message)
    }

    /// What was compared is not the same.
    pub fn different(message: impl Into<String>) -> Exit {
        Exit::new(DIFFERENT, message)
    }

    /// A message that was refused.
    pub fn refused(error: &client::Error) -> Exit {
        let code = ErrorCode::from_name(&error.code).map(|code| code.grpc_code());
        let code = code_of(Code::from(code.unwrap_or(13)));
        Exit {
            is_retryable: error.retryable,
            ..Exit::new(code, format!("{}: {}", error.code, error.message))
        }
    }

    /// An HTTP answer that is no success, and whether its document says that a retry is worth it.
    pub fn http(status: u16, retryable: Option<bool>, message: String) -> Exit {
        let code = match status {
            401 | 403 => 4,
            404 => 5,
            408 | 429 | 503 => 3,
            _ => 1,
        };
        Exit {
            is_retryable: retryable.unwrap_or(code == 3),
            status: Some(status),
            ..Exit::new(code, message)
        }
    }

    /// Whether the same command may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.is_retryable
    }

    /// Whether it says that there is no such topic or resource.
    pub fn is_not_found(&self) -> bool {
        self.code == 5
    }

    /// Whether it says that something has changed since it was read.
    pub fn is_changed(&self) -> bool {
        self.status == Some(412)
    }
}

fn code_of(code: Code) -> u8 {
    match code {
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => 3,
        Code::Unauthenticated | Code::PermissionDenied => 4,
        Code::NotFound => 5,
        _ => 1,
    }
}

/// Says on stderr what went wrong.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let mut code = 1;
    let mut said = String::new();
    for cause in error.chain() {
        let text = match cause.downcast_ref::<tonic::Status>() {
            Some(status) => {
                code = code_of(status.code());
                status.message().to_owned()
            }
            None => cause.to_string(),
        };
        if let Some(exit) = cause.downcast_ref::<Exit>() {
            code = exit.code;
        } else if cause.is::<tonic::transport::Error>() || cause.is::<reqwest::Error>() {
            code = 3;
        } else if cause.is::<highwater_node::config::ConfigError>() {
            code = 2;
        }
        // Libraries like to repeat their cause in their own message.
        if !said.contains(&text) {
            said += if said.is_empty() { "" } else { ": " };
            said += &text;
        }
    }
    match code {
        // What was asked for, and no failure.
        DIFFERENT => eprintln!("{said}"),
        _ => eprintln!("error: {said}"),
    }
    ExitCode::from(code)
}
