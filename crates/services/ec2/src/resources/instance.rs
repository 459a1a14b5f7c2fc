//! Instances: the machines that registered as container instances and say that they are EC2 instances.

use std::sync::Arc;

use base::{Scope, Tag};
use domain::ContainerInstance;
use store::{Key, Snapshot};
use wire::Fault;

use super::zone::{self, Zone};
use super::{tag, value};
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

/// CPU units of one CPU, as ECS counts.
const CPU_UNITS: i64 = 1024;
/// The code of the state `running`. Source: InstanceState.
const RUNNING: i32 = 16;

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeInstances",
    prefix: "i-",
    malformed: "InvalidInstanceID.Malformed",
    not_found: "InvalidInstanceID.NotFound",
    noun: "instance ID",
    filters: &[
        ("architecture", &[]),
        ("availability-zone", &[]),
        ("availability-zone-id", &[]),
        ("image-id", &[]),
        ("instance-id", &[]),
        ("instance-state-code", &[]),
        ("instance-state-name", &[]),
        ("instance-type", &[]),
        ("launch-time", &[]),
        ("owner-id", &[]),
        ("private-ip-address", &[]),
        ("subnet-id", &[]),
        ("vpc-id", &[]),
    ],
    has_tags: true,
};

/// As DescribeInstanceStatus lists them.
pub(crate) const STATUS: Kind = Kind {
    operation: "DescribeInstanceStatus",
    filters: &[
        ("availability-zone", &[]),
        ("availability-zone-id", &[]),
        ("instance-state-code", &[]),
        ("instance-state-name", &[]),
        ("instance-status.reachability", &[]),
        ("instance-status.status", &[]),
        ("system-status.reachability", &[]),
        ("system-status.status", &[]),
    ],
    has_tags: false,
    ..KIND
};

/// A machine and the zone that it says it is in.
pub(crate) struct DescribedInstance {
    row: Arc<ContainerInstance>,
    zone: Option<Zone>,
}

/// All instances of a scope. One that is registered in several clusters is one instance.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<DescribedInstance> {
    let mut all: Vec<DescribedInstance> = Vec::new();
    for row in snapshot.scan::<ContainerInstance>(Key::prefix(scope, &[]), None) {
        let id = &row.ec2_instance_id;
        if id.starts_with(KIND.prefix) && !all.iter().any(|known| known.row.ec2_instance_id == *id) {
            let named = attribute(&row, "ecs.availability-zone");
            let zone = zone::all(&scope.region).into_iter().find(|zone| Some(&zone.name) == named.as_ref());
            all.push(DescribedInstance { row: row.value, zone });
        }
    }
    all
}

/// The instance of an id.
pub(crate) fn find(snapshot: &Snapshot, scope: &Scope, id: &str) -> Result<DescribedInstance, Fault> {
    KIND.check_id(id)?;
    let found = all(snapshot, scope).into_iter().find(|instance| instance.id() == id);
    found.ok_or_else(|| KIND.not_found(id))
}

fn attribute(row: &ContainerInstance, name: &str) -> Option<String> {
    row.attribute(name).flatten().map(str::to_owned)
}

impl DescribedInstance {
    /// What it says that it is.
    pub(crate) fn instance_type(&self) -> Option<String> {
        attribute(&self.row, "ecs.instance-type")
    }

    /// CPUs and MiB of memory that it registered.
    pub(crate) fn size(&self) -> (i64, i64) {
        (self.row.registered.cpu_units / CPU_UNITS, self.row.registered.memory_mib)
    }

    pub(crate) fn architecture(&self) -> Option<String> {
        attribute(&self.row, "ecs.cpu-architecture")
    }

    pub(crate) fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    /// Of a machine whose agent is silent nothing is known.
    fn reachability(&self) -> (&'static str, &'static str) {
        if self.row.agent_connected { ("ok", "passed") } else { ("insufficient-data", "insufficient-data") }
    }
}

impl Filterable for DescribedInstance {
    fn filter_values(&self, name: &str) -> Vec<String> {
        let (status, reachability) = self.reachability();
        match name {
            "architecture" => self.architecture().into_iter().collect(),
            "availability-zone" => self.zone.iter().map(|zone| zone.name.clone()).collect(),
            "availability-zone-id" => self.zone.iter().map(|zone| zone.id.clone()).collect(),
            "image-id" => attribute(&self.row, "ecs.ami-id").into_iter().collect(),
            "instance-id" => value(&self.row.ec2_instance_id),
            "instance-state-code" => value(RUNNING),
            "instance-state-name" => value("running"),
            "instance-status.reachability" | "system-status.reachability" => value(reachability),
            "instance-status.status" | "system-status.status" => value(status),
            "instance-type" => self.instance_type().into_iter().collect(),
            "launch-time" => value(self.row.registered_at.to_string()),
            "owner-id" => value(&self.row.scope.account),
            // The machine's own addresses are none of a VPC's.
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &self.row.tags
    }
}

impl Listed for DescribedInstance {
    // Not the container instance's id.
    #[allow(clippy::misnamed_getters)]
    fn id(&self) -> &str {
        &self.row.ec2_instance_id
    }
}

fn state() -> api::ec2::InstanceState {
    api::ec2::InstanceState { code: Some(RUNNING), name: Some("running".to_owned()) }
}

/// The wire form: a reservation of its own for each.
pub(crate) fn describe(instance: &DescribedInstance) -> api::ec2::Reservation {
    let row = &instance.row;
    let id = &row.ec2_instance_id;
    let wire = api::ec2::Instance {
        architecture: instance.architecture(),
        image_id: attribute(row, "ecs.ami-id"),
        instance_id: Some(id.clone()),
        instance_type: instance.instance_type(),
        launch_time: Some(row.registered_at),
        monitoring: Some(api::ec2::Monitoring { state: Some("disabled".to_owned()), ..Default::default() }),
        placement: Some(api::ec2::Placement {
            availability_zone: instance.zone.as_ref().map(|zone| zone.name.clone()),
            availability_zone_id: instance.zone.as_ref().map(|zone| zone.id.clone()),
            tenancy: Some("default".to_owned()),
            ..Default::default()
        }),
        state: Some(state()),
        tags: tag::describe(&row.tags),
        ..Default::default()
    };
    api::ec2::Reservation {
        instances: Some(vec![wire]),
        owner_id: Some(row.scope.account.to_string()),
        reservation_id: Some(id.replacen(KIND.prefix, "r-", 1)),
        ..Default::default()
    }
}

/// The wire form of DescribeInstanceStatus.
pub(crate) fn describe_status(instance: &DescribedInstance) -> api::ec2::InstanceStatus {
    let (status, reachability) = instance.reachability();
    let summary = || api::ec2::InstanceStatusSummary {
        details: Some(vec![api::ec2::InstanceStatusDetails {
            name: Some("reachability".to_owned()),
            status: Some(reachability.to_owned()),
            ..Default::default()
        }]),
        status: Some(status.to_owned()),
    };
    api::ec2::InstanceStatus {
        availability_zone: instance.zone.as_ref().map(|zone| zone.name.clone()),
        availability_zone_id: instance.zone.as_ref().map(|zone| zone.id.clone()),
        instance_id: Some(instance.row.ec2_instance_id.clone()),
        instance_state: Some(state()),
        instance_status: Some(summary()),
        system_status: Some(summary()),
        ..Default::default()
    }
}
