//! Inflates one message of permessage-deflate within a hard bound (RFC 7692 section 7.2.2).

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use crate::{
    decoder::FINAL_BLOCKS_MAX, message::grow, negotiation::WINDOW_BITS_MAX, violation::Violation,
};

/// What the sender has cut off from the end of each message.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// An empty final block. The inflater ends with it if, and only if, it stood between two blocks.
const FINAL_BLOCK: [u8; 5] = [0x01, 0x00, 0x00, 0xFF, 0xFF];
const WINDOW_BYTES_MAX: usize = 1 << WINDOW_BITS_MAX;
/// Room for output that is made at least, where the limit permits.
const OUTPUT_BYTES_MIN: usize = 512;
/// Bytes of a message that wait as they were sent. An inflater takes about 50 KiB, and a client could
/// otherwise make the server hold one for a header and nothing else.
const WAITING_BYTES_MAX: usize = 4 << 10;

/// The inflater of one message.
///
/// Its tables and window exist from the time the message is complete, or at least a few KiB of it are
/// there, until its end. With context takeover only the history outlives it. The window is always the
/// largest, whatever the peer promised: this costs nothing in between and refuses no one.
pub(crate) struct Inflater {
    stream: Option<Decompress>,
    /// The beginning of the message, as long as there is no stream.
    waiting: Vec<u8>,
    /// The end of the messages before.
    history: Vec<u8>,
    /// Whether the stream has ended with a final block. More blocks may follow, and refer back across it.
    ended: bool,
    final_blocks: u32,
}

impl Inflater {
    /// An inflater for a message that may refer to the history.
    pub(crate) fn new(history: Vec<u8>) -> Inflater {
        Inflater {
            stream: None,
            waiting: Vec::new(),
            history,
            ended: false,
            final_blocks: 0,
        }
    }

    /// Takes the next piece of the message and inflates to the end of `out`, which may grow to one byte
    /// more than `bytes_max`.
    pub(crate) fn push(
        &mut self,
        piece: &[u8],
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(), Violation> {
        if self.stream.is_none() {
            if self.waiting.len() + piece.len() <= WAITING_BYTES_MAX {
                self.waiting.extend_from_slice(piece);
                return Ok(());
            }
            self.inflate_waiting(out, bytes_max)?;
        }
        self.inflate(piece, out, bytes_max)
    }

    /// Inflates what the sender has cut off, and makes sure that the message was complete.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> Result<(), Violation> {
        if self.stream.is_none() {
            self.inflate_waiting(out, bytes_max)?;
        }
        // A message may end with a final block and an octet to which the tail belongs (section
        // 7.2.3.4). A sender that forgets the octet has lost nothing.
        if self.ended {
            return Ok(());
        }
        self.inflate(&TAIL, out, bytes_max)?;
        let len = out.len();
        self.inflate(&FINAL_BLOCK, out, bytes_max)?;
        match self.ended && out.len() == len {
            true => Ok(()),
            false => Err(Violation::Inflate),
        }
    }

    /// The last `2^bits` bytes of the messages up to this one; none for 0 bits.
    pub(crate) fn into_history(self, message: &[u8], bits: u8) -> Vec<u8> {
        if bits == 0 {
            return Vec::new();
        }
        let window = 1 << bits;
        let mut history = self.history;
        let kept = window - message.len().min(window);
        history.drain(..history.len().saturating_sub(kept));
        history.reserve_exact(message.len().min(window));
        history.extend_from_slice(last(message, window));
        history
    }

    fn inflate_waiting(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> Result<(), Violation> {
        self.open(out);
        let waiting = std::mem::take(&mut self.waiting);
        self.inflate(&waiting, out, bytes_max)
    }

    fn inflate(
        &mut self,
        mut piece: &[u8],
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(), Violation> {
        while !piece.is_empty() {
            if self.ended {
                self.final_blocks += 1;
                if self.final_blocks > FINAL_BLOCKS_MAX {
                    return Err(Violation::TooManyFinalBlocks);
                }
                self.open(out);
            }
            let stream = self.stream.as_mut().ok_or(Violation::Inflate)?;
            let (taken, ended) = step(stream, piece, out, bytes_max)?;
            self.ended = ended;
            piece = &piece[taken..];
        }
        Ok(())
    }

    /// Begins a stream that may refer to the history and to what is inflated already.
    fn open(&mut self, out: &[u8]) {
        let stream = match &mut self.stream {
            Some(stream) => {
                stream.reset(false);
                stream
            }
            none => none.insert(Decompress::new(false)),
        };
        for part in [&self.history, out] {
            if !part.is_empty() {
                stream
                    .set_dictionary(last(part, WINDOW_BYTES_MAX))
                    .expect("a raw stream takes a dictionary at any time");
            }
        }
        self.ended = false;
    }
}

/// Takes the piece with all its output. Returns how many bytes were taken, and whether the stream has
/// ended; if not, all were.
fn step(
    stream: &mut Decompress,
    piece: &[u8],
    out: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<(usize, bool), Violation> {
    let mut taken = 0;
    loop {
        let rest = &piece[taken..];
        // One byte more than permitted tells a message at its limit from one above it.
        let capacity_max = bytes_max.saturating_add(1);
        let room = capacity_max.saturating_sub(out.len());
        if room == 0 {
            return Err(Violation::MessageTooBig);
        }
        if out.len() == out.capacity() {
            let likely = rest.len().saturating_mul(2).max(OUTPUT_BYTES_MIN);
            grow(out, likely.min(room), capacity_max);
        }
        let (taken_before, len) = (stream.total_in(), out.len());
        let status = stream.decompress_vec(rest, out, FlushDecompress::Sync);
        let took = (stream.total_in() - taken_before) as usize;
        taken += took;
        if out.len() > bytes_max {
            return Err(Violation::MessageTooBig);
        }
        match status {
            Err(_) => return Err(Violation::Inflate),
            Ok(Status::StreamEnd) => return Ok((taken, true)),
            // With room to spare, it has given all that the input was good for.
            Ok(_) if out.len() < out.capacity() && taken == piece.len() => {
                return Ok((taken, false));
            }
            Ok(_) if took == 0 && out.len() == len => return Err(Violation::Inflate),
            Ok(_) => {}
        }
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("waiting_bytes", &self.waiting.len())
            .field("history_bytes", &self.history.len())
            .finish_non_exhaustive()
    }
}

fn last(bytes: &[u8], count: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(count)..]
}
