//! Between names and values of rows and those of messages.

use domain::{DnsName, RecordType, RecordValue, SoaValue};
use hickory_proto::rr::rdata::{A, AAAA, CAA, CNAME, MX, NS, NULL, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType as WireType};

use crate::look_up::Authority;

/// The number of the type SPF, which has no name in hickory. Source: RFC 7208, section 3.1.
const SPF: u16 = 99;

/// A name of a message as rows have it.
pub(crate) fn dns_name(name: &Name) -> Option<DnsName> {
    DnsName::from_labels(name.iter()).ok()
}

/// A name of a row as messages have it.
pub(crate) fn wire_name(name: &DnsName) -> Option<Name> {
    let labels: Vec<Vec<u8>> = name.labels().collect();
    Name::from_labels(labels.iter().map(Vec::as_slice)).ok()
}

/// The type as rows have it; `None` where no record can have it here.
pub(crate) fn record_type(wire: WireType) -> Option<RecordType> {
    Some(match wire {
        WireType::A => RecordType::A,
        WireType::AAAA => RecordType::Aaaa,
        WireType::CAA => RecordType::Caa,
        WireType::CNAME => RecordType::Cname,
        WireType::MX => RecordType::Mx,
        WireType::NS => RecordType::Ns,
        WireType::PTR => RecordType::Ptr,
        WireType::SOA => RecordType::Soa,
        WireType::SRV => RecordType::Srv,
        WireType::TXT => RecordType::Txt,
        WireType::Unknown(SPF) => RecordType::Spf,
        _ => return None,
    })
}

/// A record; `None` where a name in it cannot be sent.
pub(crate) fn record(
    owner: &Name,
    record_type: Option<RecordType>,
    ttl_seconds: u32,
    value: &RecordValue,
) -> Option<Record> {
    let data = match value {
        RecordValue::A(address) => RData::A(A(*address)),
        RecordValue::Aaaa(address) => RData::AAAA(AAAA(*address)),
        RecordValue::Name(target) => {
            let target = wire_name(target)?;
            match record_type {
                Some(RecordType::Ns) => RData::NS(NS(target)),
                Some(RecordType::Ptr) => RData::PTR(PTR(target)),
                _ => RData::CNAME(CNAME(target)),
            }
        }
        RecordValue::Mx { preference, exchange } => RData::MX(MX::new(*preference, wire_name(exchange)?)),
        RecordValue::Srv { priority, weight, port, target } => {
            RData::SRV(SRV::new(*priority, *weight, *port, wire_name(target)?))
        }
        RecordValue::Soa(value) => soa(value)?,
        RecordValue::Txt(strings) if record_type == Some(RecordType::Spf) => {
            let bytes = strings.iter().flat_map(|string| {
                std::iter::once(u8::try_from(string.len()).unwrap_or(u8::MAX)).chain(string.iter().copied())
            });
            RData::Unknown { code: WireType::Unknown(SPF), rdata: NULL::with(bytes.collect()) }
        }
        RecordValue::Txt(strings) => RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect())),
        RecordValue::Caa { flags, tag, value } => RData::CAA(caa(*flags, tag, value)),
    };
    Some(Record::from_rdata(owner.clone(), ttl_seconds, data))
}

/// The SOA record behind an answer that has found nothing.
pub(crate) fn authority(authority: &Authority) -> Option<Record> {
    Some(Record::from_rdata(wire_name(&authority.zone)?, authority.ttl_seconds, soa(&authority.value)?))
}

fn soa(value: &SoaValue) -> Option<RData> {
    let seconds = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    Some(RData::SOA(SOA::new(
        wire_name(&value.primary)?,
        wire_name(&value.responsible)?,
        value.serial,
        seconds(value.refresh),
        seconds(value.retry),
        seconds(value.expire),
        value.minimum,
    )))
}

fn caa(flags: u8, tag: &str, value: &[u8]) -> CAA {
    const CRITICAL: u8 = 0b1000_0000;
    let mut record = CAA::new_issue(flags & CRITICAL != 0, None, Vec::new());
    record.reserved_flags = flags & !CRITICAL;
    tag.clone_into(&mut record.tag);
    record.value = value.to_vec();
    record
}
