//! The reading half of one connection: bytes in, whole messages and control frames out.

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    close::{self, Close},
    header::{Header, Opcode},
    mask,
    message::Message,
    negotiation::{Agreement, WINDOW_BITS_MAX},
    text::{Text, Utf8},
    violation::Violation,
};

/// Most frames of one message. Frames may be empty, so that a limit on bytes alone would let a message
/// go on for ever.
pub const FRAGMENTS_MAX: u32 = 65_536;
/// Most final DEFLATE blocks of one message. After each of them the inflater starts again with 32 KiB
/// of history, for as little as two bytes of input.
pub const FINAL_BLOCKS_MAX: u32 = 256;

/// What a peer has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message of text.
    Text(Text),
    /// A binary message.
    Binary(Bytes),
    /// To be answered by [`crate::frame::pong`] with the same payload.
    Ping(Bytes),
    /// The answer to a ping, or a sign of life.
    Pong(Bytes),
    /// The end, with a reason if the peer gave one. Nothing comes after it.
    Close(Option<Close>),
}

/// Which side of the connection a decoder reads on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads what a client sent: every frame is masked.
    Server,
    /// Reads what a server sent: no frame is masked.
    Client,
}

/// Decodes the frames of one connection.
///
/// It keeps no buffer of its own. The caller reads into a [`BytesMut`] that may be dropped whenever it
/// is empty, so an idle connection holds nothing but this struct. A message that comes in one
/// uncompressed frame stays where it was read and is handed out as a slice of that buffer, which lives
/// as long as the message does; others are put together in a buffer of their own.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    /// Set when both agreed on permessage-deflate.
    deflate: bool,
    /// How much of the peer's messages is kept for its next one to refer to; 0 bits without context
    /// takeover.
    history_bits: u8,
    ended: bool,
    message_bytes_max: usize,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// The message whose frames are arriving, unless one plain frame holds all of it.
    message: Option<Box<Message>>,
    /// The end of the peer's messages so far; empty without context takeover.
    history: Vec<u8>,
}

// Ten thousands of connections hold one each.
const _: () = assert!(size_of::<Decoder>() <= 128);

#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    /// Whether the payload stays in the buffer until all of it is there, instead of going to the message
    /// under way piece by piece.
    in_place: bool,
    mask: Option<[u8; 4]>,
    len: usize,
    /// Bytes of the payload that are unmasked and checked already.
    done: usize,
    /// Of text that is a single frame.
    utf8: Utf8,
}

impl Decoder {
    /// A connection that has just been opened, with what was agreed on for compression.
    ///
    /// `message_bytes_max` is the largest message taken, before and after inflating.
    pub fn new(role: Role, message_bytes_max: usize, agreement: Option<Agreement>) -> Decoder {
        let history_bits = match agreement {
            Some(agreement) => match role {
                Role::Server if agreement.client_context_takeover => agreement.client_window_bits(),
                Role::Client if agreement.server_context_takeover => agreement.server_window_bits(),
                _ => 0,
            },
            None => 0,
        };
        Decoder {
            role,
            deflate: agreement.is_some(),
            history_bits: history_bits.min(WINDOW_BITS_MAX),
            ended: false,
            message_bytes_max,
            frame: None,
            message: None,
            history: Vec::new(),
        }
    }

    /// Changes the limit, for instance once the client has authenticated. It holds from the next
    /// frame's header or inflated byte on.
    pub fn set_message_bytes_max(&mut self, message_bytes_max: usize) {
        self.message_bytes_max = message_bytes_max;
    }

    /// Whether no message, frame or part of one is under way: the connection may be closed without
    /// losing anything, provided the buffer is empty too.
    pub fn is_idle(&self) -> bool {
        self.frame.is_none() && self.message.is_none()
    }

    /// Bytes that the frame under way still lacks beyond those in the buffer: how far the next read may
    /// usefully go. The limit on messages bounds it. A reader should nevertheless grow its buffer with
    /// what arrives, not with what a header promises.
    pub fn missing_bytes(&self, buf: &BytesMut) -> usize {
        let expected = self.frame.as_ref().map_or(0, |frame| match frame.in_place {
            true => frame.len,
            false => frame.len - frame.done,
        });
        expected.saturating_sub(buf.len())
    }

    /// Takes what it can from the front of the buffer: the next event, or nothing when more must be
    /// read behind what is left in it. Always to be given the same buffer, untouched in between.
    ///
    /// After a violation or a close frame the rest of the input is discarded.
    pub fn feed(&mut self, buf: &mut BytesMut) -> Result<Option<Event>, Violation> {
        let next = match self.ended {
            true => Ok(None),
            false => self.next(buf),
        };
        if matches!(next, Err(_) | Ok(Some(Event::Close(_)))) {
            self.end();
        }
        if self.ended {
            buf.clear();
        }
        next
    }

    fn end(&mut self) {
        self.ended = true;
        self.frame = None;
        self.message = None;
        self.history = Vec::new();
    }

    fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Event>, Violation> {
        loop {
            let frame = match self.frame.take() {
                Some(frame) => frame,
                None => match Header::decode(buf)? {
                    None => return Ok(None),
                    Some((header, header_len)) => {
                        buf.advance(header_len);
                        self.begin(header)?
                    }
                },
            };
            let (unfinished, event) = match frame.in_place {
                true => frame.read_in_place(buf)?,
                false => self.read_fragment(frame, buf)?,
            };
            self.frame = unfinished;
            if event.is_some() || self.frame.is_some() {
                return Ok(event);
            }
        }
    }

    /// Checks a header against the connection's state.
    fn begin(&mut self, header: Header) -> Result<Frame, Violation> {
        match (self.role, header.mask) {
            (Role::Server, None) => return Err(Violation::NotMasked),
            (Role::Client, Some(_)) => return Err(Violation::Masked),
            _ => {}
        }
        if !header.opcode.is_control() {
            self.begin_data(&header)?;
        }
        Ok(Frame {
            opcode: header.opcode,
            fin: header.fin,
            in_place: header.opcode.is_control() || self.message.is_none(),
            mask: header.mask,
            // Control frames are short, and no other is admitted above a limit that is a usize.
            len: header.len as usize,
            done: 0,
            utf8: Utf8::default(),
        })
    }

    fn begin_data(&mut self, header: &Header) -> Result<(), Violation> {
        let bytes_max = self.message_bytes_max;
        match (&mut self.message, header.opcode) {
            (None, Opcode::Continuation) => Err(Violation::NothingToContinue),
            (Some(_), Opcode::Text | Opcode::Binary) => Err(Violation::MessageUnfinished),
            _ if header.rsv1 && (!self.deflate || header.opcode == Opcode::Continuation) => {
                Err(Violation::ReservedBit)
            }
            (Some(message), _) => message.admit(header.len, bytes_max),
            (None, _) if header.fin && !header.rsv1 => match header.len > bytes_max as u64 {
                true => Err(Violation::MessageTooBig),
                false => Ok(()),
            },
            (None, opcode) => {
                let is_text = opcode == Opcode::Text;
                let mut message = match header.rsv1 {
                    true => Message::compressed(is_text, std::mem::take(&mut self.history)),
                    false => Message::plain(is_text),
                };
                message.admit(header.len, bytes_max)?;
                self.message = Some(Box::new(message));
                Ok(())
            }
        }
    }

    /// Moves what has arrived of a fragment to its message.
    fn read_fragment(
        &mut self,
        mut frame: Frame,
        buf: &mut BytesMut,
    ) -> Result<(Option<Frame>, Option<Event>), Violation> {
        let Some(message) = &mut self.message else {
            return Err(Violation::NothingToContinue);
        };
        let arrived = buf.len().min(frame.len - frame.done);
        frame.unmask(&mut buf[..arrived]);
        message.push(&buf[..arrived], self.message_bytes_max)?;
        buf.advance(arrived);
        if frame.done < frame.len {
            return Ok((Some(frame), None));
        }
        let message = match frame.fin {
            true => self.message.take(),
            false => None,
        };
        let Some(message) = message else {
            return Ok((None, None));
        };
        let (event, history) = message.finish(self.message_bytes_max, self.history_bits)?;
        // A plain message leaves the history as it was (RFC 7692 section 7.2.2).
        if let Some(history) = history {
            self.history = history;
        }
        Ok((None, Some(event)))
    }
}

impl Frame {
    /// Unmasks the next piece of the payload.
    fn unmask(&mut self, piece: &mut [u8]) {
        if let Some(key) = self.mask {
            mask::apply(piece, key, self.done);
        }
        self.done += piece.len();
    }

    fn read_in_place(
        mut self,
        buf: &mut BytesMut,
    ) -> Result<(Option<Frame>, Option<Event>), Violation> {
        let done = self.done;
        assert!(done <= buf.len(), "the caller left the rest in the buffer");
        let arrived = buf.len().min(self.len);
        let piece = &mut buf[done..arrived];
        self.unmask(piece);
        if self.opcode == Opcode::Text {
            self.utf8.check(piece)?;
        }
        if buf.len() < self.len {
            return Ok((Some(self), None));
        }
        let payload = buf.split_to(self.len).freeze();
        let event = match self.opcode {
            Opcode::Text => {
                self.utf8.finish()?;
                Event::Text(Text::validated(payload))
            }
            Opcode::Binary => Event::Binary(payload),
            Opcode::Continuation => return Err(Violation::NothingToContinue),
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            Opcode::Close => Event::Close(close::decode_body(payload)?),
        };
        Ok((None, Some(event)))
    }
}
