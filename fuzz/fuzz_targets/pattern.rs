//! Patterns of listener rules match what a slow and simple reading of them matches, and take no time that grows out of bounds.
#![no_main]

use balancer::pattern::Pattern;
use libfuzzer_sys::fuzz_target;

fn slow(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|skip| slow(rest, &text[skip..])),
        [b'?', rest @ ..] => !text.is_empty() && slow(rest, &text[1..]),
        [b'\\', wanted @ (b'*' | b'?' | b'\\'), rest @ ..] | [wanted, rest @ ..] => {
            text.first() == Some(wanted) && slow(rest, &text[1..])
        }
    }
}

fuzz_target!(|input: (&str, &str)| {
    let (pattern, text) = input;
    let found = Pattern::new(pattern).matches(text);
    let folded = Pattern::ignoring_case(pattern).matches(text);
    // The slow reading takes exponential time.
    if pattern.len() <= 8 && text.len() <= 12 && text.is_ascii() && pattern.is_ascii() {
        assert_eq!(found, slow(pattern.as_bytes(), text.as_bytes()), "{pattern:?} {text:?}");
        let lower = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
        assert_eq!(folded, slow(lower.0.as_bytes(), lower.1.as_bytes()), "{pattern:?} {text:?}");
    }
    if let Some(regex) = Pattern::regex(pattern, false) {
        let _ = regex.matches(text);
    }
});
