//! Floor 2: the nouns of the region and their legal moves. What a row holds is said here once; how it is stored is
//! `store`'s matter, what it looks like on the wire is the matter of each AWS service's `resources/`.
//!
//! Every struct here is a stored row or part of one: fields are only ever added with a serde default, so that a newer
//! binary reads an older one's rows.

#[macro_use]
mod words;
mod account_setting;
mod capacity_provider;
mod cluster;
mod container_instance;
mod daemon;
mod dns;
mod dns_name;
mod dns_value;
mod elastic_address;
mod express;
mod gateway;
mod key_pair;
mod launch_template;
mod load_balancing;
mod load_balancing_attributes;
mod load_balancing_zones;
mod log;
mod network_interface;
mod outbox;
mod prefix_list;
mod released_address;
mod route_table;
mod security_group;
mod service;
mod service_deployment;
mod service_discovery;
mod subnet;
mod target_quotas;
mod task;
mod task_definition;
mod task_set;
mod vpc;

pub use account_setting::{AccountSetting, SettingPrincipal};
pub use capacity_provider::{
    AssociationStatus, CapacityProvider, CapacityProviderAssociation, CapacityProviderStatus,
    CapacityProviderUpdateStatus, ManagedScaling, QueuedTask, auto_scaling_group_name,
};
pub use cluster::{CapacityProviderStrategyItem, Cluster, ClusterSetting, ClusterStatus};
pub use container_instance::{
    Allocation, Attribute, ContainerInstance, ContainerInstanceStatus, Ports, Resources, VersionInfo,
};
pub use daemon::{
    Daemon, DaemonDeployment, DaemonDeploymentStatus, DaemonGoal, DaemonPlace, DaemonRevision,
    DaemonRollback, DaemonStatus, DaemonTaskDefinition, DaemonTaskDefinitionFamily,
    DaemonTaskDefinitionStatus, GROUP_DAEMON, STARTED_BY_DAEMON,
};
pub use dns::{
    DnsChange, FailoverRole, HealthCheck, HealthCheckStatus, HealthCheckType, HostedZone, HostedZoneVpc,
    LinkedService, RecordSetContent, RecordType, ResourceRecordSet, RoutingPolicy,
};
pub use dns_name::{DnsName, DnsNameError};
pub use dns_value::{RecordValue, RecordValueError, SoaValue};
pub use elastic_address::ElasticAddress;
pub use express::{
    ExpressIngress, ExpressIngressReference, ExpressLoadBalancer, ExpressRevision, ExpressService,
    ManagedResourceStatus,
};
pub use gateway::{Gateway, GatewayClusterAssociation, GatewayClusterAssociationStatus, GatewayStatus};
pub use key_pair::{KeyPair, KeyPairType};
pub use launch_template::{LaunchTemplate, LaunchTemplateVersion};
pub use load_balancing::{
    Certificate, Listener, ListenerRule, LoadBalancer, LoadBalancerState, LoadBalancerSubnet,
    LoadBalancerType, RuleAction, RuleCondition, RuleValues, TargetDescription, TargetGroup,
    TargetGroupHealthCheck, TargetRegistration,
};
pub use load_balancing_attributes::{Attribute as LoadBalancingAttribute, AttributeValues, Attributed};
pub use log::{LogGroup, LogGroupClass, LogStream, RETENTION_DAYS};
pub use network_interface::{
    NetworkInterface, NetworkInterfaceAttachment, NetworkInterfaceStatus, NetworkInterfaceType,
    PublicAddress, TaskNetworkInterface, mac_address, private_dns_domain, private_dns_name,
};
pub use outbox::{OutboxMessage, OutboxOrder};
pub use prefix_list::{
    AddressFamily, PrefixList, PrefixListCidr, PrefixListEntry, PrefixListState, PrefixListVersion,
};
pub use released_address::{
    ADDRESS_QUARANTINE, PublicAddressPool, PublicAddressUse, ReleasedAddress, in_quarantine,
};
pub use route_table::{
    InternetGateway, NatGateway, NatGatewayState, Route, RouteDestination, RouteTable, RouteTableAssociation,
    RouteTarget,
};
pub use security_group::{
    SecurityGroup, SecurityGroupPeer, SecurityGroupRule, to_everyone, to_everyone_ipv6,
};
pub use service::{
    ContainerImage, DeploymentControllerType, RevisionConnect, RevisionInUse, RevisionStatus, RolloutState,
    STARTED_BY_SERVICE, SchedulingStrategy, Service, ServiceEvent, ServiceRevision, ServiceStatus,
};
pub use service_deployment::{
    HookRun, HookStatus, LifecycleStage, MonitorStatus, Rollback, ServiceDeployment, ServiceDeploymentStatus,
    SourceRevision,
};
pub use service_discovery::{
    AWS_ALIAS_DNS_NAME, AWS_EC2_INSTANCE_ID, AWS_INIT_HEALTH_STATUS, AWS_INSTANCE_CNAME, AWS_INSTANCE_IPV4,
    AWS_INSTANCE_IPV6, AWS_INSTANCE_PORT, DiscoveryAnswer, DiscoveryConnect, DiscoveryHealthCheck,
    DiscoveryInstance, DiscoveryNamespace, DiscoveryNamespaceType, DiscoveryOperation,
    DiscoveryOperationStatus, DiscoveryOperationType, DiscoveryRecordType, DiscoveryRoutingPolicy,
    DiscoveryService, DiscoveryServiceType, discovery_id, discovery_letters,
};
pub use subnet::{Subnet, next_free_address, next_free_ipv6_address};
pub use target_quotas::{
    LoadBalancerTargets, NewTarget, REGISTRATIONS_PER_TARGET, TARGETS_PER_APPLICATION_LOAD_BALANCER,
    TARGETS_PER_NETWORK_LOAD_BALANCER, TARGETS_PER_TARGET_GROUP, TARGETS_PER_ZONE_OF_NETWORK_LOAD_BALANCER,
    TargetCounts, TargetQuota,
};
pub use task::{
    Attachment, AwsVpcConfiguration, ClientTokenUse, Connectivity, DesiredStatus, ELASTIC_NETWORK_INTERFACE,
    HealthStatus, LaunchType, ManagedAgent, NetworkBinding, NetworkMode, RegistryState, StopCode,
    TargetState, Task, TaskContainer, TaskRegistry, TaskStatus, TaskTarget, TaskTimes,
};
pub use task_definition::{
    ContainerProjection, HostPort, TaskDefinition, TaskDefinitionFamily, TaskDefinitionProjection,
    TaskDefinitionStatus, TransportProtocol,
};
pub use task_set::{StabilityStatus, TaskSet, TaskSetStatus};
pub use vpc::{
    DefaultVpc, Ipv6CidrAssociation, NewDefaultVpc, NewVpc, Vpc, ZONE_LETTERS, default_subnet, default_vpc,
    new_vpc, zone_id_prefix,
};
pub use words::UnknownWord;
