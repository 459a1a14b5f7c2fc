//! The scenarios of `tests/scenarios` give the transcripts that stand in them.

use sim::scenario;

#[test]
fn scenarios_happen_as_written() {
    match scenario::run_all(&scenario::directory(), false) {
        Ok(count) => assert!(count > 0, "there is no scenario"),
        Err(wrong) => panic!("{wrong}if this is right: cargo xtask sim --bless"),
    }
}
