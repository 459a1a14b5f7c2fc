//! `cargo xtask bench NAME`: how fast and how small, against whom.
//!
//! Ours and a peer do the same work in turn (A B A B …), so that a noisy machine is noisy for both. Both series are
//! printed, with the ratio of each pair and the load average. Ratios count, absolute times do not; a ratio whose
//! spread spans 1 is called equal. A peer that is not installed is named and skipped, and the result says so.
//!
//! To add a benchmark: one file here with `pub const BENCH: Bench`, and a line in [`BENCHES`]. The bodies are built with
//! `--release --features bench`, which this command does by itself, so that the other xtask commands stay quick to build.

#[cfg(feature = "bench")]
mod agents;
#[cfg(feature = "bench")]
mod api_read;
#[cfg(feature = "bench")]
mod balancer;
#[cfg(feature = "bench")]
mod caller;
#[cfg(feature = "bench")]
mod compare;
#[cfg(feature = "bench")]
mod container_logs;
#[cfg(feature = "bench")]
mod deploy_under_load;
#[cfg(feature = "bench")]
mod dns;
#[cfg(feature = "bench")]
mod docker;
#[cfg(feature = "bench")]
mod durable_write;
#[cfg(feature = "bench")]
mod etcd;
#[cfg(feature = "bench")]
mod fan_out;
#[cfg(feature = "bench")]
mod first_instruction;
#[cfg(feature = "bench")]
mod logs;
#[cfg(feature = "bench")]
mod memory;
#[cfg(feature = "bench")]
mod placement;
#[cfg(feature = "bench")]
mod placement_durable;
#[cfg(feature = "bench")]
mod process;
#[cfg(feature = "bench")]
mod proportion;
#[cfg(feature = "bench")]
mod recovery;
#[cfg(feature = "bench")]
mod roadstead;
#[cfg(feature = "bench")]
mod rows;
#[cfg(feature = "bench")]
mod security_groups;
#[cfg(feature = "bench")]
mod target_swap;
#[cfg(feature = "bench")]
mod task_start;
#[cfg(feature = "bench")]
mod task_stop;

#[cfg(feature = "bench")]
pub use body::{Bench, Setup, run};
#[cfg(not(feature = "bench"))]
pub use launch::run;

/// Runs this command again, built as the benchmarks need it.
#[cfg(not(feature = "bench"))]
mod launch {
    use std::process::Command;

    /// `cargo xtask bench …`.
    pub fn run(arguments: &[&str]) -> Result<(), String> {
        // What is measured, and then what measures.
        cargo(&["build", "--quiet", "--release", "--package", "server"], &[], "the build failed")?;
        let words =
            ["run", "--quiet", "--release", "--package", "xtask", "--features", "bench", "--", "bench"];
        cargo(&words, arguments, "the benchmark failed")
    }

    fn cargo(words: &[&str], arguments: &[&str], failed: &str) -> Result<(), String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .current_dir(crate::root())
            .args(words)
            .args(arguments)
            .status()
            .map_err(|error| format!("cannot run cargo: {error}"))?;
        if status.success() { Ok(()) } else { Err(failed.to_owned()) }
    }
}

#[cfg(feature = "bench")]
mod body {
    use std::path::PathBuf;

    use super::{
        api_read, balancer, container_logs, deploy_under_load, dns, durable_write, fan_out,
        first_instruction, logs, memory, placement, placement_durable, proportion, recovery, security_groups,
        target_swap, task_start, task_stop,
    };

    /// Every benchmark.
    const BENCHES: &[Bench] = &[
        task_start::BENCH,
        first_instruction::BENCH,
        task_stop::BENCH,
        durable_write::BENCH,
        api_read::BENCH,
        logs::BENCH,
        container_logs::BENCH,
        memory::BENCH,
        recovery::BENCH,
        placement::BENCH,
        placement_durable::BENCH,
        fan_out::BENCH,
        proportion::BENCH,
        deploy_under_load::BENCH,
        balancer::BENCH,
        target_swap::BENCH,
        dns::BENCH,
        security_groups::BENCH,
    ];
    /// Pairs unless said otherwise.
    const PAIRS: usize = 5;

    /// One benchmark.
    #[derive(Clone, Copy)]
    pub struct Bench {
        /// What follows `cargo xtask bench`.
        pub name: &'static str,
        /// The work, in one line.
        pub about: &'static str,
        /// Does it and prints the result.
        pub run: fn(&Setup) -> Result<(), String>,
    }

    /// What a benchmark is told.
    pub struct Setup {
        /// How many times each side does the work.
        pub pairs: usize,
        /// A directory of its own, empty, on the disk that is measured. Removed afterwards.
        pub directory: PathBuf,
    }

    /// `cargo xtask bench …`.
    pub fn run(arguments: &[&str]) -> Result<(), String> {
        let (name, mut rest) = arguments.split_first().ok_or_else(usage)?;
        let bench = BENCHES.iter().find(|bench| bench.name == *name).ok_or_else(usage)?;
        let mut pairs = PAIRS;
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from);
        let mut parent = target.join("bench");
        while let [option, value, more @ ..] = rest {
            match *option {
                "--pairs" => pairs = value.parse().map_err(|_| usage())?,
                "--directory" => parent = PathBuf::from(value),
                _ => return Err(usage()),
            }
            rest = more;
        }
        if !rest.is_empty() || pairs == 0 {
            return Err(usage());
        }
        let directory = parent.join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        println!("{name}: {}", bench.about);
        let setup = Setup { pairs, directory };
        let done = (bench.run)(&setup);
        let removed = std::fs::remove_dir_all(&setup.directory);
        done?;
        removed.map_err(|error| format!("{}: {error}", setup.directory.display()))
    }

    fn usage() -> String {
        let mut usage = String::from("cargo xtask bench NAME [--pairs N] [--directory DIR]\n");
        for bench in BENCHES {
            usage.extend(["  ", bench.name, ": ", bench.about, "\n"]);
        }
        usage
    }
}
