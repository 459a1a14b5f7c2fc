//! Launch templates and their versions.

use std::sync::Arc;

use api::ec2::{RequestLaunchTemplateData, ResponseLaunchTemplateData};
use base::{Scope, Tag};
use domain::{LaunchTemplate, LaunchTemplateVersion};
use serde_json::{Map, Value};
use store::rows_vpc::launch_template_version_key;
use store::{Key, Snapshot, Versioned};
use wire::schema::{Kind as ShapeKind, Member, ShapeSchema};
use wire::{Fault, Shape as _};

use super::{tag, value};
use crate::faults;
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

/// Characters of a name. Source: CreateLaunchTemplate, `LaunchTemplateName`.
const NAME_CHARACTERS: std::ops::RangeInclusive<usize> = 3..=128;
/// Characters of a version's description. Source: CreateLaunchTemplate, `VersionDescription`.
const DESCRIPTION_CHARACTERS: usize = 255;
/// Source: "Launch template quotas".
pub(crate) const TEMPLATES_PER_REGION: usize = 5000;
/// Source: as above.
pub(crate) const VERSIONS_PER_TEMPLATE: usize = 10_000;

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeLaunchTemplates",
    prefix: "lt-",
    malformed: "InvalidLaunchTemplateId.Malformed",
    not_found: "InvalidLaunchTemplateId.NotFound",
    noun: "launch template ID",
    filters: &[("create-time", &[]), ("launch-template-name", &[])],
    has_tags: true,
};

/// As DescribeLaunchTemplateVersions lists them.
pub(crate) const VERSIONS: Kind = Kind {
    operation: "DescribeLaunchTemplateVersions",
    filters: &[
        ("create-time", &[]),
        ("ebs-optimized", &[]),
        ("iam-instance-profile", &[]),
        ("image-id", &[]),
        ("instance-type", &[]),
        ("is-default-version", &[]),
        ("kernel-id", &[]),
        ("ram-disk-id", &[]),
    ],
    has_tags: false,
    ..KIND
};

impl Filterable for Arc<LaunchTemplate> {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "create-time" => value(self.created_at.to_string()),
            "launch-template-name" => value(&self.name),
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &self.tags
    }
}

impl Listed for Arc<LaunchTemplate> {
    fn id(&self) -> &str {
        &self.id
    }
}

/// All templates of a scope.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<Arc<LaunchTemplate>> {
    snapshot.scan::<LaunchTemplate>(Key::prefix(scope, &[]), None).map(|row| row.value).collect()
}

/// The template that a call means: by id or by name.
pub(crate) fn find(
    snapshot: &Snapshot,
    scope: &Scope,
    id: Option<&str>,
    name: Option<&str>,
) -> Result<Versioned<LaunchTemplate>, Fault> {
    match (id, name) {
        (Some(_), Some(_)) => Err(faults::invalid_combination(
            "Either the launch template ID or the launch template name must be specified, but not both.",
        )),
        (Some(id), None) => {
            KIND.check_id(id)?;
            snapshot.get::<LaunchTemplate>(&Key::new(scope, &[id])).ok_or_else(|| {
                let message =
                    format!("The specified launch template, with template ID {id}, does not exist.");
                Fault::new(KIND.not_found, message, 400)
            })
        }
        (None, Some(name)) => named(snapshot, scope, name).ok_or_else(|| no_such_name(name)),
        (None, None) => Err(faults::missing("LaunchTemplateId or LaunchTemplateName")),
    }
}

/// The template of a name.
pub(crate) fn named(snapshot: &Snapshot, scope: &Scope, name: &str) -> Option<Versioned<LaunchTemplate>> {
    snapshot.scan::<LaunchTemplate>(Key::prefix(scope, &[]), None).find(|known| known.name == name)
}

/// The fault for a name that no template has.
pub(crate) fn no_such_name(name: &str) -> Fault {
    let message = format!("The specified launch template, with template name {name}, does not exist.");
    Fault::new("InvalidLaunchTemplateName.NotFoundException", message, 400)
}

/// A checked name.
pub(crate) fn checked_name(name: String) -> Result<String, Fault> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "()./_-".contains(character);
    if NAME_CHARACTERS.contains(&name.chars().count()) && name.chars().all(is_plain) {
        return Ok(name);
    }
    let message = "A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and the \
                   following characters: - ( ) . / _.";
    Err(Fault::new("InvalidLaunchTemplateName.MalformedException", message, 400))
}

/// A checked description of a version.
pub(crate) fn checked_description(description: Option<String>) -> Result<Option<String>, Fault> {
    if description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_CHARACTERS) {
        let message = format!("VersionDescription must have at most {DESCRIPTION_CHARACTERS} characters.");
        return Err(faults::invalid_value(message));
    }
    Ok(description)
}

/// The number that a call means by `$Latest`, `$Default` or a number.
pub(crate) fn number(template: &LaunchTemplate, text: &str) -> Result<i64, Fault> {
    match text {
        "$Latest" => Ok(template.latest_version),
        "$Default" => Ok(template.default_version),
        text => text.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
            faults::invalid_value(format!(
                "Value ({text}) for parameter version is invalid. It must be a number."
            ))
        }),
    }
}

/// A version that must be there.
pub(crate) fn version(
    snapshot: &Snapshot,
    template: &LaunchTemplate,
    number: i64,
) -> Result<Versioned<LaunchTemplateVersion>, Fault> {
    let key = launch_template_version_key(&template.scope, &template.id, number);
    snapshot.get::<LaunchTemplateVersion>(&key).ok_or_else(|| {
        let message = format!(
            "Could not find the specified version {number} for the launch template with ID {}.",
            template.id
        );
        Fault::new("InvalidLaunchTemplateId.VersionNotFound", message, 400)
    })
}

/// A version and whether it is the default one.
pub(crate) struct DescribedVersion {
    pub(crate) row: Arc<LaunchTemplateVersion>,
    pub(crate) template: Arc<LaunchTemplate>,
    /// What it is listed by: numbers in the order of numbers.
    position: String,
    data: Value,
}

impl DescribedVersion {
    pub(crate) fn of(template: Arc<LaunchTemplate>, row: Arc<LaunchTemplateVersion>) -> Self {
        let data = serde_json::from_str(&row.document).unwrap_or_default();
        let position = format!("{} {:020}", row.launch_template, row.version);
        Self { row, template, position, data }
    }

    fn property(&self, pointer: &str) -> Vec<String> {
        match self.data.pointer(pointer) {
            Some(Value::String(text)) => value(text),
            Some(other) if !other.is_null() => value(other),
            _ => Vec::new(),
        }
    }

    fn is_default(&self) -> bool {
        self.row.version == self.template.default_version
    }
}

/// All versions of a template.
pub(crate) fn versions(snapshot: &Snapshot, template: &Arc<LaunchTemplate>) -> Vec<DescribedVersion> {
    let rows = snapshot.scan::<LaunchTemplateVersion>(Key::prefix(&template.scope, &[&template.id]), None);
    rows.map(|row| DescribedVersion::of(Arc::clone(template), row.value)).collect()
}

impl Filterable for DescribedVersion {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "create-time" => value(self.row.created_at.to_string()),
            "ebs-optimized" => self.property("/EbsOptimized"),
            "iam-instance-profile" => self.property("/IamInstanceProfile/Arn"),
            "image-id" => self.property("/ImageId"),
            "instance-type" => self.property("/InstanceType"),
            "is-default-version" => value(self.is_default()),
            "kernel-id" => self.property("/KernelId"),
            "ram-disk-id" => self.property("/RamDiskId"),
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &[]
    }
}

impl Listed for DescribedVersion {
    fn id(&self) -> &str {
        &self.position
    }
}

/// The wire form.
pub(crate) fn describe(template: &LaunchTemplate) -> api::ec2::LaunchTemplate {
    api::ec2::LaunchTemplate {
        create_time: Some(template.created_at),
        created_by: Some(template.created_by.clone()),
        default_version_number: Some(template.default_version),
        latest_version_number: Some(template.latest_version),
        launch_template_id: Some(template.id.clone()),
        launch_template_name: Some(template.name.clone()),
        tags: tag::describe(&template.tags),
        ..Default::default()
    }
}

/// The wire form of a version.
pub(crate) fn describe_version(version: &DescribedVersion) -> Result<api::ec2::LaunchTemplateVersion, Fault> {
    let row = &version.row;
    Ok(api::ec2::LaunchTemplateVersion {
        create_time: Some(row.created_at),
        created_by: Some(row.created_by.clone()),
        default_version: Some(version.is_default()),
        launch_template_data: Some(response(&version.data)?),
        launch_template_id: Some(row.launch_template.clone()),
        launch_template_name: Some(version.template.name.clone()),
        version_description: row.description.clone(),
        version_number: Some(row.version),
        ..Default::default()
    })
}

/// The document of a version: the data that a call gives, over that of the version that it names as its source. Keys are
/// the members' names: those of requests and answers are the same, while their names on the wire differ.
pub(crate) fn document(data: &RequestLaunchTemplateData, source: Option<&str>) -> Result<String, Fault> {
    let text = wire::json::to_string(data);
    let given: Value = serde_json::from_str(&text).map_err(Fault::server)?;
    let given = renamed(given, data.schema(), Member::wire_name, |member| member.name);
    let source = source.map(serde_json::from_str::<Value>).transpose().map_err(Fault::server)?;
    let mut merged = match source {
        Some(Value::Object(source)) => source,
        _ => Map::new(),
    };
    if let Value::Object(given) = given {
        merged.extend(given);
    }
    Ok(Value::Object(merged).to_string())
}

fn response(document: &Value) -> Result<ResponseLaunchTemplateData, Fault> {
    let schema = ResponseLaunchTemplateData::default();
    let wire_form = renamed(document.clone(), schema.schema(), |member| member.name, Member::wire_name);
    wire::json::from_str(&wire_form.to_string()).map_err(Fault::server)
}

/// A JSON value of a shape with other names for its members.
fn renamed(
    value: Value,
    schema: &'static ShapeSchema,
    from: fn(&Member) -> &'static str,
    to: fn(&Member) -> &'static str,
) -> Value {
    match (value, schema.kind) {
        (Value::Object(object), ShapeKind::Structure(structure)) => {
            let mut made = Map::new();
            for (key, value) in object {
                if let Some(member) = structure.members.iter().find(|member| from(member) == key) {
                    made.insert(to(member).to_owned(), renamed(value, member.shape, from, to));
                }
            }
            Value::Object(made)
        }
        (Value::Array(list), ShapeKind::List(element)) => {
            Value::Array(list.into_iter().map(|value| renamed(value, element.shape, from, to)).collect())
        }
        (other, _) => other,
    }
}
