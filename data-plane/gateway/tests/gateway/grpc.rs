//! gRPC: `highwater.client.v1`, health and reflection.

mod calls;
mod incoming;
mod malformed;
mod publish_stream;
mod raw;
mod services;
mod subscribe;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Checks the canonical code and the reason of a refusal.
pub fn assert_refused(status: &Status, grpc_code: Code, code: &str) {
    assert_eq!(status.code(), grpc_code, "{status:?}");
    let info = status.get_details_error_info().expect("an ErrorInfo");
    assert_eq!(
        (info.reason.as_str(), info.domain.as_str()),
        (code, "highwater")
    );
}
