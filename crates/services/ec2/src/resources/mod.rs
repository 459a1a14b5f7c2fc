//! One file a noun: its filters, and what it looks like on the wire.

use base::Arn;
use wire::Call;

pub(crate) mod dhcp_options;
pub(crate) mod elastic_address;
pub(crate) mod instance;
pub(crate) mod instance_type;
pub(crate) mod internet_gateway;
pub(crate) mod key_pair;
pub(crate) mod launch_template;
pub(crate) mod nat_gateway;
pub(crate) mod network_acl;
pub(crate) mod network_interface;
pub(crate) mod nothing;
pub(crate) mod permission;
pub(crate) mod prefix_list;
pub(crate) mod route_table;
pub(crate) mod security_group;
pub(crate) mod security_group_rule;
pub(crate) mod subnet;
pub(crate) mod tag;
pub(crate) mod vpc;
pub(crate) mod zone;

/// One value, or none.
pub(crate) fn value(text: impl ToString) -> Vec<String> {
    vec![text.to_string()]
}

/// The ARN that a call needs permission for; `*` where it does not name the resource by its id.
pub(crate) fn resource_arn(call: &Call, noun: &str, id: Option<&str>) -> String {
    id.map_or_else(|| "*".to_owned(), |id| Arn::new("ec2", &call.scope, format!("{noun}/{id}")).to_string())
}
