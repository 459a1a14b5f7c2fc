//! Reading what a cgroup uses.

use std::fs;
use std::path::Path;

use super::{Cgroup, Hierarchy};
use crate::status::Stats;

/// Limits above this mean "none": v1 writes the largest multiple of the page size that fits.
const UNLIMITED_BYTES: u64 = 1 << 60;

impl Cgroup {
    /// What it uses now. A file that is missing counts as zero: a controller may be absent, the cgroup just going away.
    pub(crate) fn stats(&self) -> Stats {
        match &self.hierarchy {
            Hierarchy::V1(_) => self.stats_v1(),
            Hierarchy::V2(mount_point) => stats_v2(&mount_point.join(&self.path)),
        }
    }

    /// How often the kernel killed a process of this cgroup for want of memory.
    pub(crate) fn out_of_memory_kills(&self) -> u64 {
        match &self.hierarchy {
            Hierarchy::V1(_) => self
                .directory("memory")
                .map_or(0, |directory| field(&text(&directory, "memory.oom_control"), "oom_kill")),
            Hierarchy::V2(mount_point) => {
                field(&text(&mount_point.join(&self.path), "memory.events"), "oom_kill")
            }
        }
    }

    fn stats_v1(&self) -> Stats {
        let of = |controller: &str, file: &str| {
            self.directory(controller).map_or_else(String::new, |directory| text(&directory, file))
        };
        // In ticks of 1/100 s (USER_HZ is 100 on every Linux we build for).
        let split = of("cpuacct", "cpuacct.stat");
        let memory = of("memory", "memory.stat");
        let io = of("blkio", "blkio.throttle.io_service_bytes");
        Stats {
            cpu_usage_nanoseconds: number(&of("cpuacct", "cpuacct.usage")),
            cpu_user_nanoseconds: field(&split, "user") * 10_000_000,
            cpu_system_nanoseconds: field(&split, "system") * 10_000_000,
            cpu_throttled_nanoseconds: field(&of("cpu", "cpu.stat"), "throttled_time"),
            memory_usage_bytes: number(&of("memory", "memory.usage_in_bytes")),
            memory_maximum_usage_bytes: Some(number(&of("memory", "memory.max_usage_in_bytes"))),
            memory_inactive_file_bytes: field(&memory, "total_inactive_file"),
            memory_limit_bytes: limit(number(&of("memory", "memory.limit_in_bytes"))),
            pids: number(&of("pids", "pids.current")),
            io_read_bytes: sum_third(&io, "Read"),
            io_write_bytes: sum_third(&io, "Write"),
            out_of_memory_kills: field(&of("memory", "memory.oom_control"), "oom_kill"),
        }
    }
}

fn stats_v2(directory: &Path) -> Stats {
    let cpu = text(directory, "cpu.stat");
    let io = text(directory, "io.stat");
    let sum = |key: &str| -> u64 {
        io.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum()
    };
    Stats {
        cpu_usage_nanoseconds: field(&cpu, "usage_usec") * 1000,
        cpu_user_nanoseconds: field(&cpu, "user_usec") * 1000,
        cpu_system_nanoseconds: field(&cpu, "system_usec") * 1000,
        cpu_throttled_nanoseconds: field(&cpu, "throttled_usec") * 1000,
        memory_usage_bytes: number(&text(directory, "memory.current")),
        memory_maximum_usage_bytes: text(directory, "memory.peak").trim().parse().ok(),
        memory_inactive_file_bytes: field(&text(directory, "memory.stat"), "inactive_file"),
        memory_limit_bytes: text(directory, "memory.max").trim().parse().ok().and_then(limit),
        pids: number(&text(directory, "pids.current")),
        io_read_bytes: sum("rbytes="),
        io_write_bytes: sum("wbytes="),
        out_of_memory_kills: field(&text(directory, "memory.events"), "oom_kill"),
    }
}

fn text(directory: &Path, file: &str) -> String {
    fs::read_to_string(directory.join(file)).unwrap_or_default()
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or_default()
}

/// The number behind `key` in lines of `key number`.
fn field(text: &str, key: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).map_or(0, number)
}

/// The sum over lines of `major:minor Operation number`.
fn sum_third(text: &str, operation: &str) -> u64 {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            (words.next()? == operation).then(|| words.next()?.parse::<u64>().ok())?
        })
        .sum()
}

fn limit(bytes: u64) -> Option<u64> {
    (bytes < UNLIMITED_BYTES).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_files_are_read() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field(text, "oom_kill"), 3);
        assert_eq!(field(text, "missing"), 0);
        assert_eq!(sum_third("8:0 Read 5\n8:0 Write 7\n8:16 Read 6\nTotal 18\n", "Read"), 11);
        assert_eq!(limit(9_223_372_036_854_771_712), None);
        assert_eq!(limit(1 << 20), Some(1 << 20));
    }
}
