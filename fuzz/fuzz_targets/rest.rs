//! Paths against URI templates, and timestamps in all their forms.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::protocol::{timestamp, uri};
use wire::schema::TimestampFormat;

fuzz_target!(|input: (&str, &str, &str)| {
    let (path, query, text) = input;
    for template in ["/", "/{a}", "/{a}/b/{c+}", "/x/{a+}/y?q=1&r", "//{a}/"] {
        let _ = uri::matches(template, path, query);
    }
    for format in [TimestampFormat::Iso8601, TimestampFormat::Rfc822, TimestampFormat::UnixTimestamp] {
        if let Some(moment) = timestamp::read(text, format) {
            let _ = timestamp::write(moment, format);
        }
    }
    let _ = timestamp::read_basic(text);
});
