//! The only place of the control plane that reads the time of day.

use std::{sync::Arc, time::SystemTime};

/// Milliseconds since the Unix epoch, wherever time is needed.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The system's clock. A time before the epoch is the epoch.
pub fn system() -> Clock {
    Arc::new(|| {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    })
}
