//! Waiting for something to become true, with a deadline instead of a guess.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long anything may take before a test says that it never happened. Long enough for a machine
/// that does much else.
pub const DEADLINE: Duration = Duration::from_secs(60);

const POLL_EVERY: Duration = Duration::from_millis(25);

/// Waits until the condition holds.
///
/// # Panics
/// After [`DEADLINE`], saying what did not happen.
pub async fn eventually<F>(what: &str, mut condition: F)
where
    F: AsyncFnMut() -> bool,
{
    eventually_some(what, async || condition().await.then_some(())).await;
}

/// Waits until there is a value.
///
/// # Panics
/// After [`DEADLINE`], saying what did not happen.
pub async fn eventually_some<F, T>(what: &str, mut find: F) -> T
where
    F: AsyncFnMut() -> Option<T>,
{
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = find().await {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "within {DEADLINE:?} it never came about that {what}"
        );
        sleep(POLL_EVERY).await;
    }
}

/// Awaits something that must not take forever.
///
/// # Panics
/// After [`DEADLINE`], saying what did not happen.
pub async fn within_deadline<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("within {DEADLINE:?} it never came about that {what}"),
    }
}
