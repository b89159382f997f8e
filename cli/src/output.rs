//! The only place that writes to stdout.
#![allow(clippy::print_stdout)]

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

/// What results look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One line of JSON for each result
    Json,
}

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    format: Format,
}

impl Output {
    /// Results in this format.
    pub fn new(format: Format) -> Output {
        Output { format }
    }

    /// Whether results are JSON.
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Whether a person sees the results as they come.
    pub fn is_terminal(self) -> bool {
        io::stdout().is_terminal()
    }

    /// One result: its JSON, or its text.
    pub fn result(
        self,
        json: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        let mut line = match self.format {
            Format::Json => serde_json::to_string(json)?,
            Format::Text => text(),
        };
        if !line.ends_with('\n') {
            line.push('\n');
        }
        self.bytes(line.as_bytes())
    }

    /// Bytes as they are.
    pub fn bytes(self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            // Whoever read the output has seen enough, as in `highwater sub … | head -1`.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            other => Ok(other?),
        }
    }
}
