//! Room for many sockets: each subscriber is one here, and one in a server that inherits this limit.

use std::io;

use anyhow::{Result, ensure};

/// Raises the limit of open files as far as this process may.
///
/// # Errors
/// When the system refuses.
pub fn raise() -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls read or write this one structure.
    let is_raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0
        }
    };
    ensure!(is_raised, io::Error::last_os_error());
    Ok(())
}
