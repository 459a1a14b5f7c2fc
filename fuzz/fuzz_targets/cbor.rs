//! What rpcv2Cbor reads, it writes so that it reads the same again.
#![no_main]

use api::ecs::RegisterTaskDefinitionRequest;
use libfuzzer_sys::fuzz_target;
use wire::protocol::cbor;

fuzz_target!(|bytes: &[u8]| {
    let mut shape = RegisterTaskDefinitionRequest::default();
    if cbor::read(bytes, &mut shape).is_ok() {
        let written = cbor::write(&shape);
        let mut again = RegisterTaskDefinitionRequest::default();
        cbor::read(&written, &mut again).expect("what we write we read");
        assert_eq!(cbor::write(&again), written);
    }
});
