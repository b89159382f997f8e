//! The seam between the log and the machine: a folder of files, real or made to fail.
//!
//! Everything the log does to a disk goes through [`Disk`] and [`File`]. There are two of them:
//! [`real::RealDisk`] is the operating system, [`fault::FaultDisk`] is memory that loses power,
//! tears writes and refuses syncs on request. Both are synchronous, so that a simulation decides
//! what happens when.
//!
//! What a caller may rely on after a crash, and no more than that:
//! - bytes of a file that were there when [`File::sync_data`] returned,
//! - names as they were when [`Disk::sync_dir`] returned, and after that a prefix of the changes
//!   made since, in the order they were made (what a journalling file system gives).

pub mod fault;
pub mod real;

use std::{io, time::Duration};

/// One flat folder of files.
pub trait Disk: Send + Sync {
    /// The names of all files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file of `bytes` bytes, all zero, with its room on the disk taken already.
    /// Fails if the name is in use.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn File>>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Removes a name. Open handles stay readable.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, replacing what had that name. Open handles follow the file.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Returns once every `create`, `remove` and `rename` so far survives a crash.
    fn sync_dir(&self) -> io::Result<()>;

    /// How long the next [`File::sync_data`] is to take. Only a simulation says something here: in it nothing
    /// can block, so the log waits this long, in simulated time, before it calls.
    fn sync_latency(&self) -> Duration {
        Duration::ZERO
    }
}

/// An open file. All positions are in bytes from its beginning.
pub trait File: Send + Sync {
    /// Writes all of `bytes` at `offset`, growing the file if need be. Not durable before the next
    /// [`File::sync_data`]; until then any subset of its sectors may survive a crash.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Fills all of `bytes` from `offset`, or fails with `UnexpectedEof`.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Returns once everything written so far survives a crash. After an error nothing is known
    /// about what was written since the last success, and asking again does not help: the kernel
    /// has marked those pages clean (<https://wiki.postgresql.org/wiki/Fsync_Errors>).
    fn sync_data(&self) -> io::Result<()>;

    /// The file's length.
    fn bytes(&self) -> io::Result<u64>;

    /// Cuts or grows (with zeros) the file to `bytes`.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// Drops what the operating system remembers of the file and is not waiting to be written, so
    /// that the next read tells what the disk holds. Recovery needs this after a failed sync of an
    /// earlier process. Best effort.
    fn forget_cached(&self) -> io::Result<()>;
}
