//! Expressions of the cluster query language are read or refused, in bounded time and depth, and read again as they were written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scheduler::cluster_query_language::Expression;

fuzz_target!(|text: &str| {
    if let Ok(expression) = Expression::parse(text) {
        let _ = expression.depends_on_tasks();
        assert!(Expression::parse(expression.text()).is_ok());
    }
});
