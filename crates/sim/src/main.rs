//! `sim`: what `cargo xtask sim` runs.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use sim::chaos::{self, Plan};
use sim::scenario;

/// Runs worlds that grow from seeds, until a law breaks.
#[derive(Parser)]
#[command(name = "sim")]
struct Arguments {
    /// How many worlds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first one's seed; the others follow it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Simulated minutes of load and faults; without it each world has half a one, as in the continuous integration.
    #[arg(long)]
    minutes: Option<u64>,
    /// Simulated hours of load and faults, both rarer.
    #[arg(long)]
    hours: Option<u64>,
    /// Print the transcript of every world, as far as it is kept.
    #[arg(long)]
    print: bool,
    /// Run the scenarios of `tests/scenarios` instead.
    #[arg(long)]
    scenarios: bool,
    /// Write what happens into the scenarios.
    #[arg(long)]
    bless: bool,
    /// Run every world twice and compare the transcripts.
    #[arg(long)]
    twice: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.scenarios || arguments.bless {
        return match scenario::run_all(&scenario::directory(), arguments.bless) {
            Ok(count) => {
                println!("{count} scenarios");
                ExitCode::SUCCESS
            }
            Err(wrong) => {
                println!("{wrong}");
                ExitCode::FAILURE
            }
        };
    }
    let plan = match (arguments.hours, arguments.minutes) {
        (Some(hours), _) => Plan { trouble: Duration::from_secs(hours * 3600), ..Plan::LONG },
        (None, Some(minutes)) => Plan { trouble: Duration::from_secs(minutes * 60), ..Plan::MEDIUM },
        (None, None) => Plan::SHORT,
    };
    let began = Instant::now();
    let mut done = 0_u64;
    if arguments.twice {
        return twice(&arguments, &plan);
    }
    let result = chaos::run_seeds(arguments.seed, arguments.seeds, &plan, |outcome| {
        done += 1;
        if arguments.print {
            for line in outcome.transcript.lines() {
                println!("{line}");
            }
        }
        let (lines, digest) = outcome.transcript.fingerprint();
        if arguments.hours.is_some() || done.is_multiple_of(100) {
            println!("seed {}: {lines} lines, digest {digest:016x}, {:?}", outcome.seed, began.elapsed());
        }
    });
    match result {
        Ok(()) => {
            println!("{done} worlds kept the laws, in {:?}", began.elapsed());
            ExitCode::SUCCESS
        }
        Err(outcome) => {
            let time = match (arguments.hours, arguments.minutes) {
                (Some(hours), _) => format!(" --hours {hours}"),
                (None, Some(minutes)) => format!(" --minutes {minutes}"),
                (None, None) => String::new(),
            };
            println!("{}", outcome.report(&time));
            ExitCode::FAILURE
        }
    }
}

fn twice(arguments: &Arguments, plan: &Plan) -> ExitCode {
    for seed in arguments.seed..arguments.seed + arguments.seeds {
        if let Some((one, two)) = chaos::difference(seed, plan) {
            println!("seed {seed} does not repeat:\n  {one}\n  {two}");
            return ExitCode::FAILURE;
        }
    }
    println!("{} worlds repeat", arguments.seeds);
    ExitCode::SUCCESS
}
