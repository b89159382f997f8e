//! What the disk itself does: the time of an fdatasync after a small write.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use hdrhistogram::Histogram;

/// The 99th percentile of fdatasync in microseconds, measured for a while on a file in the folder.
///
/// # Errors
/// When the file cannot be written.
pub fn fsync_p99_us(folder: &Path, duration: Duration) -> Result<f64> {
    let path = folder.join("fsync");
    let file = File::create(&path)?;
    let block = [7; 4096];
    // A file that exists already, as the log's do.
    for at in 0..256 {
        file.write_all_at(&block, at * 4096)?;
    }
    file.sync_all()?;
    let mut latencies = Histogram::<u64>::new(3)?;
    let end = Instant::now() + duration;
    for at in (0..256).cycle() {
        if Instant::now() > end {
            break;
        }
        let start = Instant::now();
        file.write_all_at(&block, at * 4096)?;
        file.sync_data()?;
        latencies.record(start.elapsed().as_nanos() as u64)?;
    }
    std::fs::remove_file(path)?;
    Ok(latencies.value_at_quantile(0.99) as f64 / 1e3)
}
