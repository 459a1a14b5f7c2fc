//! Availability zones: three in every region.

use base::{Region, Tag};
use domain::{ZONE_LETTERS, zone_id_prefix};

use super::value;
use crate::filter::{FilterName, Filterable};

pub(crate) const FILTERS: &[FilterName] = &[
    ("group-long-name", &[]),
    ("group-name", &[]),
    ("message", &[]),
    ("opt-in-status", &[]),
    ("parent-zone-id", &[]),
    ("parent-zone-name", &[]),
    ("region-name", &[]),
    ("state", &[]),
    ("zone-id", &[]),
    ("zone-name", &[]),
    ("zone-type", &[]),
];

const OPT_IN_STATUS: &str = "opt-in-not-required";
const STATE: &str = "available";
const ZONE_TYPE: &str = "availability-zone";

/// A zone.
pub(crate) struct Zone {
    pub(crate) region: Region,
    pub(crate) name: String,
    pub(crate) id: String,
}

impl Zone {
    /// The group of a region's zones is all of them.
    fn group(&self) -> String {
        format!("{}-zg-1", self.region)
    }
}

/// The zones of a region.
pub(crate) fn all(region: &Region) -> Vec<Zone> {
    let zone = |(number, letter): (u32, char)| Zone {
        region: region.clone(),
        name: format!("{region}{letter}"),
        id: format!("{}-az{number}", zone_id_prefix(region)),
    };
    (1..).zip(ZONE_LETTERS).map(zone).collect()
}

impl Filterable for Zone {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "group-name" => value(self.group()),
            "opt-in-status" => value(OPT_IN_STATUS),
            "region-name" => value(&self.region),
            "state" => value(STATE),
            "zone-id" => value(&self.id),
            "zone-name" => value(&self.name),
            "zone-type" => value(ZONE_TYPE),
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &[]
    }
}

/// The wire form.
pub(crate) fn describe(zone: &Zone) -> api::ec2::AvailabilityZone {
    api::ec2::AvailabilityZone {
        group_name: Some(zone.group()),
        messages: Some(Vec::new()),
        network_border_group: Some(zone.region.to_string()),
        opt_in_status: Some(OPT_IN_STATUS.to_owned()),
        region_name: Some(zone.region.to_string()),
        state: Some(STATE.to_owned()),
        zone_id: Some(zone.id.clone()),
        zone_name: Some(zone.name.clone()),
        zone_type: Some(ZONE_TYPE.to_owned()),
        ..Default::default()
    }
}
