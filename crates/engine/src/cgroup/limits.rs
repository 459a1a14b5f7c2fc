//! Writing [`Resources`] into a cgroup.

use std::fs;
use std::io;
use std::path::Path;

use super::{Cgroup, Hierarchy, named};
use crate::specification::Resources;

/// The least and the most that cpu.shares takes (the kernel clamps too, but v2's conversion must not overflow).
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

impl Cgroup {
    /// Sets what is given; absent values stay as they are.
    pub(crate) fn apply(&self, resources: &Resources) -> io::Result<()> {
        match &self.hierarchy {
            Hierarchy::V1(_) => self.apply_v1(resources),
            Hierarchy::V2(mount_point) => apply_v2(&mount_point.join(&self.path), resources),
        }
    }

    /// Whether the kernel limits swap by cgroup.
    pub(crate) fn counts_swap(&self) -> bool {
        let file = match &self.hierarchy {
            Hierarchy::V1(_) => "memory.memsw.limit_in_bytes",
            Hierarchy::V2(_) => "memory.swap.max",
        };
        self.directory("memory").is_some_and(|directory| directory.join(file).exists())
    }

    fn apply_v1(&self, resources: &Resources) -> io::Result<()> {
        let set = |controller: &str, file: &str, value: String| -> io::Result<()> {
            let directory = self.directory(controller).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("the cgroup controller {controller} is not mounted"),
                )
            })?;
            write(&directory.join(file), &value)
        };
        if let Some(shares) = resources.cpu_shares {
            set("cpu", "cpu.shares", shares.clamp(*SHARES.start(), *SHARES.end()).to_string())?;
        }
        if let Some(period) = resources.cpu_period_microseconds {
            set("cpu", "cpu.cfs_period_us", period.to_string())?;
        }
        if let Some(quota) = resources.cpu_quota_microseconds {
            set("cpu", "cpu.cfs_quota_us", if quota <= 0 { -1 } else { quota }.to_string())?;
        }
        if let Some(cpus) = &resources.cpuset_cpus {
            set("cpuset", "cpuset.cpus", cpus.clone())?;
        }
        if let Some(limit) = resources.memory_bytes {
            let memory_and_swap = memory_and_swap_bytes(limit, resources.memory_swap_bytes);
            let with_swap = self.counts_swap();
            // The limit may never stand above the one with swap: raising begins with the latter, lowering with the former.
            let first = set("memory", "memory.limit_in_bytes", limit.to_string());
            if with_swap {
                set(
                    "memory",
                    "memory.memsw.limit_in_bytes",
                    memory_and_swap.map_or(-1, |bytes| bytes as i64).to_string(),
                )?;
            }
            if first.is_err() {
                set("memory", "memory.limit_in_bytes", limit.to_string())?;
            }
        }
        if let Some(reservation) = resources.memory_reservation_bytes {
            set("memory", "memory.soft_limit_in_bytes", reservation.to_string())?;
        }
        if let Some(swappiness) = resources.memory_swappiness {
            set("memory", "memory.swappiness", swappiness.min(100).to_string())?;
        }
        if let Some(limit) = resources.pids_limit {
            set("pids", "pids.max", pids_text(limit))?;
        }
        Ok(())
    }
}

fn apply_v2(directory: &Path, resources: &Resources) -> io::Result<()> {
    let set = |file: &str, value: String| write(&directory.join(file), &value);
    if let Some(shares) = resources.cpu_shares {
        set("cpu.weight", weight_of_shares(shares).to_string())?;
    }
    if resources.cpu_quota_microseconds.is_some() || resources.cpu_period_microseconds.is_some() {
        let quota = match resources.cpu_quota_microseconds {
            Some(quota) if quota > 0 => quota.to_string(),
            _ => "max".to_owned(),
        };
        set("cpu.max", format!("{quota} {}", resources.cpu_period_microseconds.unwrap_or(100_000)))?;
    }
    if let Some(cpus) = &resources.cpuset_cpus {
        set("cpuset.cpus", cpus.clone())?;
    }
    if let Some(limit) = resources.memory_bytes {
        set("memory.max", limit.to_string())?;
        // v2 counts swap alone. A kernel without swap accounting has no such file, and then there is nothing to limit.
        if directory.join("memory.swap.max").exists() {
            let swap = memory_and_swap_bytes(limit, resources.memory_swap_bytes)
                .map_or_else(|| "max".to_owned(), |total| total.saturating_sub(limit).to_string());
            set("memory.swap.max", swap)?;
        }
    }
    if let Some(reservation) = resources.memory_reservation_bytes {
        set("memory.low", reservation.to_string())?;
    }
    if let Some(limit) = resources.pids_limit {
        set("pids.max", pids_text(limit))?;
    }
    Ok(())
}

/// Docker's MemorySwap: absent or 0 is twice the memory, -1 is no bound (None).
fn memory_and_swap_bytes(limit: u64, memory_swap: Option<i64>) -> Option<u64> {
    match memory_swap {
        None | Some(0) => Some(limit.saturating_mul(2)),
        Some(total) if total < 0 => None,
        Some(total) => Some((total as u64).max(limit)),
    }
}

/// cpu.shares (2 to 262,144) on the scale of cpu.weight (1 to 10,000), as the OCI runtimes convert it: linear.
fn weight_of_shares(shares: u64) -> u64 {
    let shares = shares.clamp(*SHARES.start(), *SHARES.end());
    1 + (shares - SHARES.start()) * 9999 / (SHARES.end() - SHARES.start())
}

fn pids_text(limit: u64) -> String {
    if limit == 0 { "max".to_owned() } else { limit.to_string() }
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    named(file, fs::write(file, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_memory_swap_is_the_total() {
        assert_eq!(memory_and_swap_bytes(100, None), Some(200));
        assert_eq!(memory_and_swap_bytes(100, Some(0)), Some(200));
        assert_eq!(memory_and_swap_bytes(100, Some(-1)), None);
        assert_eq!(memory_and_swap_bytes(100, Some(150)), Some(150));
        assert_eq!(memory_and_swap_bytes(100, Some(50)), Some(100));
    }

    #[test]
    fn shares_become_weights() {
        assert_eq!(weight_of_shares(0), 1);
        assert_eq!(weight_of_shares(2), 1);
        assert_eq!(weight_of_shares(1024), 39);
        assert_eq!(weight_of_shares(262_144), 10_000);
        assert_eq!(weight_of_shares(u64::MAX), 10_000);
    }
}
