//! What processes have used so far, from `/proc`: CPU time, bytes written, resident memory.

use std::{fs, ops::Sub};

use anyhow::{Context, Result};

use crate::process::Pid;

/// The use of one process, or the sum over several.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// User and system time, in microseconds.
    pub cpu_us: f64,
    /// Bytes sent to the storage layer (`write_bytes` of proc(5)).
    pub written_bytes: u64,
    /// Resident memory now, in bytes.
    pub resident_bytes: u64,
}

impl Usage {
    /// The sum over some processes.
    ///
    /// # Errors
    /// When one of them has ended.
    pub fn of(processes: &[Pid]) -> Result<Usage> {
        processes.iter().try_fold(Usage::default(), |sum, pid| {
            let one = Usage::of_one(*pid)
                .with_context(|| format!("reading what process {} uses", pid.0))?;
            Ok(Usage {
                cpu_us: sum.cpu_us + one.cpu_us,
                written_bytes: sum.written_bytes + one.written_bytes,
                resident_bytes: sum.resident_bytes + one.resident_bytes,
            })
        })
    }

    fn of_one(pid: Pid) -> Result<Usage> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.0))?;
        let (_, fields) = stat.rsplit_once(") ").context("stat has a name")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        // Fields 14 and 15 of proc(5), counted from the third.
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        // SAFETY: sysconf only returns a number.
        let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;

        let io = fs::read_to_string(format!("/proc/{}/io", pid.0))?;
        let status = fs::read_to_string(format!("/proc/{}/status", pid.0))?;
        Ok(Usage {
            cpu_us: ticks as f64 / ticks_per_second * 1e6,
            written_bytes: number_after(&io, "write_bytes:")?,
            resident_bytes: number_after(&status, "VmRSS:")? * 1024,
        })
    }
}

impl Sub for Usage {
    type Output = Usage;

    /// What was used since an earlier moment; memory stays what it is now.
    fn sub(self, earlier: Usage) -> Usage {
        Usage {
            cpu_us: self.cpu_us - earlier.cpu_us,
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            resident_bytes: self.resident_bytes,
        }
    }
}

fn number_after(text: &str, label: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number
        .with_context(|| format!("no {label}"))?
        .parse()
        .context("not a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::of(&[Pid(std::process::id())]).unwrap();
        assert!(usage.resident_bytes > 100_000);
    }
}
