//! How a node stops: one order, one overall timeout.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

/// A part of stopping, in [`Step::ORDER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Readiness fails, so that load balancers look elsewhere.
    NotReady,
    /// No new connections.
    StopAccepting,
    /// Every client hears that it should go to another node.
    TellClients,
    /// Requests that were taken are finished.
    Drain,
    /// Other nodes lead this node's shards.
    HandOver,
    /// What is in memory reaches the disk, and traces their collector.
    Flush,
}

impl Step {
    /// The order. Clients are told while this node still leads, so that nothing they have in flight
    /// is refused; leadership goes while the disk still works, so that nobody waits for an election.
    pub const ORDER: [Step; 6] = [
        Step::NotReady,
        Step::StopAccepting,
        Step::TellClients,
        Step::Drain,
        Step::HandOver,
        Step::Flush,
    ];

    fn name(self) -> &'static str {
        match self {
            Step::NotReady => "not ready",
            Step::StopAccepting => "stop accepting",
            Step::TellClients => "tell clients",
            Step::Drain => "drain",
            Step::HandOver => "hand over",
            Step::Flush => "flush",
        }
    }
}

/// Takes all steps. One that is slow is abandoned when it would eat into what the later ones need:
/// each of them keeps a tenth of the whole. Says whether every step was finished.
pub async fn stop(within: Duration, mut take: impl AsyncFnMut(Step)) -> bool {
    let end = Instant::now() + within;
    let mut finished = true;
    for (index, step) in Step::ORDER.into_iter().enumerate() {
        let later = (Step::ORDER.len() - 1 - index) as u32;
        match timeout_at(end - within / 10 * later, take(step)).await {
            Ok(()) => info!(step = step.name(), "a step of stopping is done"),
            Err(_) => {
                finished = false;
                warn!(step = step.name(), "no time left for this step of stopping");
            }
        }
    }
    finished
}

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// When the process may not handle signals.
pub async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_steps_are_taken_in_order() {
        let mut taken = Vec::new();
        let finished = stop(Duration::from_secs(10), async |step| taken.push(step)).await;
        assert!(finished);
        assert_eq!(taken, Step::ORDER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_leaves_does_not_keep_leadership_here() {
        let start = Instant::now();
        let mut taken = Vec::new();
        let finished = stop(Duration::from_secs(10), async |step| {
            taken.push(step);
            if step == Step::Drain {
                std::future::pending::<()>().await;
            }
        })
        .await;
        assert!(!finished);
        assert_eq!(taken, Step::ORDER);
        assert_eq!(start.elapsed(), Duration::from_secs(8));
    }
}
