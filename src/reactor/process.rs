//! How this process stands, as the system tells it.
//!
//! A few reads under `/proc`, when somebody asks for the metrics. What the system does not tell is 0.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::shard::measure::Process;

/// Where Linux tells it.
const STATUS: &str = "/proc/self/status";
/// The open descriptors.
const FILES: &str = "/proc/self/fd";

/// Reads everything.
pub(super) fn read() -> Process {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(cpu.tv_nsec).unwrap_or(0);
    Process {
        resident_bytes: fs::read_to_string(STATUS).ok().and_then(|text| resident(&text)).unwrap_or(0),
        files: open_files().unwrap_or(0),
        files_max: getrlimit(Resource::Nofile).current.unwrap_or(0),
        cpu: Duration::new(u64::try_from(cpu.tv_sec).unwrap_or(0), nanos),
    }
}

/// `VmRSS:    12345 kB`, in bytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

/// Since 6.2, Linux tells the number of descriptors as the size of their folder; before that they are counted, at
/// about 0.2 µs each.
fn open_files() -> Option<u64> {
    match fs::metadata(FILES).ok()?.len() {
        0 => Some(fs::read_dir(FILES).ok()?.count() as u64),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_size_is_found_among_others() {
        assert_eq!(resident("VmHWM:\t90 kB\nVmRSS:\t  12 kB\n"), Some(12 * 1024));
        for other in ["", "VmRSS:", "VmRSS: many kB", "VmRSS: 18446744073709551615 kB"] {
            assert_eq!(resident(other), None, "{other}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_tells_all() {
        let process = read();
        assert!(process.resident_bytes > 1 << 20 && process.files > 0 && process.files_max >= process.files);
        assert!(process.cpu > Duration::ZERO);
    }
}
