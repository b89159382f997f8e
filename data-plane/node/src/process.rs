//! What the operating system says about this process, as metrics read at each scrape.

use std::fs;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

/// Adds CPU time, memory and open files of the process.
pub fn register_metrics(registry: &mut Registry) {
    registry.register_collector(Box::new(Process));
}

#[derive(Debug)]
struct Process;

/// A look at `/proc/self`. All zero where there is no such thing.
#[derive(Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
}

impl Usage {
    /// As it is now.
    pub fn read() -> Usage {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let (cpu_seconds, resident_bytes) = parse_stat(&stat).unwrap_or_default();
        Usage {
            cpu_seconds,
            resident_bytes,
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64),
        }
    }
}

/// CPU seconds and resident bytes out of proc_pid_stat(5). Linux has counted in hundredths of a
/// second towards user space, whatever its own tick, since 2.6.
fn parse_stat(stat: &str) -> Option<(f64, u64)> {
    // The command's name, in parentheses, may hold anything; what follows is numbers.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)?;
    let page_bytes = rustix::param::page_size() as u64;
    Some((ticks as f64 / 100.0, number(21)? * page_bytes))
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let usage = Usage::read();
        let cpu = ConstCounter::new(usage.cpu_seconds);
        let to = encoder.encode_descriptor(
            "highwater_process_cpu",
            "User and system CPU time.",
            Some(&Unit::Seconds),
            cpu.metric_type(),
        )?;
        cpu.encode(to)?;
        let resident = ConstGauge::new(usage.resident_bytes as i64);
        let to = encoder.encode_descriptor(
            "highwater_process_resident_memory",
            "Resident memory.",
            Some(&Unit::Bytes),
            resident.metric_type(),
        )?;
        resident.encode(to)?;
        let files = ConstGauge::new(usage.open_files as i64);
        let to = encoder.encode_descriptor(
            "highwater_process_open_files",
            "Open file descriptors.",
            None,
            files.metric_type(),
        )?;
        files.encode(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_spaces_and_parentheses_is_read() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 17 18 19 20 2 22";
        let (cpu, resident) = parse_stat(stat).unwrap();
        assert_eq!(cpu, 2.0);
        assert_eq!(resident, 2 * rustix::param::page_size() as u64);
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_files() {
        let usage = Usage::read();
        assert!(usage.resident_bytes > 0 && usage.open_files > 0);
    }
}
