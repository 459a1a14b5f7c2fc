//! The program that the tests with a real engine run as shim. Not part of the product.

use std::process::ExitCode;

fn main() -> ExitCode {
    engine::shim_main(std::env::args_os().skip(2))
}
