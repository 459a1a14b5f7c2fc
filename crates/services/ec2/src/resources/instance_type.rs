//! Types of instances: those of the machines that registered themselves.

use base::{Region, Tag};
use wire::Fault;

use super::instance::DescribedInstance;
use super::value;
use crate::faults;
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeInstanceTypes",
    prefix: "",
    malformed: "InvalidInstanceType",
    not_found: "InvalidInstanceType",
    noun: "instance type",
    filters: &[
        ("instance-type", &[]),
        ("memory-info.size-in-mib", &[]),
        ("processor-info.supported-architecture", &[]),
        ("vcpu-info.default-vcpus", &[]),
    ],
    has_tags: false,
};

/// As DescribeInstanceTypeOfferings lists them.
pub(crate) const OFFERINGS: Kind = Kind {
    operation: "DescribeInstanceTypeOfferings",
    filters: &[("instance-type", &[]), ("location", &[])],
    ..KIND
};

/// A type, and what its machines registered.
pub(crate) struct InstanceType {
    pub(crate) name: String,
    cpus: i64,
    memory_mib: i64,
    architecture: Option<String>,
}

/// The types of instances, each once.
pub(crate) fn of(instances: &[DescribedInstance]) -> Vec<InstanceType> {
    let mut types: Vec<InstanceType> = Vec::new();
    for instance in instances {
        let Some(name) = instance.instance_type() else { continue };
        let (cpus, memory_mib) = instance.size();
        if !types.iter().any(|known| known.name == name) {
            types.push(InstanceType { name, cpus, memory_mib, architecture: instance.architecture() });
        }
    }
    types
}

/// Checks that there are machines of the types that a call names.
pub(crate) fn check_known(wanted: &[String], types: &[InstanceType]) -> Result<(), Fault> {
    let unknown = wanted.iter().filter(|name| !types.iter().any(|known| known.name == **name));
    let unknown: Vec<&str> = unknown.map(String::as_str).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let message = format!("The following supplied instance types do not exist: [{}]", unknown.join(", "));
    Err(Fault::new("InvalidInstanceType", message, 400))
}

impl Filterable for InstanceType {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "instance-type" => value(&self.name),
            "memory-info.size-in-mib" => value(self.memory_mib),
            "processor-info.supported-architecture" => self.architecture.iter().cloned().collect(),
            "vcpu-info.default-vcpus" => value(self.cpus),
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &[]
    }
}

impl Listed for InstanceType {
    fn id(&self) -> &str {
        &self.name
    }
}

/// The wire form.
pub(crate) fn describe(one: &InstanceType) -> api::ec2::InstanceTypeInfo {
    api::ec2::InstanceTypeInfo {
        instance_type: Some(one.name.clone()),
        memory_info: Some(api::ec2::MemoryInfo { size_in_mi_b: Some(one.memory_mib) }),
        processor_info: Some(api::ec2::ProcessorInfo {
            supported_architectures: Some(one.architecture.iter().cloned().collect()),
            ..Default::default()
        }),
        v_cpu_info: Some(api::ec2::VCpuInfo {
            default_v_cpus: i32::try_from(one.cpus).ok(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A type and a place where there are machines of it.
pub(crate) struct Offering {
    pub(crate) instance_type: String,
    pub(crate) location: String,
    id: String,
}

/// The offerings by region, zone or zone id.
pub(crate) fn offerings(
    instances: &[DescribedInstance],
    region: &Region,
    by: &str,
) -> Result<Vec<Offering>, Fault> {
    let mut offerings: Vec<Offering> = Vec::new();
    for instance in instances {
        let Some(instance_type) = instance.instance_type() else { continue };
        let location = match by {
            "region" => Some(region.to_string()),
            "availability-zone" => instance.zone().map(|zone| zone.name.clone()),
            "availability-zone-id" => instance.zone().map(|zone| zone.id.clone()),
            "outpost" => None,
            other => {
                let message = format!("Value ({other}) for parameter LocationType is invalid.");
                return Err(faults::invalid_value(message));
            }
        };
        let Some(location) = location else { continue };
        let id = format!("{instance_type} {location}");
        if !offerings.iter().any(|known| known.id == id) {
            offerings.push(Offering { instance_type, location, id });
        }
    }
    Ok(offerings)
}

impl Filterable for Offering {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "instance-type" => value(&self.instance_type),
            "location" => value(&self.location),
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &[]
    }
}

impl Listed for Offering {
    fn id(&self) -> &str {
        &self.id
    }
}
