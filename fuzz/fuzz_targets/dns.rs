//! Names and values of records, as people write them, are read or refused, and read again as they are written; what comes over
//! the wire is a question or gets a reply.
#![no_main]

use domain::{DnsName, RecordType, RecordValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, u8, &[u8])| {
    let (text, record_type, bytes) = input;
    if let Ok(name) = DnsName::parse(text) {
        assert_eq!(DnsName::parse(name.as_str()).as_ref(), Ok(&name));
        let labels: Vec<Vec<u8>> = name.labels().collect();
        assert_eq!(DnsName::from_labels(labels.iter().map(Vec::as_slice)), Ok(name));
    }
    let record_type = RecordType::ALL[usize::from(record_type) % RecordType::ALL.len()];
    if let Ok(value) = RecordValue::parse(record_type, text) {
        let written = value.to_string();
        // Escapes may make a text longer than a value may be.
        if written.len() <= 4000 {
            assert_eq!(RecordValue::parse(record_type, &written), Ok(value));
        }
    }
    let _ = dns::read_question(bytes);
});
