//! The machine that was measured on, without its name.

use std::fs;
use std::time::Duration;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The load of the last minute. Other work on the machine makes every time longer.
pub(crate) fn load() -> f64 {
    read("/proc/loadavg").split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// What stands above the table.
pub(crate) fn describe(load_before: f64, took: Duration) -> String {
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("unknown CPU", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory: u64 = read("/proc/meminfo").split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores ({model}), {} GiB of memory, Linux {}; load of the machine before the run {load_before:.1}, the run took {} s.",
        memory.div_ceil(1024 * 1024),
        kernel.trim(),
        took.as_secs()
    )
}
