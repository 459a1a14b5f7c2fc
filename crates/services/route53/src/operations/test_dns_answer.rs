//! Tells what a hosted zone answers to a question. AWS: TestDNSAnswer.
//!
//! Differs from AWS: the resolver and the client's subnet do not change the answer: all places are this machine.

use api::route53::operations::TestDNSAnswer;
use api::route53::{TestDNSAnswerRequest, TestDNSAnswerResponse};
use dns::{Asker, Lookup, View};
use domain::{DnsName, RecordType};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::zone;
use crate::{Route53, faults};

impl Operation<TestDNSAnswer> for Route53 {
    fn permissions(&self, _call: &Call, _input: &TestDNSAnswerRequest) -> Vec<Permission> {
        vec![Permission::new("route53:TestDNSAnswer", "*")]
    }

    async fn handle(&self, call: &Call, input: TestDNSAnswerRequest) -> Result<TestDNSAnswerResponse, Fault> {
        let snapshot = self.store.snapshot();
        let row = zone::find(&snapshot, call, &input.hosted_zone_id.unwrap_or_default())?;
        let text = input.record_name.unwrap_or_default();
        let name = DnsName::parse(&text)
            .map_err(|_| faults::invalid(format!("{text} is not a valid domain name")))?;
        if !name.is_within(&row.name) {
            return Err(faults::invalid(format!("{name} is not within the hosted zone {}", row.name)));
        }
        let type_text = input.record_type.unwrap_or_default();
        let record_type: RecordType =
            type_text.parse().map_err(|_| faults::unsupported(&format!("The record type '{type_text}'")))?;

        let vpc = row.vpcs.first().map(|vpc| vpc.vpc.clone());
        let asker = Asker::Host { scope: call.scope.clone(), vpc };
        let mut random = [0; 8];
        self.ids.fill(&mut random);
        let view = View { snapshot: &snapshot, asker: &asker, chance: u64::from_ne_bytes(random) };
        let found = dns::look_up_in(&view, row.value.clone(), &name, Some(record_type));
        let (code, data) = match found {
            Lookup::Records(records) => {
                ("NOERROR", records.iter().map(|(_, value)| value.to_string()).collect())
            }
            Lookup::Cname(_, target) => ("NOERROR", vec![target.to_string()]),
            Lookup::NoRecords(_) | Lookup::NotHere => ("NOERROR", Vec::new()),
            Lookup::NoSuchName(_) => ("NXDOMAIN", Vec::new()),
        };

        Ok(TestDNSAnswerResponse {
            nameserver: row.name_servers.first().map(|name| name.as_str().trim_end_matches('.').to_owned()),
            protocol: Some("UDP".to_owned()),
            record_data: Some(data),
            record_name: Some(name.as_str().trim_end_matches('.').to_owned()),
            record_type: Some(type_text),
            response_code: Some(code.to_owned()),
        })
    }
}
