//! Namespaces: found, described, made and changed.

use api::servicediscovery::{
    self as wire_shapes, DnsProperties, HttpProperties, NamespaceAlreadyExists, NamespaceProperties, SOA,
    faults as modelled,
};
use base::{Ids, Scope, Timestamp};
use domain::{
    DiscoveryNamespace, DiscoveryNamespaceType, DiscoveryOperation, DiscoveryOperationStatus,
    DiscoveryOperationType, DnsName, HostedZone, HostedZoneVpc, LinkedService, RecordSetContent, RecordType,
    ResourceRecordSet, Vpc,
};
use store::rows_dns::{
    HOSTED_ZONES_BY_VPC, NewHostedZone, hosted_zone_key, record_set_key, remove_hosted_zone,
};
use store::rows_service_discovery::{NAMESPACES_BY_NAME, discovery_namespace_key};
use store::{Key, Snapshot, Transaction, Versioned};
use wire::Fault;

use super::{id, operation};
use crate::{Servicediscovery, faults};

/// Namespaces of an account in a region. Source: "AWS Cloud Map service quotas".
const NAMESPACES_MAXIMUM: usize = 50;
/// Seconds for which "no such name" may be kept, where the caller does not say: what Route 53's zones of AWS Cloud Map have.
pub(crate) const SOA_TTL_DEFAULT: u32 = 15;
/// Seconds for which an SOA record itself may be kept. Source: what Route 53 makes.
const SOA_RECORD_TTL: u32 = 900;
/// AWS's code for an operation that failed for want of a hosted zone.
const CANNOT_CREATE_HOSTED_ZONE: &str = "CANNOT_CREATE_HOSTED_ZONE";

/// The namespace with this id or ARN.
pub(crate) fn get(
    snapshot: &Snapshot,
    scope: &Scope,
    given: &str,
) -> Result<Versioned<DiscoveryNamespace>, Fault> {
    id::parse(scope, "namespace", given)
        .and_then(|id| snapshot.get(&discovery_namespace_key(scope, &id)))
        .ok_or_else(|| faults::no_namespace(given))
}

/// The namespaces with this name; several private ones in several VPCs may share it.
pub(crate) fn by_name(snapshot: &Snapshot, scope: &Scope, name: &str) -> Vec<Versioned<DiscoveryNamespace>> {
    let name = name.to_ascii_lowercase();
    let parts = [scope.account.as_str(), scope.region.as_str(), &name];
    snapshot.index(NAMESPACES_BY_NAME, &parts, None).collect()
}

fn properties(namespace: &DiscoveryNamespace) -> NamespaceProperties {
    let dns = DnsProperties {
        hosted_zone_id: namespace.hosted_zone.clone(),
        soa: Some(SOA { ttl: namespace.soa_ttl_seconds.map(i64::from) }),
    };
    NamespaceProperties {
        dns_properties: (namespace.namespace_type != DiscoveryNamespaceType::Http).then_some(dns),
        http_properties: Some(HttpProperties { http_name: Some(namespace.name.clone()) }),
    }
}

/// What GetNamespace shows.
pub(crate) fn describe(namespace: &DiscoveryNamespace) -> wire_shapes::Namespace {
    wire_shapes::Namespace {
        arn: Some(namespace.arn().to_string()),
        create_date: Some(namespace.created_at),
        creator_request_id: namespace.creator_request_id.clone(),
        description: namespace.description.clone(),
        id: Some(namespace.id.clone()),
        name: Some(namespace.name.clone()),
        properties: Some(properties(namespace)),
        resource_owner: Some(namespace.scope.account.to_string()),
        service_count: i32::try_from(namespace.service_count).ok(),
        type_: Some(namespace.namespace_type.to_string()),
    }
}

/// What ListNamespaces shows.
pub(crate) fn summarize(namespace: &DiscoveryNamespace) -> wire_shapes::NamespaceSummary {
    wire_shapes::NamespaceSummary {
        arn: Some(namespace.arn().to_string()),
        create_date: Some(namespace.created_at),
        description: namespace.description.clone(),
        id: Some(namespace.id.clone()),
        name: Some(namespace.name.clone()),
        properties: Some(properties(namespace)),
        resource_owner: Some(namespace.scope.account.to_string()),
        service_count: i32::try_from(namespace.service_count).ok(),
        type_: Some(namespace.namespace_type.to_string()),
    }
}

/// Reads a time to live of the model's range.
pub(crate) fn soa_ttl(given: Option<i64>) -> Result<u32, Fault> {
    let given = given.unwrap_or(i64::from(SOA_TTL_DEFAULT));
    u32::try_from(given).map_err(|_| faults::invalid("The TTL of the SOA record is out of range."))
}

/// A domain name: labels of 1 to 63 letters, digits, hyphens and underscores. Source: CreatePrivateDnsNamespace, `Name`,
/// and RFC 1035.
pub(crate) fn check_domain_name(name: &str) -> Result<(), Fault> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if name.split('.').all(is_label) {
        Ok(())
    } else {
        Err(faults::invalid(format!("{name} is not a valid domain name.")))
    }
}

/// The name of an HTTP namespace: 1 to 1,024 printable characters that are no ARN's. The model says so by a pattern that looks
/// ahead, which ours do not. Source: CreateHttpNamespace, `Name`.
pub(crate) fn check_http_name(name: &str) -> Result<(), Fault> {
    let is_name = (1..=1024).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic())
        && !name.starts_with("arn:");
    if is_name { Ok(()) } else { Err(faults::invalid(format!("{name} is not a valid name of a namespace."))) }
}

/// Whether a namespace that is there is in the way of `wish`.
fn is_in_the_way(there: &DiscoveryNamespace, wish: &DiscoveryNamespace) -> bool {
    let is_private =
        |namespace: &DiscoveryNamespace| namespace.namespace_type == DiscoveryNamespaceType::DnsPrivate;
    if is_private(there) && is_private(wish) { there.vpc == wish.vpc } else { !is_private(wish) }
}

fn already_exists(there: &DiscoveryNamespace) -> Fault {
    let message = format!("Namespace already exists: {}", there.name);
    let details = NamespaceAlreadyExists {
        creator_request_id: there.creator_request_id.clone(),
        message: Some(message.clone()),
        namespace_id: Some(there.id.clone()),
    };
    modelled::namespace_already_exists(message).with_details(details)
}

impl Servicediscovery {
    /// Makes the namespace and answers the operation's id.
    pub(crate) async fn create_namespace(&self, wish: DiscoveryNamespace) -> Result<String, Fault> {
        let make = operation::done(
            &*self.ids,
            &wish.scope,
            DiscoveryOperationType::CreateNamespace,
            wish.created_at,
        );
        let outcome = self.store.update(|snapshot| {
            let mut made = DiscoveryOperation { namespace: Some(wish.id.clone()), ..make.clone() };
            let named = by_name(snapshot, &wish.scope, &wish.name);
            if let Some(there) = named.iter().find(|there| is_in_the_way(there, &wish)) {
                let is_again = wish.creator_request_id.is_some()
                    && there.creator_request_id == wish.creator_request_id
                    && there.namespace_type == wish.namespace_type;
                let operation = there.made_by.clone().filter(|_| is_again);
                return operation
                    .map(|operation| (Transaction::new(), operation))
                    .ok_or_else(|| already_exists(there));
            }
            let everyone = Key::prefix(&wish.scope, &[]);
            if snapshot.scan::<DiscoveryNamespace>(everyone, None).count() >= NAMESPACES_MAXIMUM {
                return Err(modelled::resource_limit_exceeded(format!(
                    "The maximum number of namespaces is {NAMESPACES_MAXIMUM}."
                )));
            }
            let mut transaction = Transaction::new();
            match hosted_zone(snapshot, &wish, &*self.ids, &mut transaction) {
                Err(message) => {
                    made.status = DiscoveryOperationStatus::Fail;
                    made.error = Some((CANNOT_CREATE_HOSTED_ZONE.to_owned(), message));
                }
                Ok(hosted_zone) => {
                    let made_by = Some(made.id.clone());
                    transaction.insert(DiscoveryNamespace { hosted_zone, made_by, ..wish.clone() });
                }
            }
            let operation = made.id.clone();
            transaction.insert(made);
            Ok((transaction, operation))
        });
        outcome.await.map_err(faults::of_update)
    }

    /// Changes description and time to live of a namespace of this type, and answers the operation's id.
    pub(crate) async fn update_namespace(
        &self,
        (scope, now): (&Scope, Timestamp),
        given: &str,
        namespace_type: DiscoveryNamespaceType,
        (description, soa_ttl): (Option<String>, Option<i64>),
    ) -> Result<String, Fault> {
        let soa_ttl_seconds = soa_ttl.map(|ttl| self::soa_ttl(Some(ttl))).transpose()?;
        let made = operation::done(&*self.ids, scope, DiscoveryOperationType::UpdateNamespace, now);
        let outcome = self.store.update(|snapshot| {
            let namespace = get(snapshot, scope, given)?;
            if namespace.namespace_type != namespace_type {
                return Err(faults::invalid(format!(
                    "The namespace {} is of the type {}, not {namespace_type}.",
                    namespace.id, namespace.namespace_type
                )));
            }
            let mut next = DiscoveryNamespace::clone(&namespace);
            if let Some(description) = &description {
                next.description = Some(description.clone());
            }
            next.soa_ttl_seconds = soa_ttl_seconds.or(next.soa_ttl_seconds);
            let mut transaction = Transaction::new();
            transaction.insert(DiscoveryOperation { namespace: Some(next.id.clone()), ..made.clone() });
            if next.soa_ttl_seconds != namespace.soa_ttl_seconds {
                retime(snapshot, &next, &mut transaction);
            }
            transaction.replace(&namespace, next);
            Ok((transaction, made.id.clone()))
        });
        outcome.await.map_err(faults::of_update)
    }
}

/// Makes the hosted zone of a DNS namespace; the error is the operation's, in Route 53's words.
fn hosted_zone(
    snapshot: &Snapshot,
    wish: &DiscoveryNamespace,
    ids: &dyn Ids,
    transaction: &mut Transaction,
) -> Result<Option<String>, String> {
    if wish.namespace_type == DiscoveryNamespaceType::Http {
        return Ok(None);
    }
    let name = DnsName::parse(&wish.name).map_err(|error| error.to_string())?;
    let region = &wish.scope.region;
    if let Some(vpc) = &wish.vpc {
        if snapshot.get::<Vpc>(&Key::new(&wish.scope, &[vpc])).is_none() {
            return Err(format!("The VPC that you specified, {vpc}, does not exist in {region}."));
        }
        let mut taken = snapshot.index::<HostedZone>(HOSTED_ZONES_BY_VPC, &[vpc, name.as_str()], None);
        if taken.next().is_some() {
            return Err(format!(
                "The VPC that you chose, {vpc} in region {region}, is already associated with another private hosted zone that \
                 has an overlapping name space, {name}."
            ));
        }
    }
    let zone = NewHostedZone {
        account: &wish.scope.account,
        name,
        caller_reference: None,
        comment: None,
        vpc: wish.vpc.as_ref().map(|vpc| HostedZoneVpc { region: region.clone(), vpc: vpc.clone() }),
        linked_service: Some(LinkedService {
            principal: "servicediscovery.amazonaws.com".to_owned(),
            description: wish.arn().to_string(),
        }),
        negative_ttl_seconds: wish.soa_ttl_seconds.unwrap_or(SOA_TTL_DEFAULT),
        now: wish.created_at,
    };
    Ok(Some(zone.make(ids, transaction).id))
}

/// Carries a namespace's time to live into its zone's SOA record: the last number of it (RFC 2308).
fn retime(snapshot: &Snapshot, namespace: &DiscoveryNamespace, transaction: &mut Transaction) {
    let (Some(ttl), Some(id)) = (namespace.soa_ttl_seconds, &namespace.hosted_zone) else { return };
    let Ok(name) = DnsName::parse(&namespace.name) else { return };
    let soa = record_set_key(id, &name, RecordType::Soa, None);
    let Some(there) = snapshot.get::<ResourceRecordSet>(&soa) else { return };
    let mut next = ResourceRecordSet::clone(&there);
    if let RecordSetContent::Records { values, ttl_seconds } = &mut next.content {
        *ttl_seconds = ttl.min(SOA_RECORD_TTL);
        for value in values {
            if let Some((rest, _)) = value.rsplit_once(' ') {
                *value = format!("{rest} {ttl}");
            }
        }
    }
    transaction.replace(&there, next);
}

/// Removes a namespace's hosted zone with its records.
pub(crate) fn remove_zone(
    snapshot: &Snapshot,
    namespace: &DiscoveryNamespace,
    transaction: &mut Transaction,
) {
    let zone = namespace.hosted_zone.as_ref().and_then(|id| snapshot.get::<HostedZone>(&hosted_zone_key(id)));
    if let Some(zone) = zone {
        remove_hosted_zone(snapshot, &zone, transaction);
    }
}
