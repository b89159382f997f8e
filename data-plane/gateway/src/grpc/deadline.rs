//! The time a caller gives a call: `grpc-timeout` (gRPC over HTTP/2, "Requests").

use std::{future::Future, time::Duration};

use highwater_broker::Refusal;
use highwater_proto::ErrorCode;
use http::HeaderMap;
use tokio::time::Instant;
use tonic::{Status, metadata::MetadataMap};

use super::status::to_status;

/// When a call must end.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// From the call's metadata.
    pub fn of(metadata: &MetadataMap) -> Deadline {
        Deadline::in_headers(metadata.as_ref())
    }

    /// From the call's headers. A text that is no timeout is none.
    pub fn in_headers(headers: &HeaderMap) -> Deadline {
        let text = headers.get("grpc-timeout").and_then(|v| v.to_str().ok());
        let at = text
            .and_then(parse)
            .and_then(|timeout| Instant::now().checked_add(timeout));
        Deadline(at)
    }

    /// Runs until the deadline.
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED` when it has passed.
    pub async fn run<T>(self, work: impl Future<Output = T>) -> Result<T, Status> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.passed() => Err(exceeded()),
        }
    }

    /// Resolves when the deadline has passed; never without one.
    pub async fn passed(self) {
        match self.0 {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

/// What a call is told whose deadline has passed.
pub fn exceeded() -> Status {
    to_status(&Refusal::new(
        ErrorCode::Timeout,
        "the deadline of the call has passed",
    ))
}

/// At most eight digits and a unit.
fn parse(text: &str) -> Option<Duration> {
    let (at, unit) = text.char_indices().last()?;
    let digits = &text[..at];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(amount * 3_600)),
        'M' => Some(Duration::from_secs(amount * 60)),
        'S' => Some(Duration::from_secs(amount)),
        'm' => Some(Duration::from_millis(amount)),
        'u' => Some(Duration::from_micros(amount)),
        'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_has_up_to_eight_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("123456789m", None),
            ("m", None),
            ("", None),
            ("1", None),
            ("-1S", None),
            ("1é", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
