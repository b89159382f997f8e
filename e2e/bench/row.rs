//! One line of the table: what a contender reached in a workload.

use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use highwater_e2e::report::LoadReport;
use serde::Serialize;

use crate::measure::Measured;

/// What was measured; what does not apply is absent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    /// The workload.
    pub workload: String,
    /// Who did it.
    pub contender: String,
    /// Messages or records per second.
    pub per_second: Option<f64>,
    /// Megabytes (10^6) of payload per second.
    pub megabytes_per_second: Option<f64>,
    /// Median latency in microseconds.
    pub p50_us: Option<f64>,
    /// 99th percentile of it.
    pub p99_us: Option<f64>,
    /// 99.9th percentile of it.
    pub p999_us: Option<f64>,
    /// CPU time of all servers per message, in microseconds.
    pub cpu_us_per_message: Option<f64>,
    /// Bytes written by all servers per byte of payload and replica.
    pub written_per_payload_byte: Option<f64>,
    /// Resident memory of all servers together, in mebibytes.
    pub resident_mib: Option<f64>,
    /// What the columns do not say.
    pub note: String,
    /// What must be reached, and whether it was.
    pub goal: Option<Goal>,
}

/// A figure of the requirements.
#[derive(Debug, Clone, Serialize)]
pub struct Goal {
    /// In words.
    pub what: String,
    /// Whether this run reached it.
    pub is_met: bool,
}

impl Row {
    /// A row with nothing but a note.
    pub fn note(workload: &str, contender: &str, note: impl Into<String>) -> Row {
        Row {
            workload: workload.to_owned(),
            contender: contender.to_owned(),
            note: note.into(),
            ..Row::default()
        }
    }

    /// A workload that could not be run.
    pub fn failed(workload: &str, error: &anyhow::Error) -> Row {
        Row::note(workload, "highwater", format!("failed: {error:#}"))
    }

    /// The row of a load that was measured, with payloads of so many bytes.
    pub fn of_load(
        workload: &str,
        contender: &str,
        measured: &Measured,
        payload_bytes: usize,
    ) -> Row {
        let LoadReport {
            messages,
            p50_us,
            p99_us,
            p999_us,
            ..
        } = measured.load;
        let rate = measured.load.rate();
        let bytes = messages as f64 * payload_bytes as f64;
        let replicas = measured.servers as f64;
        Row {
            per_second: Some(rate),
            megabytes_per_second: Some(rate * payload_bytes as f64 / 1e6),
            p50_us: Some(p50_us),
            p99_us: Some(p99_us),
            p999_us: Some(p999_us),
            cpu_us_per_message: Some(measured.usage.cpu_us / messages as f64),
            written_per_payload_byte: Some(measured.usage.written_bytes as f64 / bytes / replicas),
            resident_mib: Some(measured.usage.resident_bytes as f64 / f64::from(1 << 20)),
            ..Row::note(workload, contender, "")
        }
    }

    /// The same with a goal.
    pub fn with_goal(mut self, what: impl Into<String>, is_met: bool) -> Row {
        self.goal = Some(Goal {
            what: what.into(),
            is_met,
        });
        self
    }

    /// The same with a note.
    pub fn with_note(mut self, note: impl Into<String>) -> Row {
        self.note = note.into();
        self
    }

    fn cells(&self) -> Vec<String> {
        let number = |value: Option<f64>, digits: usize| match value {
            Some(value) => format!("{value:.digits$}"),
            None => String::new(),
        };
        let goal = self.goal.as_ref().map(|goal| {
            let sign = if goal.is_met { "✓" } else { "✗" };
            format!("{sign} {}", goal.what)
        });
        vec![
            self.workload.clone(),
            self.contender.clone(),
            number(self.per_second, 0),
            number(self.megabytes_per_second, 1),
            number(self.p50_us, 0),
            number(self.p99_us, 0),
            number(self.p999_us, 0),
            number(self.cpu_us_per_message, 2),
            number(self.written_per_payload_byte, 2),
            number(self.resident_mib, 0),
            self.note.clone(),
            goal.unwrap_or_default(),
        ]
    }
}

/// The whole table.
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "workload",
        "contender",
        "msgs/s",
        "MB/s",
        "p50 µs",
        "p99 µs",
        "p999 µs",
        "CPU µs/msg",
        "written/byte",
        "RSS MiB",
        "note",
        "goal",
    ]);
    for row in rows {
        table.add_row(row.cells());
    }
    table.to_string()
}
