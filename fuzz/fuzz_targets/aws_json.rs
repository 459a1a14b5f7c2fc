//! What awsJson reads, it writes so that it reads the same again.
#![no_main]

use api::ecs::RegisterTaskDefinitionRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(shape) = wire::json::from_str::<RegisterTaskDefinitionRequest>(text) {
        let written = wire::json::to_string(&shape);
        let again: RegisterTaskDefinitionRequest = wire::json::from_str(&written).expect("what we write we read");
        assert_eq!(wire::json::to_string(&again), written);
    }
});
