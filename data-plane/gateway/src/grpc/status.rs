//! A refusal as gRPC says it: the canonical code, and why and when to retry in `google.rpc` details.

use std::{error::Error as _, time::Duration};

use highwater_broker::Refusal;
use highwater_proto::{ErrorCode, client};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::http::problem::retry_delay_ms;

/// The domain of the reasons in `google.rpc.ErrorInfo`.
const DOMAIN: &str = "highwater";

/// The status that ends a call with a refusal.
pub fn to_status(refusal: &Refusal) -> Status {
    let code = refusal.code();
    let flag = |flag: bool| flag.to_string();
    let metadata = [
        ("retryable".to_owned(), flag(code.is_retryable())),
        (
            "has_no_side_effects".to_owned(),
            flag(code.has_no_side_effects()),
        ),
    ];
    let mut details = ErrorDetails::new();
    details.set_error_info(code.name(), DOMAIN, metadata);
    if let Some(delay) = retry_delay_ms(refusal) {
        details.set_retry_info(Some(Duration::from_millis(delay)));
    }
    Status::with_error_details(
        Code::from_i32(code.grpc_code()),
        refusal.to_string(),
        details,
    )
}

/// The refusal of one message of a stream, which goes on.
pub fn to_message(refusal: &Refusal) -> client::Error {
    let code = refusal.code();
    client::Error {
        code: code.name().to_owned(),
        message: refusal.to_string(),
        retryable: code.is_retryable(),
        has_no_side_effects: code.has_no_side_effects(),
        retry_after_ms: retry_delay_ms(refusal).unwrap_or(0),
    }
}

/// Why a request could not be read, from the status that the codec or the service ended it with.
pub fn unreadable(status: &Status) -> Refusal {
    let mut source = status.source();
    while let Some(error) = source {
        // What the body of the call was refused for.
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return refusal.clone();
        }
        source = error.source();
    }
    let (code, message) = match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => (
            ErrorCode::PayloadTooLarge,
            "a request has at most 4 MiB, decompressed as well, and 65,536 fields",
        ),
        Code::Unimplemented => (
            ErrorCode::Unsupported,
            "there is no such service, method or compression",
        ),
        Code::NotFound => (ErrorCode::NotFound, "there is no such service"),
        _ => (
            ErrorCode::InvalidRequest,
            "this is no valid request of the method",
        ),
    };
    Refusal::new(code, message)
}
