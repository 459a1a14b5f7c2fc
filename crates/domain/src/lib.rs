//! Floor 2: the nouns of the region and their legal moves. What a row holds is said here once; how it is stored is
//! `store`'s matter, what it looks like on the wire is the matter of each AWS service's `resources/`.
//!
//! Every struct here is a stored row or part of one: fields are only ever added with a serde default, so that a newer
//! binary reads an older one's rows.

#[macro_use]
mod words;
mod account_setting;
mod cluster;
mod container_instance;
mod identity;
mod log;
mod outbox;
mod task;
mod task_definition;
mod vpc;

pub use account_setting::{AccountSetting, SettingPrincipal};
pub use cluster::{CapacityProviderStrategyItem, Cluster, ClusterSetting, ClusterStatus};
pub use container_instance::{
    Allocation, Attribute, ContainerInstance, ContainerInstanceStatus, Ports, Resources, VersionInfo,
};
pub use identity::AccessKey;
pub use log::{LogGroup, LogGroupClass, LogStream, RETENTION_DAYS};
pub use outbox::{OutboxMessage, OutboxOrder};
pub use task::{
    Attachment, AwsVpcConfiguration, ClientTokenUse, Connectivity, DesiredStatus, ELASTIC_NETWORK_INTERFACE,
    HealthStatus, LaunchType, ManagedAgent, NetworkBinding, NetworkMode, StopCode, Task, TaskContainer,
    TaskStatus, TaskTimes,
};
pub use task_definition::{
    ContainerProjection, HostPort, TaskDefinition, TaskDefinitionFamily, TaskDefinitionProjection,
    TaskDefinitionStatus, TransportProtocol,
};

pub use vpc::{
    DefaultVpc, NetworkInterface, NetworkInterfaceAttachment, NetworkInterfaceStatus, SecurityGroup,
    SecurityGroupPeer, SecurityGroupRule, Subnet, TaskNetworkInterface, Vpc, ZONE_LETTERS, default_vpc,
    next_free_address, private_dns_name, zone_id_prefix,
};
pub use words::UnknownWord;
