//! One process by its id: whether it lives, and the signals it can be sent.

use std::{fs, io, os::unix::process::CommandExt, process::Command};

use crate::condition::eventually;

/// A process, which need not be a child of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pid(pub u32);

impl Pid {
    /// Ends it at once, as losing power to it would (but for the page cache).
    pub fn kill(self) {
        self.signal(libc::SIGKILL);
    }

    /// Asks it to stop in order.
    pub fn terminate(self) {
        self.signal(libc::SIGTERM);
    }

    /// Asks it to read its files again.
    pub fn hang_up(self) {
        self.signal(libc::SIGHUP);
    }

    /// Freezes it: its sockets stay open and nobody answers.
    pub fn freeze(self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets it go on after [`Pid::freeze`].
    pub fn thaw(self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(self, signal: i32) {
        // SAFETY: kill has no memory of ours to touch; a process that is gone is an error we ignore.
        unsafe { libc::kill(self.0 as libc::pid_t, signal) };
    }

    /// Whether it has ended with all its threads, so that its files and ports are free.
    pub fn has_ended(self) -> bool {
        // SAFETY: with WNOHANG this only collects a child of ours that has ended.
        let waited =
            unsafe { libc::waitpid(self.0 as libc::pid_t, std::ptr::null_mut(), libc::WNOHANG) };
        match waited {
            0 => false,
            -1 => self.is_gone(),
            _ => true,
        }
    }

    /// The same of a process that is no child of ours. As a zombie it waits for its parent only, but
    /// the first thread of a process is one while others still end.
    fn is_gone(self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.0)) else {
            return true;
        };
        // The state follows the name, which is in parentheses and may hold anything.
        let is_zombie = stat
            .rsplit(") ")
            .next()
            .is_some_and(|state| state.starts_with('Z'));
        let threads = fs::read_dir(format!("/proc/{}/task", self.0));
        is_zombie && threads.map_or(0, Iterator::count) <= 1
    }

    /// Waits until it has ended.
    pub async fn ended(self) {
        let what = format!("process {} ended", self.0);
        eventually(&what, async || self.has_ended()).await;
    }

    /// The command line it was started with.
    pub fn command_line(self) -> io::Result<Vec<String>> {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.0))?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.split_terminator('\0').map(str::to_owned).collect())
    }
}

/// Starts a command that ends with this process, whatever ends this process. When it ends earlier,
/// [`Pid::has_ended`] collects it.
///
/// # Errors
/// When it cannot be started.
pub fn spawn(command: &mut Command) -> io::Result<Pid> {
    // SAFETY: prctl is async-signal-safe and touches no memory.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        })
    };
    let child = command.spawn()?;
    Ok(Pid(child.id()))
}
