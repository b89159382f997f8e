//! A message under way whose payload is put together: from fragments, or by inflating it.

use bytes::Bytes;

use crate::{
    decoder::{Event, FRAGMENTS_MAX},
    inflate::Inflater,
    text::{Text, Utf8},
    violation::Violation,
};

/// What is kept between the frames of a message.
#[derive(Debug)]
pub(crate) struct Message {
    is_text: bool,
    utf8: Utf8,
    /// The message as far as it is known, inflated.
    data: Vec<u8>,
    /// Bytes of payload in the frames so far, as they were sent.
    sent_bytes: usize,
    frames: u32,
    inflater: Option<Inflater>,
}

impl Message {
    /// A message in several frames.
    pub(crate) fn plain(is_text: bool) -> Message {
        Message {
            is_text,
            utf8: Utf8::default(),
            data: Vec::new(),
            sent_bytes: 0,
            frames: 0,
            inflater: None,
        }
    }

    /// A message that may refer to what came before it.
    pub(crate) fn compressed(is_text: bool, history: Vec<u8>) -> Message {
        Message {
            inflater: Some(Inflater::new(history)),
            ..Message::plain(is_text)
        }
    }

    /// Decides on a further frame by its header.
    pub(crate) fn admit(&mut self, frame_bytes: u64, bytes_max: usize) -> Result<(), Violation> {
        let sent_bytes_max = match self.inflater {
            None => bytes_max,
            // Data that does not compress grows a little: by an eighth with DEFLATE's fixed code, the
            // worst choice that a compressor makes.
            Some(_) => bytes_max.saturating_add(bytes_max / 8).saturating_add(64),
        };
        let room = sent_bytes_max.saturating_sub(self.sent_bytes);
        if frame_bytes > room as u64 {
            return Err(Violation::MessageTooBig);
        }
        self.sent_bytes += frame_bytes as usize;
        self.frames += 1;
        if self.frames > FRAGMENTS_MAX {
            return Err(Violation::TooManyFragments);
        }
        Ok(())
    }

    /// Takes the next unmasked piece of payload.
    pub(crate) fn push(&mut self, piece: &[u8], bytes_max: usize) -> Result<(), Violation> {
        let known = self.data.len();
        let pushed = match &mut self.inflater {
            Some(inflater) => inflater.push(piece, &mut self.data, bytes_max),
            None => {
                grow(&mut self.data, piece.len(), bytes_max);
                self.data.extend_from_slice(piece);
                Ok(())
            }
        };
        // The bytes before a failure come first: which of two violations is reported must not
        // depend on how the input was split.
        self.check_text_from(known)?;
        pushed
    }

    /// The message, and what the peer's next one may refer to if this one was compressed.
    pub(crate) fn finish(
        mut self: Box<Self>,
        bytes_max: usize,
        history_bits: u8,
    ) -> Result<(Event, Option<Vec<u8>>), Violation> {
        let mut history = None;
        if let Some(mut inflater) = self.inflater.take() {
            let known = self.data.len();
            // A message without any payload should have been one zero octet (RFC 7692 section
            // 7.2.3.6), but a compressor that is flushed twice emits nothing, and empty it is.
            let finished = match self.sent_bytes {
                0 => Ok(()),
                _ => inflater.finish(&mut self.data, bytes_max),
            };
            self.check_text_from(known)?;
            finished?;
            history = Some(inflater.into_history(&self.data, history_bits));
        }
        self.utf8.finish()?;
        let data = Bytes::from(self.data);
        let event = match self.is_text {
            true => Event::Text(Text::validated(data)),
            false => Event::Binary(data),
        };
        Ok((event, history))
    }

    fn check_text_from(&mut self, known: usize) -> Result<(), Violation> {
        match self.is_text {
            true => self.utf8.check(&self.data[known..]),
            false => Ok(()),
        }
    }
}

/// Makes room for more, doubling the capacity but never above `bytes_max`. Its last step starts from at
/// most half of that, so that the old and the new memory together stay below one and a half times it.
pub(crate) fn grow(data: &mut Vec<u8>, more: usize, bytes_max: usize) {
    let needed = data.len() + more;
    if needed > data.capacity() {
        let doubled = needed.max(data.capacity().saturating_mul(2));
        let capacity = match doubled > bytes_max / 2 {
            true => bytes_max.max(needed),
            false => doubled,
        };
        data.reserve_exact(capacity - data.len());
    }
}
