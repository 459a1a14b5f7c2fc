//! One operation, one file.

mod create_tags;
mod delete_tags;
mod describe_account_attributes;
mod describe_availability_zones;
mod describe_network_interfaces;
mod describe_regions;
mod describe_security_group_rules;
mod describe_security_groups;
mod describe_subnets;
mod describe_tags;
mod describe_vpcs;
