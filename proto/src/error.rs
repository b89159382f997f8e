//! The one table of errors: every refusal a client can see, and how each protocol says it.

/// A stable code. Its number is also what nodes send each other, so numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ErrorCode {
    /// The request cannot be understood: a missing or malformed field.
    InvalidRequest = 1,
    /// Not a topic name or filter.
    InvalidTopic = 2,
    /// No credential, or one that is not known.
    Unauthenticated = 3,
    /// The credential does not allow this operation on this topic.
    Forbidden = 4,
    /// No such topic, and the project does not create it on first use.
    NotFound = 5,
    /// The payload is larger than allowed.
    PayloadTooLarge = 6,
    /// Too many requests just now.
    RateLimited = 7,
    /// An allowance that waiting does not refill is used up.
    QuotaExceeded = 8,
    /// Not a cursor.
    CursorInvalid = 9,
    /// A cursor of another topic, subscription or project.
    CursorForeign = 10,
    /// The topic has moved on from the cursor it was expected at.
    PreconditionFailed = 11,
    /// No leader, no quorum or no disk at the moment; the outcome of a write is unknown.
    Unavailable = 12,
    /// This node is about to stop.
    Draining = 13,
    /// The node holds as much unfinished work as it allows.
    Overloaded = 14,
    /// The headers are too many or too long.
    HeadersTooLarge = 15,
    /// The method, path or protocol feature does not exist.
    Unsupported = 16,
    /// The client did not answer or send in time.
    Timeout = 17,
    /// The service failed in a way that is not the client's doing.
    Internal = 18,
    /// Stored data failed its checksum on this replica and is not served.
    Corrupted = 19,
    /// The node could not be asked, or asked the leader and was refused; nothing was written.
    NoLeader = 20,
    /// There is one with this name.
    AlreadyExists = 21,
    /// What there is now does not allow it: it is in use, or about to be gone.
    Conflict = 22,
    /// The idempotency key came before, with another request.
    IdempotencyKeyReused = 23,
}

/// How the protocols say one code. See [`ErrorCode`]'s methods for the columns.
struct Row {
    code: ErrorCode,
    name: &'static str,
    http: u16,
    grpc: i32,
    mqtt: u8,
    ws_close: u16,
    retryable: bool,
    no_side_effects: bool,
    next_step: &'static str,
}

/// Shorthand for the table below.
const fn row(
    code: ErrorCode,
    name: &'static str,
    (http, grpc, mqtt, ws_close): (u16, i32, u8, u16),
    retryable: bool,
    no_side_effects: bool,
    next_step: &'static str,
) -> Row {
    Row {
        code,
        name,
        http,
        grpc,
        mqtt,
        ws_close,
        retryable,
        no_side_effects,
        next_step,
    }
}

use ErrorCode::*;

/// In order of the codes' numbers.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    //                                            http gRPC MQTT  WebSocket   retry  no effects
    row(InvalidRequest,     "invalid_request",     (400,  3, 0x83, 1008), false, true,  "correct the request"),
    row(InvalidTopic,       "invalid_topic",       (400,  3, 0x90, 1008), false, true,  "correct the topic or filter"),
    row(Unauthenticated,    "unauthenticated",     (401, 16, 0x87, 4401), false, true,  "send a valid key or token"),
    row(Forbidden,          "forbidden",           (403,  7, 0x87, 4403), false, true,  "use a credential with this permission"),
    row(NotFound,           "not_found",           (404,  5, 0x8F, 1008), false, true,  "create the topic first or check its name"),
    row(PayloadTooLarge,    "payload_too_large",   (413,  3, 0x95, 4413), false, true,  "send a smaller payload"),
    row(RateLimited,        "rate_limited",        (429,  8, 0x96, 4429), true,  true,  "retry after the delay given"),
    row(QuotaExceeded,      "quota_exceeded",      (429,  8, 0x97, 4429), false, true,  "raise the quota or use less"),
    row(CursorInvalid,      "cursor_invalid",      (400,  3, 0x83, 1008), false, true,  "use a cursor as the service gave it"),
    row(CursorForeign,      "cursor_foreign",      (400,  3, 0x83, 1008), false, true,  "use a cursor of this topic and project"),
    row(PreconditionFailed, "precondition_failed", (412,  9, 0x83, 1008), false, true,  "read the topic and decide again"),
    row(Unavailable,        "unavailable",         (503, 14, 0x88, 1013), true,  false, "retry with the same idempotency key"),
    row(Draining,           "draining",            (503, 14, 0x8B, 1012), true,  true,  "reconnect, to another node if there is one"),
    row(Overloaded,         "overloaded",          (429,  8, 0x97, 4429), true,  true,  "retry after the delay given"),
    row(HeadersTooLarge,    "headers_too_large",   (431,  3, 0x95, 4413), false, true,  "send fewer or shorter headers"),
    row(Unsupported,        "unsupported",         (404, 12, 0x83, 1003), false, true,  "see the documentation for what exists"),
    row(Timeout,            "timeout",             (408,  4, 0x8D, 4408), true,  false, "retry with the same idempotency key"),
    row(Internal,           "internal",            (500, 13, 0x80, 1011), true,  false, "retry, and report it if it stays"),
    row(Corrupted,          "corrupted",           (503, 14, 0x88, 1011), true,  true,  "retry; another replica will answer"),
    row(NoLeader,           "no_leader",           (503, 14, 0x88, 1013), true,  true,  "retry after the delay given"),
    row(AlreadyExists,      "already_exists",      (409,  6, 0x83, 1008), false, true,  "choose another name, or use what is there"),
    row(Conflict,           "conflict",            (409,  9, 0x83, 1008), false, true,  "look at what is there, and decide again"),
    row(IdempotencyKeyReused, "idempotency_key_reused", (422, 3, 0x83, 1008), false, true, "use a new idempotency key for another request"),
];

impl ErrorCode {
    /// Every code, in order of its number.
    pub fn all() -> impl Iterator<Item = ErrorCode> {
        TABLE.iter().map(|row| row.code)
    }

    /// The code with this number.
    pub fn from_number(number: u32) -> Option<ErrorCode> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        TABLE.get(index).map(|row| row.code)
    }

    /// The code with this name.
    pub fn from_name(name: &str) -> Option<ErrorCode> {
        TABLE
            .iter()
            .find(|row| row.name == name)
            .map(|row| row.code)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize - 1]
    }

    /// Its number among nodes.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// Its name in JSON, gRPC `ErrorInfo.reason` and logs.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// HTTP status (RFC 9110).
    pub fn http_status(self) -> u16 {
        self.row().http
    }

    /// Canonical gRPC code (`google.rpc.Code`).
    pub fn grpc_code(self) -> i32 {
        self.row().grpc
    }

    /// MQTT 5.0 reason code (section 2.4).
    pub fn mqtt_reason(self) -> u8 {
        self.row().mqtt
    }

    /// WebSocket close code (RFC 6455, section 7.4, and the private range), where the refusal ends the connection:
    /// see [`crate::close`].
    pub fn ws_close(self) -> u16 {
        self.row().ws_close
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(self) -> bool {
        self.row().retryable
    }

    /// Whether the request certainly changed nothing.
    pub fn has_no_side_effects(self) -> bool {
        self.row().no_side_effects
    }

    /// What the caller can do, for the end of an error message.
    pub fn next_step(self) -> &'static str {
        self.row().next_step
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The table as Markdown, for the documentation.
pub fn markdown() -> String {
    let mut text = String::from(
        "| code | HTTP | gRPC | MQTT | WebSocket | retry | no side effects | what to do |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let yes = |flag| if flag { "yes" } else { "no" };
    for row in TABLE {
        text += &format!(
            "| `{}` | {} | {} | 0x{:02X} | {} | {} | {} | {} |\n",
            row.name,
            row.http,
            row.grpc,
            row.mqtt,
            row.ws_close,
            yes(row.retryable),
            yes(row.no_side_effects),
            row.next_step
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_its_number_and_its_name() {
        for (index, code) in ErrorCode::all().enumerate() {
            assert_eq!(code.number() as usize, index + 1);
            assert_eq!(ErrorCode::from_number(code.number()), Some(code));
            assert_eq!(ErrorCode::from_name(code.name()), Some(code));
        }
        assert_eq!(ErrorCode::from_number(0), None);
        assert_eq!(ErrorCode::from_number(u32::MAX), None);
    }

    /// `UPDATE=1 cargo test -p highwater-proto` writes the page anew.
    #[test]
    fn the_documented_table_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ERRORS.md");
        let page = format!(
            "# Error codes\n\nWritten by a test from the table in `src/error.rs`. \"No side effects\" means \
             that the request certainly changed nothing.\n\n{}\n\
             ## Close codes of WebSockets\n\nFrom the table in `src/close.rs`. At `/v1/ws` a refused request is \
             answered with `error`, and the connection goes on; it is closed only for what is below. MQTT in a \
             WebSocket is closed with the code of the refusal that ends it.\n\n{}",
            markdown(),
            crate::close::markdown()
        );
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page);
    }
}
