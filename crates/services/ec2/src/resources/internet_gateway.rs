//! Internet gateways.

use std::sync::Arc;

use base::{Scope, Tag};
use domain::InternetGateway;
use store::{Key, Snapshot};

use super::{tag, value};
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeInternetGateways",
    prefix: "igw-",
    malformed: "InvalidInternetGatewayId.Malformed",
    not_found: "InvalidInternetGatewayID.NotFound",
    noun: "internetGateway ID",
    filters: &[
        ("attachment.state", &[]),
        ("attachment.vpc-id", &[]),
        ("internet-gateway-id", &[]),
        ("owner-id", &[]),
    ],
    has_tags: true,
};

impl Filterable for Arc<InternetGateway> {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "attachment.state" => self.vpc.iter().map(|_| "available".to_owned()).collect(),
            "attachment.vpc-id" => self.vpc.iter().cloned().collect(),
            "internet-gateway-id" => value(&self.id),
            "owner-id" => value(&self.scope.account),
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &self.tags
    }
}

impl Listed for Arc<InternetGateway> {
    fn id(&self) -> &str {
        &self.id
    }
}

/// All gateways of a scope.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<Arc<InternetGateway>> {
    snapshot.scan::<InternetGateway>(Key::prefix(scope, &[]), None).map(|row| row.value).collect()
}

/// The wire form.
pub(crate) fn describe(gateway: &InternetGateway) -> api::ec2::InternetGateway {
    let attachment = |vpc: &String| api::ec2::InternetGatewayAttachment {
        state: Some("available".to_owned()),
        vpc_id: Some(vpc.clone()),
    };
    api::ec2::InternetGateway {
        attachments: Some(gateway.vpc.iter().map(attachment).collect()),
        internet_gateway_id: Some(gateway.id.clone()),
        owner_id: Some(gateway.scope.account.to_string()),
        tags: Some(tag::describe(&gateway.tags).unwrap_or_default()),
    }
}
