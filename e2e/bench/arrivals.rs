//! Waiting for what was published to have come to everyone: all of it, and nothing twice.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use tokio::{task::JoinSet, time::sleep};

/// How long nothing may come while something is due.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Waits until subscribers, who count for as long as they are connected, have counted so many.
///
/// # Errors
/// When nothing comes any more, too much has come, or a subscriber has ended.
pub async fn all(came: &AtomicU64, due: u64, subscribers: &mut JoinSet<Result<()>>) -> Result<()> {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let came = came.load(Ordering::Relaxed);
        ensure!(came <= due, "{came} deliveries came and {due} are right");
        if came == due {
            return Ok(());
        }
        if came > last {
            (last, since) = (came, Instant::now());
        }
        let is_late = since.elapsed() > SILENCE_MAX;
        ensure!(!is_late, "of {due} deliveries {came} came");
        if let Some(ended) = subscribers.try_join_next() {
            return match ended? {
                Err(error) => Err(error.context("a subscriber has ended")),
                Ok(()) => bail!("a subscriber has ended"),
            };
        }
        sleep(Duration::from_millis(1)).await;
    }
}
