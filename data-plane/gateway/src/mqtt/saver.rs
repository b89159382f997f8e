//! When a session is written, and what waits for it.
//!
//! A promise that has to outlive this node is made once the session is durable: the packet that makes it waits
//! here. One write is under way at a time and takes all changes that were made before it, so that a busy
//! session costs a write for many packets. Progress that costs only repetition when it is lost, the
//! acknowledgement of messages with QoS 1, is written now and then.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use highwater_broker::{Refusal, Result, session::SessionSlot};
use highwater_proto::{ErrorCode, cluster::Session, limits::MQTT_SESSION_LAG_MS_MAX};
use tokio::time::{Instant, sleep};

/// Pauses between attempts of a write whose outcome is not known.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Time after which a session that cannot be written is given up with its connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// The slot of a session, and how far it has been written.
pub struct Saver {
    /// With a write while there is one under way; none for a connection whose session nobody else can ask for.
    slot: Option<SessionSlot>,
    /// There never was a slot.
    is_private: bool,
    /// Whether the session outlives the connection. If not, nothing has to be written before its end.
    pub is_kept: bool,
    is_writing: bool,
    /// Changes there were.
    changes: u64,
    /// Changes that are durable.
    written: u64,
    /// Since when there has been progress that is not written.
    lag_since: Option<Instant>,
    /// Packets, each with the change that has to be durable before.
    waiting: VecDeque<(u64, Bytes)>,
}

/// A write that has ended, with the slot to go on with.
pub type Written = Result<(SessionSlot, u64)>;

impl Saver {
    /// A saver of a session that was written when its connection began.
    pub fn new(slot: Option<SessionSlot>, is_kept: bool) -> Saver {
        Saver {
            is_private: slot.is_none(),
            slot,
            is_kept,
            is_writing: false,
            changes: 0,
            written: 0,
            lag_since: None,
            waiting: VecDeque::new(),
        }
    }

    /// Holds a packet back until the session as it is now is durable. Gives it back if it need not wait.
    #[must_use]
    pub fn hold(&mut self, packet: Bytes) -> Option<Bytes> {
        if !self.is_kept {
            return Some(packet);
        }
        self.changes += 1;
        self.waiting.push_back((self.changes, packet));
        None
    }

    /// There is progress that need not be written at once.
    pub fn lag(&mut self) {
        if self.is_kept {
            self.lag_since.get_or_insert_with(Instant::now);
        }
    }

    /// How many packets wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// When the session has to be written, if nothing makes it necessary before.
    pub fn due(&self) -> Option<Instant> {
        let lag = Duration::from_millis(MQTT_SESSION_LAG_MS_MAX);
        self.lag_since
            .filter(|_| !self.is_writing)
            .map(|since| since + lag)
    }

    /// Whether a write has to begin.
    pub fn must_write(&self, now: Instant) -> bool {
        let is_due = self.changes > self.written || self.due().is_some_and(|due| due <= now);
        self.is_kept && !self.is_writing && is_due
    }

    /// Begins to write the session as it is.
    pub fn write(&mut self, session: Session) -> BoxFuture<'static, Written> {
        self.is_writing = true;
        self.lag_since = None;
        let change = self.changes;
        let slot = self.slot.take();
        Box::pin(async move {
            let mut slot = slot.ok_or_else(taken_over)?;
            write(&mut slot, &session).await?;
            Ok((slot, change))
        })
    }

    /// Takes the outcome of a write. Returns the packets that waited for it.
    ///
    /// # Errors
    /// When the connection can serve the session no longer.
    pub fn on_written(&mut self, written: Written) -> Result<Vec<Bytes>> {
        let (slot, change) = written?;
        self.slot = Some(slot);
        self.is_writing = false;
        self.written = change;
        let durable = self
            .waiting
            .partition_point(|(needed, _)| *needed <= change);
        Ok(self
            .waiting
            .drain(..durable)
            .map(|(_, packet)| packet)
            .collect())
    }

    /// The slot, for the last write, of a session that has one.
    ///
    /// # Errors
    /// When a write has failed: it is not known how the session is stored.
    pub fn into_slot(self) -> Result<Option<SessionSlot>> {
        match self.slot {
            None if !self.is_private => Err(Refusal::new(
                ErrorCode::Unavailable,
                "the session could not be written",
            )),
            slot => Ok(slot),
        }
    }
}

/// Writes a session, trying again for as long as it is not known whether it was written.
///
/// # Errors
/// `precondition_failed` when the session has another connection, and whatever lasts too long.
pub async fn write(slot: &mut SessionSlot, session: &Session) -> Result<()> {
    let give_up = Instant::now() + WRITE_TIMEOUT;
    loop {
        match slot.write(session).await {
            Err(refusal) if refusal.code().is_retryable() && Instant::now() < give_up => {
                tracing::debug!(%refusal, "a session is written again");
                sleep(RETRY_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

fn taken_over() -> Refusal {
    Refusal::new(
        ErrorCode::PreconditionFailed,
        "the session has another connection",
    )
}
