//! The `roadstead` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A container's shim is this binary again: it must be told apart before anything starts a thread.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "internal-shim") {
        return engine::shim_main(arguments);
    }
    server::run()
}
