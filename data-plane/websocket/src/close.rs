//! How a connection ends: the codes, the body of a close frame, and the closing handshake.

use bytes::{Buf, Bytes};

use crate::{frame, text::Text, violation::Violation};

/// The purpose of the connection is fulfilled.
pub const NORMAL: u16 = 1000;
/// The server goes down, or the page is left.
pub const GOING_AWAY: u16 = 1001;
/// A frame broke the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A kind of data that the endpoint does not take.
pub const UNSUPPORTED: u16 = 1003;
/// Data that is not what its kind says, such as text that is no UTF-8.
pub const INVALID_PAYLOAD: u16 = 1007;
/// A message against the endpoint's policy.
pub const POLICY: u16 = 1008;
/// A message larger than the endpoint takes.
pub const TOO_BIG: u16 = 1009;
/// The server met a condition that it did not expect.
pub const INTERNAL: u16 = 1011;
/// The server restarts; come back after a while.
pub const RESTART: u16 = 1012;
/// The server is overloaded; come back later, or elsewhere.
pub const TRY_LATER: u16 = 1013;

/// Longest reason, in bytes: what a control frame leaves beside the code.
pub const REASON_BYTES_MAX: usize = 123;

/// Why the peer ends the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// A code that [`may_be_sent`].
    pub code: u16,
    /// For people; may be empty.
    pub reason: Text,
}

/// Whether a code may stand in a close frame: 1004 to 1006 and 1015 are reserved for what is never
/// sent, 1016 to 2999 for later versions (RFC 6455 section 7.4, IANA's registry up to 1014).
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The body of a close frame; it may be empty.
pub(crate) fn decode_body(mut body: Bytes) -> Result<Option<Close>, Violation> {
    if body.is_empty() {
        return Ok(None);
    }
    let code = body.try_get_u16().map_err(|_| Violation::CloseBody)?;
    if !may_be_sent(code) {
        return Err(Violation::CloseCode);
    }
    let reason = Text::try_from(body)?;
    Ok(Some(Close { code, reason }))
}

/// The closing handshake of a server's connection (RFC 6455 section 7.1): who has sent a close frame.
///
/// The frames it returns are the last ones to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Closing {
    /// Neither side has begun.
    #[default]
    Open,
    /// We have sent a close frame and read on until the peer's comes, or the caller's patience ends.
    Sent,
    /// Nothing is to be read or written any more: the socket is closed, by the server first, once
    /// what was returned is written.
    Closed,
}

impl Closing {
    /// Ends the connection. Returns the frame to write, unless one was returned before.
    pub fn start(&mut self, code: u16, reason: &str) -> Option<Bytes> {
        self.leave_open_for(Closing::Sent)
            .then(|| frame::close(code, reason))
    }

    /// The peer's close frame has come. Returns the frame that answers it, with the same code, unless
    /// it is itself the answer.
    pub fn on_close(&mut self, close: Option<&Close>) -> Option<Bytes> {
        self.leave_open_for(Closing::Closed).then(|| match close {
            Some(close) => frame::close(close.code, ""),
            None => frame::close_empty(),
        })
    }

    /// The peer broke the protocol. Returns the frame that says so, unless a close frame was sent;
    /// either way no answer is waited for.
    pub fn on_violation(&mut self, violation: Violation) -> Option<Bytes> {
        self.leave_open_for(Closing::Closed)
            .then(|| frame::close(violation.close_code(), &violation.to_string()))
    }

    /// Whether frames may still be written (section 5.5.1: none after a close frame).
    pub fn is_open(self) -> bool {
        self == Closing::Open
    }

    /// Whether the socket is to be closed.
    pub fn is_closed(self) -> bool {
        self == Closing::Closed
    }

    fn leave_open_for(&mut self, next: Closing) -> bool {
        let was_open = self.is_open();
        if was_open || next == Closing::Closed {
            *self = next;
        }
        was_open
    }
}
