//! What happened in a simulation, line by line, each with its simulated time.

use std::{fmt::Write as _, time::Duration};

/// Lines of text. The same seed writes the same bytes.
#[derive(Debug, Default)]
pub struct Trace {
    text: String,
}

impl Trace {
    /// Adds a line.
    pub fn line(&mut self, time: Duration, what: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{:>10.3} {what}", time.as_secs_f64() * 1_000.0);
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The last lines.
    pub fn tail(&self, lines: usize) -> &str {
        let text = self.text.trim_end();
        let starts = text.rmatch_indices('\n').map(|(at, _)| at + 1);
        &text[starts
            .take(lines)
            .last()
            .filter(|_| text.lines().count() > lines)
            .unwrap_or(0)..]
    }
}
