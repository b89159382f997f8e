//! Work that has time gives way to work that somebody waits for.

use rustix::{process::setpriority_process, thread::gettid};

/// How much a thread gives way, as in `nice(1)`: about a tenth of what others get where all are busy.
const NICENESS: i32 = 10;

/// Lets the calling thread give way to others for the rest of its life.
///
/// A checkpoint writes what the log already keeps safe. Where cores are few, it would otherwise take
/// them from the publishes of that moment, on all replicas at once.
pub fn give_way() {
    // Where it is not allowed, nothing is lost but some time.
    let _ = setpriority_process(Some(gettid()), NICENESS);
}
