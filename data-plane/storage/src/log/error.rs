//! How the log can fail: when it is opened, and for good while it runs.

use std::io;

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Bytes that had been durable are not what was written. A person must look: the data of this node
    /// can be rebuilt from the other replicas.
    #[error("log file {file} is corrupted at byte {offset}: {what}")]
    Corrupted {
        /// The file's name in the log's folder.
        file: String,
        /// Where in the file the broken part begins.
        offset: u64,
        /// What was expected there.
        what: String,
    },
    /// A format that this build does not read.
    #[error("log file {file} has format {version}, this build reads up to {newest}")]
    Format {
        /// The file's name in the log's folder.
        file: String,
        /// The version in its header.
        version: u32,
        /// The newest version this build knows.
        newest: u32,
    },
    /// The disk refused.
    #[error("log cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the disk said.
        source: io::Error,
    },
}

impl LogError {
    pub(super) fn corrupted(file: &str, offset: u64, what: impl Into<String>) -> LogError {
        LogError::Corrupted {
            file: file.to_owned(),
            offset,
            what: what.into(),
        }
    }

    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> LogError {
        let doing = doing.into();
        |source| LogError::Io { doing, source }
    }
}

/// The error that ended a log: nothing is written after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log failed, it could not {doing}: {message}")]
pub struct LogFailure {
    doing: &'static str,
    kind: io::ErrorKind,
    message: String,
}

impl LogFailure {
    pub(super) fn new(doing: &'static str, error: &io::Error) -> LogFailure {
        LogFailure {
            doing,
            kind: error.kind(),
            message: error.to_string(),
        }
    }

    /// What was being done: `write a batch`, `sync a batch`, `start a segment`, `reuse a segment`.
    pub fn doing(&self) -> &'static str {
        self.doing
    }

    /// The kind of the error, `StorageFull` for a full disk.
    pub fn kind(&self) -> io::ErrorKind {
        self.kind
    }
}

impl From<&LogFailure> for io::Error {
    fn from(failure: &LogFailure) -> io::Error {
        io::Error::new(failure.kind, failure.clone())
    }
}
