//! How many open files a container can be given: a default must never be more, or no container would start.

use std::fs;

/// CAP_SYS_RESOURCE, which lets a process raise its hard limits. Source: capabilities(7), `linux/capability.h`.
const CAP_SYS_RESOURCE: u32 = 24;

/// The highest limit that this process can give: its own hard limit, or the kernel's where it may raise its own. Some
/// virtual machines and containers run their root user without that right.
pub fn attainable() -> i64 {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    from_texts(&read("/proc/self/status"), &read("/proc/self/limits"), &read("/proc/sys/fs/nr_open"))
}

fn from_texts(status: &str, limits: &str, maximum: &str) -> i64 {
    let capabilities = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default();
    let hard = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .and_then(|line| line.split_ascii_whitespace().nth(4)?.parse().ok());
    let maximum = maximum.trim().parse().ok();
    let may_raise = capabilities & (1 << CAP_SYS_RESOURCE) != 0;
    if may_raise { maximum } else { hard }.unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "Limit   Soft Limit  Hard Limit  Units\nMax open files            1024                 20000                files     \n";

    #[test]
    fn without_the_right_to_raise_it_the_hard_limit_counts() {
        assert_eq!(from_texts("CapEff:\t000001fffeffffff\n", LIMITS, "1048576\n"), 20_000);
        assert_eq!(from_texts("CapEff:\t000001ffffffffff\n", LIMITS, "1048576\n"), 1_048_576);
        assert_eq!(from_texts("", "", ""), i64::MAX);
    }
}
