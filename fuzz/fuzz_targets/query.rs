//! Forms of awsQuery and ec2Query, and the validation of what they say.
#![no_main]

use api::ec2::DescribeSecurityGroupsRequest;
use libfuzzer_sys::fuzz_target;
use wire::protocol::query::{self, Dialect};

fuzz_target!(|bytes: &[u8]| {
    for dialect in [Dialect::Aws, Dialect::Ec2] {
        let mut shape = DescribeSecurityGroupsRequest::default();
        if query::read("", bytes, dialect, &mut shape).is_ok() {
            let _ = wire::validate::check(&api::ec2::SERVICE, &shape);
        }
    }
});
