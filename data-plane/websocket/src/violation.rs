//! Every way in which a peer's frames can break the protocol, and the close code that answers it.

use crate::close;

/// Why a connection fails. The caller sends a close frame with [`Violation::close_code`] and drops
/// the connection (RFC 6455 section 7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// A reserved bit without an extension that defines it, or RSV1 where compression cannot start.
    #[error("frame sets a reserved bit")]
    ReservedBit,
    /// An opcode that RFC 6455 reserves.
    #[error("frame has a reserved opcode")]
    ReservedOpcode,
    /// A client's frame without a mask.
    #[error("frame of a client is not masked")]
    NotMasked,
    /// A server's frame with a mask.
    #[error("frame of a server is masked")]
    Masked,
    /// A length in more bytes than it needs.
    #[error("frame length is not encoded minimally")]
    LengthNotMinimal,
    /// A length of 64 bits.
    #[error("frame length has its highest bit set")]
    LengthHighestBit,
    /// A control frame without FIN.
    #[error("control frame is fragmented")]
    ControlFragmented,
    /// A control frame of more than 125 bytes.
    #[error("control frame is longer than 125 bytes")]
    ControlTooLong,
    /// A continuation frame while no message is under way.
    #[error("continuation frame without a message to continue")]
    NothingToContinue,
    /// A new message inside another one.
    #[error("message begins before the one under way has ended")]
    MessageUnfinished,
    /// A close frame's body of one byte.
    #[error("close frame has half a status code")]
    CloseBody,
    /// A close code that must not be sent.
    #[error("close frame has an invalid status code")]
    CloseCode,
    /// Text or a close reason that is no UTF-8.
    #[error("text is not valid utf-8")]
    Utf8,
    /// A compressed message that is no DEFLATE stream, or ends in the middle of a block.
    #[error("compressed message is not valid deflate data")]
    Inflate,
    /// More bytes than the connection may send in one message, as sent or after inflating.
    #[error("message is larger than the limit")]
    MessageTooBig,
    /// More fragments than [`crate::decoder::FRAGMENTS_MAX`].
    #[error("message has too many fragments")]
    TooManyFragments,
    /// More final DEFLATE blocks than [`crate::decoder::FINAL_BLOCKS_MAX`].
    #[error("compressed message has too many final blocks")]
    TooManyFinalBlocks,
}

impl Violation {
    /// The status code of the close frame that answers it (RFC 6455 section 7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Violation::ReservedBit
            | Violation::ReservedOpcode
            | Violation::NotMasked
            | Violation::Masked
            | Violation::LengthNotMinimal
            | Violation::LengthHighestBit
            | Violation::ControlFragmented
            | Violation::ControlTooLong
            | Violation::NothingToContinue
            | Violation::MessageUnfinished
            | Violation::CloseBody
            | Violation::CloseCode => close::PROTOCOL_ERROR,
            Violation::Utf8 | Violation::Inflate => close::INVALID_PAYLOAD,
            Violation::MessageTooBig
            | Violation::TooManyFragments
            | Violation::TooManyFinalBlocks => close::TOO_BIG,
        }
    }
}
