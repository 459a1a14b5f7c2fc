//! Filter patterns are read or refused, and matched with any event, in bounded time and depth.
#![no_main]

use libfuzzer_sys::fuzz_target;
use logs::filter_pattern::FilterPattern;

fuzz_target!(|input: (&str, &str)| {
    let (pattern, message) = input;
    if let Ok(pattern) = FilterPattern::parse(pattern) {
        let _ = pattern.matches(message);
    }
});
