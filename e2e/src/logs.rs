//! Log files of the processes under test: a warning nobody expected fails the test.

use std::{fs, path::Path};

/// The lines at level WARN or ERROR that contain none of the allowed texts.
pub fn unexpected<'a>(log: &'a str, allowed: &[&str]) -> Vec<&'a str> {
    log.lines()
        .filter(|line| is_warning(line) && !allowed.iter().any(|text| line.contains(text)))
        .collect()
}

/// The last lines of a log, for the report of a failed test.
pub fn tail(path: &Path, lines: usize) -> String {
    let log = fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = log.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Whether a line is a warning, an error or a panic, in JSON or in text.
fn is_warning(line: &str) -> bool {
    let level = serde_json::from_str::<serde_json::Value>(line)
        .ok()
        .and_then(|json| json["level"].as_str().map(str::to_uppercase));
    match level {
        Some(level) => level == "WARN" || level == "ERROR",
        None => {
            line.contains("panicked at")
                || line
                    .split_whitespace()
                    .take(3)
                    .any(|word| word == "WARN" || word == "ERROR")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unlisted_warnings_are_reported() {
        let log = r#"{"level":"INFO","fields":{"message":"fine"}}
{"level":"WARN","fields":{"message":"peer is gone"}}
{"level":"ERROR","fields":{"message":"disk is bad"}}
2026-11-21T06:00:00Z  WARN text form
thread 'main' panicked at src/main.rs
2026-11-21T06:00:00Z  INFO an ERROR later in the line"#;
        let found = unexpected(log, &["peer is gone"]);
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
