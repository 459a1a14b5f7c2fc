//! Registers a machine, or registers it again. AWS: RegisterContainerInstance.
//!
//! Differs from AWS: the identity document's signature is not verified (there is nobody who could have signed it); who may
//! register is a matter of the caller's access key. The attributes `roadstead.…` are our agent's way to say what the
//! API has no member for; each is kept and shown as it was sent.

use api::ecs::operations::RegisterContainerInstance;
use api::ecs::{RegisterContainerInstanceRequest, RegisterContainerInstanceResponse};
use domain::{Attribute, ContainerInstance, ContainerInstanceStatus, Resources, VersionInfo};
use store::rows::CONTAINER_INSTANCES_BY_EC2_INSTANCE;
use store::{Snapshot, Transaction, Versioned};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::container_instance::{
    self, AVAILABILITY_ZONE_ATTRIBUTE, FARGATE_CAPACITY_ATTRIBUTE, OVER_COMMIT_ATTRIBUTE,
};
use crate::resources::{attribute, capacity_provider, cluster, daemon, node, tag};
use crate::{Ecs, faults};

/// Bytes of an identity document. Ours: EC2's have about 500.
const IDENTITY_DOCUMENT_BYTES: usize = 16 * 1024;
/// The most that a machine may be over-committed, in percent. Ours.
const OVER_COMMIT_PERCENT: i64 = 1000;

impl Operation<RegisterContainerInstance> for Ecs {
    fn permissions(&self, call: &Call, input: &RegisterContainerInstanceRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:RegisterContainerInstance", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: RegisterContainerInstanceRequest,
    ) -> Result<RegisterContainerInstanceResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let known_id = match input.container_instance_arn.as_deref().filter(|arn| !arn.is_empty()) {
            None => None,
            Some(arn) => Some(container_instance::id(call, &name, arn)?),
        };
        let registered = container_instance::parse_resources(
            input.total_resources.unwrap_or_default(),
            input.platform_devices.unwrap_or_default(),
        )?;
        let sent = attributes(input.attributes.as_deref().unwrap_or_default())?;
        let identity = identity(input.instance_identity_document.as_deref().unwrap_or_default())?;
        let tags = tag::parse(input.tags)?;
        let version_info = input.version_info.map(|given| VersionInfo {
            agent_version: given.agent_version,
            agent_hash: given.agent_hash,
            docker_version: given.docker_version,
        });
        let over_commit_percent = over_commit(&sent)?;
        // Drawn once: the closure below may run again.
        let (new_id, made_up) = (self.ids.hex(32), format!("mi-{}", self.ids.hex(17)));

        let update = self.store.update(|snapshot| {
            let cluster = cluster::get(snapshot, &call.scope, &name)?;
            let there = find(snapshot, call, &name, known_id.as_deref(), identity.instance_id.as_deref())?;
            let there = of_node(snapshot, call, &name, there)?;
            let mut instance = registered_instance(
                call,
                &name,
                there.as_ref(),
                &Registration {
                    registered: &registered,
                    sent: &sent,
                    identity: &identity,
                    new_id: &new_id,
                    made_up: &made_up,
                    over_commit_percent,
                },
            );
            instance.capacity_provider = container_instance::group(&instance)
                .and_then(|group| capacity_provider::of_instance(snapshot, &call.scope, &name, group));
            if let Some(version_info) = &version_info {
                instance.version_info = version_info.clone();
            }
            if there.is_none() && daemon::holds_back(snapshot, &instance) {
                // No task before the critical daemons run: their loop makes the instance ACTIVE.
                instance.status = domain::ContainerInstanceStatus::Registering;
            }
            if there.is_none() || !tags.is_empty() {
                instance.tags.clone_from(&tags);
            }
            let mut transaction = Transaction::new();
            container_instance::touch_allocation(snapshot, &mut transaction, &instance);
            match &there {
                Some(there) => transaction.replace(there, instance.clone()),
                None => {
                    // So that the cluster is not deleted meanwhile: its deletion then starts over.
                    transaction.replace(&cluster, domain::Cluster::clone(&cluster));
                    transaction.insert(instance.clone())
                }
            };
            Ok((transaction, instance))
        });
        let instance = update.await.map_err(faults::of_update)?;

        let described = container_instance::describe(&self.store.snapshot(), &instance, true, false);
        Ok(RegisterContainerInstanceResponse { container_instance: Some(described) })
    }
}

struct Registration<'a> {
    registered: &'a Resources,
    sent: &'a [Attribute],
    identity: &'a Identity,
    new_id: &'a str,
    made_up: &'a str,
    over_commit_percent: i64,
}

fn registered_instance(
    call: &Call,
    cluster: &str,
    there: Option<&Versioned<ContainerInstance>>,
    registration: &Registration<'_>,
) -> ContainerInstance {
    let mut instance = match there {
        Some(there) => ContainerInstance::clone(there),
        None => ContainerInstance {
            scope: call.scope.clone(),
            id: registration.new_id.to_owned(),
            cluster: cluster.to_owned(),
            ec2_instance_id: registration
                .identity
                .instance_id
                .clone()
                .unwrap_or_else(|| registration.made_up.to_owned()),
            status: ContainerInstanceStatus::Active,
            status_reason: None,
            // Until its web socket is there.
            agent_connected: false,
            version: 0,
            registered: Resources::default(),
            attributes: Vec::new(),
            version_info: VersionInfo::default(),
            registered_at: call.now,
            capacity_provider: None,
            tags: Vec::new(),
            fargate_capacity: false,
            over_commit_percent: 100,
            session_epoch: 0,
            node_access_key_id: None,
        },
    };
    instance.version = instance.version.saturating_add(1);
    instance.registered = registration.registered.clone();
    instance.over_commit_percent = registration.over_commit_percent;
    instance.attributes = all_attributes(call, &instance.attributes, registration);
    instance.fargate_capacity = instance.attribute(FARGATE_CAPACITY_ATTRIBUTE).is_some();
    if let Some(access_key_id) = node::access_key_id(call) {
        instance.node_access_key_id = Some(access_key_id.to_owned());
    }
    instance
}

/// The attributes sent, those that callers put on it meanwhile, and those that ECS adds where they were not sent.
fn all_attributes(call: &Call, before: &[Attribute], registration: &Registration<'_>) -> Vec<Attribute> {
    let mut all = registration.sent.to_vec();
    for attribute in before {
        let own = attribute::is_reserved(&attribute.name) || attribute.name.starts_with("roadstead.");
        if !own && !all.iter().any(|there| there.name == attribute.name) {
            all.push(attribute.clone());
        }
    }
    let sent_zone = registration
        .sent
        .iter()
        .find(|attribute| attribute.name == AVAILABILITY_ZONE_ATTRIBUTE)
        .and_then(|attribute| attribute.value.clone());
    let identity = registration.identity;
    let zone = sent_zone
        .or_else(|| identity.availability_zone.clone())
        .unwrap_or_else(|| format!("{}a", call.scope.region));
    let additions = [
        ("ecs.availability-zone", Some(zone)),
        ("ecs.instance-type", identity.instance_type.clone()),
        ("ecs.ami-id", identity.image_id.clone()),
        ("ecs.cpu-architecture", identity.architecture.clone()),
        ("ecs.os-type", Some("linux".to_owned())),
    ];
    for (name, value) in additions {
        if let (Some(value), false) = (value, all.iter().any(|there| there.name == name)) {
            all.push(Attribute { name: name.to_owned(), value: Some(value) });
        }
    }
    all
}

/// The row that the registration is of: the one named, or the one of the same EC2 instance.
fn find(
    snapshot: &Snapshot,
    call: &Call,
    cluster: &str,
    known_id: Option<&str>,
    ec2_instance_id: Option<&str>,
) -> Result<Option<Versioned<ContainerInstance>>, Fault> {
    if let Some(id) = known_id {
        return match container_instance::get(snapshot, call, cluster, id) {
            Some(there) if container_instance::is_registered(&there) => Ok(Some(there)),
            _ => Err(faults::client("The referenced container instance was not found.")),
        };
    }
    let Some(ec2_instance_id) = ec2_instance_id else { return Ok(None) };
    let parts = [call.scope.account.as_str(), call.scope.region.as_str(), ec2_instance_id];
    let mut there = snapshot.index::<ContainerInstance>(CONTAINER_INSTANCES_BY_EC2_INSTANCE, &parts, None);
    Ok(there.find(|instance| instance.cluster == cluster))
}

/// What a node may register: a key speaks for one container instance, the first that it registers. A node that has one
/// already and names none (an answer was lost) gets the same; one that names another is refused. A key that has none yet
/// may name a known one: a node that started anew has a new key.
fn of_node(
    snapshot: &Snapshot,
    call: &Call,
    cluster: &str,
    named: Option<Versioned<ContainerInstance>>,
) -> Result<Option<Versioned<ContainerInstance>>, Fault> {
    let own = node::access_key_id(call).and_then(|key| node::instance_of_key(snapshot, key));
    let Some(own) = own else { return Ok(named) };
    match named {
        Some(named) if named.arn() == own.arn() => Ok(Some(named)),
        Some(named) => Err(node::denied(call, &named.arn())),
        None if own.scope == call.scope && own.cluster == cluster => Ok(Some(own)),
        None => Err(node::denied(call, &domain::Cluster::arn_of(&call.scope, cluster))),
    }
}

fn attributes(given: &[api::ecs::Attribute]) -> Result<Vec<Attribute>, Fault> {
    if given.len() > attribute::PER_REGISTRATION {
        return Err(faults::invalid(format!(
            "A registration can have at most {} attributes.",
            attribute::PER_REGISTRATION
        )));
    }
    let mut all: Vec<Attribute> = Vec::with_capacity(given.len());
    for attribute in given {
        let parsed = attribute::parse(attribute)?;
        match all.iter_mut().find(|there| there.name == parsed.name) {
            Some(there) => *there = parsed,
            None => all.push(parsed),
        }
    }
    Ok(all)
}

fn over_commit(sent: &[Attribute]) -> Result<i64, Fault> {
    let given = sent.iter().find(|attribute| attribute.name == OVER_COMMIT_ATTRIBUTE);
    let Some(value) = given.and_then(|attribute| attribute.value.as_deref()) else { return Ok(100) };
    value
        .parse()
        .ok()
        .filter(|percent| (100..=OVER_COMMIT_PERCENT).contains(percent))
        .ok_or_else(|| faults::invalid(format!("Invalid attribute value: {value}")))
}

/// What an EC2 instance identity document says. Source: "Instance identity documents", EC2 user guide.
#[derive(Debug, Default)]
struct Identity {
    instance_id: Option<String>,
    availability_zone: Option<String>,
    instance_type: Option<String>,
    image_id: Option<String>,
    architecture: Option<String>,
}

fn identity(document: &str) -> Result<Identity, Fault> {
    if document.trim().is_empty() {
        return Ok(Identity::default());
    }
    let refused = || faults::invalid("Invalid instance identity document.");
    if document.len() > IDENTITY_DOCUMENT_BYTES {
        return Err(refused());
    }
    let value: serde_json::Value = serde_json::from_str(document).map_err(|_| refused())?;
    let text = |name: &str| -> Result<Option<String>, Fault> {
        match value.get(name).and_then(serde_json::Value::as_str) {
            None | Some("") => Ok(None),
            Some(text) => {
                attribute::check_value(text).map_err(|_| refused())?;
                Ok(Some(text.to_owned()))
            }
        }
    };
    Ok(Identity {
        instance_id: text("instanceId")?,
        availability_zone: text("availabilityZone")?,
        instance_type: text("instanceType")?,
        image_id: text("imageId")?,
        architecture: text("architecture")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn what_was_sent_comes_back() {
        let sent =
            [("ecs.capability.task-eni", None), ("stack", Some("prod")), ("ecs.os-type", Some("linux"))];
        let (world, arn) = World::with_instance(2048, 1000, &sent).await;
        let described = world.ok("DescribeContainerInstances", json!({"containerInstances": [arn]})).await;
        let instance = &described["containerInstances"][0];
        let attributes = instance["attributes"].as_array().unwrap();
        assert!(attributes.contains(&json!({"name": "ecs.capability.task-eni"})));
        assert!(attributes.contains(&json!({"name": "stack", "value": "prod"})));
        assert!(attributes.contains(&json!({"name": "ecs.availability-zone", "value": "us-east-1a"})));
        assert!(text(instance, "/ec2InstanceId").starts_with("mi-"));
        assert_eq!(text(instance, "/status"), "ACTIVE");
        let remaining = instance["remainingResources"].as_array().unwrap();
        assert_eq!((&remaining[0]["name"], &remaining[0]["integerValue"]), (&json!("CPU"), &json!(2048)));
        assert_eq!(remaining[2]["stringSetValue"], json!(["22", "51678"]));

        let again = json!({
            "cluster": "default",
            "containerInstanceArn": arn,
            "totalResources": [{"name": "CPU", "type": "INTEGER", "integerValue": 4096}],
            "attributes": [{"name": "ecs.capability.task-eni"}],
        });
        let again = world.ok("RegisterContainerInstance", again).await;
        assert_eq!(text(&again, "/containerInstance/containerInstanceArn"), arn);
        let attributes = again["containerInstance"]["attributes"].as_array().unwrap();
        assert!(attributes.contains(&json!({"name": "stack", "value": "prod"})), "custom attributes stay");
        assert_eq!(
            world.refused("RegisterContainerInstance", json!({"cluster": "ghost"})).await,
            "ClusterNotFoundException: Cluster not found."
        );
        let ghost = arn.replace(arn.rsplit('/').next().unwrap(), &"0".repeat(32));
        world.refused("RegisterContainerInstance", json!({"containerInstanceArn": ghost})).await;
        world.refused("RegisterContainerInstance", json!({"attributes": [{"name": "a b"}]})).await;
        world.refused("RegisterContainerInstance", json!({"instanceIdentityDocument": "{"})).await;
    }

    #[tokio::test]
    async fn the_identity_document_is_read() {
        let world = World::with_cluster().await;
        let document = json!({
            "instanceId": "i-0123456789abcdef0", "availabilityZone": "us-east-1c", "instanceType": "m5.large",
            "imageId": "ami-1", "architecture": "x86_64",
        });
        let body = json!({"instanceIdentityDocument": document.to_string()});
        let one = world.ok("RegisterContainerInstance", body.clone()).await;
        assert_eq!(text(&one, "/containerInstance/ec2InstanceId"), "i-0123456789abcdef0");
        let attributes = one["containerInstance"]["attributes"].as_array().unwrap();
        for (name, value) in [
            ("ecs.availability-zone", "us-east-1c"),
            ("ecs.instance-type", "m5.large"),
            ("ecs.ami-id", "ami-1"),
        ] {
            assert!(attributes.contains(&json!({"name": name, "value": value})), "{name}");
        }
        let two = world.ok("RegisterContainerInstance", body).await;
        assert_eq!(
            text(&one, "/containerInstance/containerInstanceArn"),
            text(&two, "/containerInstance/containerInstanceArn"),
            "one EC2 instance is one container instance"
        );
    }
}
