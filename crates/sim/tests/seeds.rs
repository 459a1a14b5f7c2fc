//! Worlds by the hundred.

use std::time::Duration;

use sim::chaos::{self, Plan};

#[test]
fn the_same_seed_gives_the_same_transcript() {
    for seed in 1..=10 {
        assert_eq!(chaos::difference(seed, &Plan::SHORT), None, "seed {seed}");
    }
}

/// 500 worlds in the continuous integration. More by hand: `cargo xtask sim --seeds 100000 --release`.
#[test]
fn seeds_keep_the_laws() {
    if let Err(outcome) = chaos::run_seeds(1, 500, &Plan::SHORT, |_| {}) {
        panic!("{}", outcome.report(""));
    }
}

/// Hours of load and faults, and the same again: a failing seed replays. All of the 72 hours is for
/// `cargo xtask sim --hours 72 --seeds 1000 --release`, and for the test below.
#[test]
fn f38_hours_of_random_faults() {
    let plan = Plan { trouble: Duration::from_secs(3 * 3600), ..Plan::LONG };
    let [one, two] = [(); 2].map(|()| chaos::run(38, &plan));
    assert!(one.failure.is_none(), "{}", one.report(" --hours 3"));
    assert_eq!(one.transcript.fingerprint(), two.transcript.fingerprint());
}

#[test]
#[ignore = "three days take minutes: run it with --ignored"]
fn f38_three_days_of_random_faults() {
    let outcome = chaos::run(38, &Plan::LONG);
    assert!(outcome.failure.is_none(), "{}", outcome.report(" --hours 72"));
}
