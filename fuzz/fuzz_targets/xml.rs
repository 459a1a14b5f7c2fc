//! What restXml reads, it writes so that it reads the same again.
#![no_main]

use api::ec2::DescribeSecurityGroupsResult;
use libfuzzer_sys::fuzz_target;
use wire::protocol::xml;

fuzz_target!(|bytes: &[u8]| {
    let Ok(root) = xml::parse(bytes) else { return };
    let mut shape = DescribeSecurityGroupsResult::default();
    if xml::read_structure(&root, &mut shape).is_ok() {
        let mut written = String::new();
        xml::write_root(&mut written, "Root", None, &shape);
        let root = xml::parse(written.as_bytes()).expect("what we write is XML");
        let mut again = DescribeSecurityGroupsResult::default();
        xml::read_structure(&root, &mut again).expect("what we write we read");
        let mut rewritten = String::new();
        xml::write_root(&mut rewritten, "Root", None, &again);
        assert_eq!(rewritten, written);
    }
});
