//! The Auto Scaling groups that capacity providers scale.
//!
//! No service of Auto Scaling stands behind this yet. The default, [`StandingGroups`], takes as a group the machines that say
//! that they belong to it: it neither grows nor shrinks, and a capacity provider that would want more of it says so
//! in its `updateStatusReason`.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use domain::{CapacityProvider, ContainerInstance};
use scheduler::capacity_provider::{Group, Lifecycle};
use store::{Key, Snapshot};

/// An instance of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInstance {
    /// EC2's or the machine's id.
    pub ec2_instance_id: String,
    /// Where it stands.
    pub lifecycle: Lifecycle,
    /// Whether it is protected from scale in.
    pub protected: bool,
}

/// A group as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AutoScalingGroup {
    /// Bounds and wish.
    pub group: Group,
    /// In a stable order.
    pub instances: Vec<GroupInstance>,
}

/// Who has the groups. Every method may be called again with the same wish.
pub trait AutoScalingGroups: Send + Sync + 'static {
    /// The provider's group, as far as it is for the cluster; `None` if there is no such group.
    fn describe(
        &self,
        snapshot: &Snapshot,
        provider: &CapacityProvider,
        cluster: &str,
    ) -> Option<AutoScalingGroup>;

    /// Wishes for so many instances.
    fn set_desired_capacity(&self, provider: &CapacityProvider, desired: u32);

    /// Protects an instance from scale in, or no longer.
    fn protect(&self, provider: &CapacityProvider, ec2_instance_id: &str, protected: bool);

    /// Gives leave to end an instance that is in [`Lifecycle::TerminatingWait`].
    fn complete_termination(&self, provider: &CapacityProvider, ec2_instance_id: &str);
}

/// Groups of machines that joined as their members, as they stand.
#[derive(Debug, Default)]
pub struct StandingGroups {
    /// Instances that are protected: nobody would end them anyway.
    protected: Mutex<BTreeSet<String>>,
}

impl AutoScalingGroups for StandingGroups {
    fn describe(
        &self,
        snapshot: &Snapshot,
        provider: &CapacityProvider,
        cluster: &str,
    ) -> Option<AutoScalingGroup> {
        let protected = self.protected.lock().unwrap_or_else(PoisonError::into_inner);
        let instances: Vec<GroupInstance> = snapshot
            .scan::<ContainerInstance>(Key::prefix(&provider.scope, &[cluster]), None)
            .filter(|instance| {
                ecs::container_instance::is_registered(instance)
                    && instance.capacity_provider.as_deref() == Some(&provider.name)
            })
            .map(|instance| GroupInstance {
                ec2_instance_id: instance.ec2_instance_id.clone(),
                lifecycle: Lifecycle::InService,
                protected: protected.contains(&instance.ec2_instance_id),
            })
            .collect();
        let size = u32::try_from(instances.len()).unwrap_or(u32::MAX);
        Some(AutoScalingGroup { group: Group { minimum: size, maximum: size, desired: size }, instances })
    }

    fn set_desired_capacity(&self, provider: &CapacityProvider, desired: u32) {
        // Minimum and maximum are what there is, so that nothing else is ever wished for.
        tracing::debug!(provider = provider.name, desired, "a standing group keeps its size");
    }

    fn protect(&self, _provider: &CapacityProvider, ec2_instance_id: &str, is_protected: bool) {
        let mut protected = self.protected.lock().unwrap_or_else(PoisonError::into_inner);
        if is_protected {
            protected.insert(ec2_instance_id.to_owned());
        } else {
            protected.remove(ec2_instance_id);
        }
    }

    fn complete_termination(&self, _provider: &CapacityProvider, ec2_instance_id: &str) {
        tracing::debug!(ec2_instance_id, "an instance of a standing group does not end");
    }
}
