//! The one table of the codes that close a WebSocket: what each says, and whether to connect again.
//!
//! A request that is refused does not close the connection: it is answered with its [`crate::ErrorCode`], and the
//! connection goes on. MQTT in a WebSocket has refusals that it cannot say: then the code is that of the refusal
//! ([`crate::ErrorCode::ws_close`]).

/// The session has another connection.
pub const TAKEN_OVER: u16 = 4409;

struct Row {
    code: u16,
    is_worth_retrying: bool,
    when: &'static str,
}

/// Shorthand for the table below.
const fn row(code: u16, is_worth_retrying: bool, when: &'static str) -> Row {
    Row {
        code,
        is_worth_retrying,
        when,
    }
}

/// In order of the codes.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    row(1000, false, "the client has ended it, or MQTT inside"),
    row(1001, true,  "its HTTP/2 connection is as old as one may get; the node goes on"),
    row(1002, false, "a frame against RFC 6455"),
    row(1003, false, "a binary message where the subprotocol has text, or text where it has binary"),
    row(1007, false, "text that is no UTF-8, or a compressed message that is none"),
    row(1008, false, "a message that is none of the subprotocol, or of MQTT"),
    row(1009, false, "a message longer than `hello` says, or than 16 KiB before the credential"),
    row(1011, true,  "MQTT: a failure of the service that the client cannot be told in another way"),
    row(1012, true,  "the node stops: after the time in `draining`"),
    row(1013, true,  "MQTT: no leader or quorum at the moment"),
    row(4401, false, "no credential in time, or one that is not valid, was revoked or has expired: with another one"),
    row(4403, false, "the credential does not allow it"),
    row(4408, true,  "the client was silent, or did not take what it was sent, for too long"),
    row(TAKEN_OVER, false, "MQTT: the client has connected anew with the same identifier"),
    row(4413, false, "MQTT: a packet, payload or headers that are too large"),
    row(4429, true,  "MQTT: too much unfinished work, or a quota; after a while"),
];

/// Whether to connect again after this code without having changed anything; no, for one that is none of ours.
pub fn is_worth_retrying(code: u16) -> bool {
    TABLE
        .iter()
        .any(|row| row.code == code && row.is_worth_retrying)
}

/// The table as Markdown, for the documentation.
pub fn markdown() -> String {
    let mut text = String::from("| code | connect again | when |\n|---|---|---|\n");
    for row in TABLE {
        let again = if row.is_worth_retrying { "yes" } else { "no" };
        text += &format!("| {} | {again} | {} |\n", row.code, row.when);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    #[test]
    fn every_error_closes_with_a_code_of_the_table_that_says_whether_to_retry() {
        assert!(TABLE.is_sorted_by_key(|row| row.code));
        for error in ErrorCode::all() {
            let code = error.ws_close();
            assert!(TABLE.iter().any(|row| row.code == code), "{error}");
            // It has its code from those that time heals.
            let is_alike = error == ErrorCode::QuotaExceeded
                || is_worth_retrying(code) == error.is_retryable();
            assert!(is_alike, "{error}: {code}");
        }
    }
}
