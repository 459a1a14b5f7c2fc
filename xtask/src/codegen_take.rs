//! `take-models`: the AWS service models from botocore's source distribution, less all that is prose.

use std::process::Command;

use serde_json::Value;

use crate::codegen_model::{allow_list, reachable, root, services, sorted};

/// Where our name for a service (its IAM prefix or signing name) is not botocore's folder.
const FOLDERS: &[(&str, &str)] = &[
    ("elasticloadbalancing", "elbv2"),
    ("monitoring", "cloudwatch"),
    ("application-autoscaling", "application-autoscaling"),
];

/// A model with more operations than this keeps the shapes of the allowed ones alone (EC2 has 830 operations).
const WHOLE_MODEL_OPERATIONS: usize = 200;

/// Prose, and what only clients need.
const DROPPED: &[&str] = &[
    "documentation",
    "documentationUrl",
    "deprecated",
    "deprecatedMessage",
    "deprecatedSince",
    "endpoint",
    "examples",
    "synonyms",
];

/// Refreshes `models/` from botocore's sdist at `archive`.
pub fn take_models(archive: &str) -> Result<(), String> {
    let listing = tar(&["-tzf", archive])?;
    let listing = String::from_utf8(listing).map_err(|error| error.to_string())?;
    let version = listing
        .lines()
        .next()
        .and_then(|line| line.split('/').next()?.strip_prefix("botocore-"))
        .ok_or("not a source distribution of botocore")?;
    for service in services()? {
        let folder =
            FOLDERS.iter().find(|(ours, _)| *ours == service).map_or(service.as_str(), |(_, theirs)| theirs);
        let prefix = format!("botocore-{version}/botocore/data/{folder}/");
        let path = listing
            .lines()
            .filter(|line| line.starts_with(&prefix) && line.ends_with("/service-2.json"))
            .max()
            .ok_or_else(|| format!("{archive} has no model of {service}"))?;
        let text = tar(&["-xzOf", archive, path])?;
        let mut model: Value = serde_json::from_slice(&text).map_err(|error| format!("{path}: {error}"))?;
        strip(&mut model, false);
        prune(&mut model, &allow_list(&service)?);
        let mut text = serde_json::to_string_pretty(&sorted(&model)).map_err(|error| error.to_string())?;
        text.push('\n');
        write(&format!("{service}.json"), &text)?;
        println!("models/{service}.json: {} KiB", text.len() / 1024);
    }
    write("VERSION", &format!("{version}\n"))
}

fn write(name: &str, text: &str) -> Result<(), String> {
    std::fs::write(root().join("models").join(name), text).map_err(|error| format!("models/{name}: {error}"))
}

fn tar(arguments: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new("tar").args(arguments).output().map_err(|error| format!("tar: {error}"))?;
    if !output.status.success() {
        return Err(format!("tar {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(output.stdout)
}

/// Drops the prose. `names` says that the keys here are the model's names, not its marks.
fn strip(value: &mut Value, names: bool) {
    match value {
        Value::Object(object) => {
            if !names {
                object.retain(|key, _| !DROPPED.contains(&key.as_str()));
            }
            for (key, value) in object.iter_mut() {
                let inner_names = !names && ["operations", "shapes", "members"].contains(&key.as_str());
                strip(value, inner_names);
            }
        }
        Value::Array(array) => array.iter_mut().for_each(|value| strip(value, false)),
        _ => {}
    }
}

/// For a big model: only the allowed operations in full, the others by name, and the shapes that are left.
fn prune(model: &mut Value, allowed: &[String]) {
    model
        .as_object_mut()
        .expect("a model is an object")
        .retain(|key, _| ["metadata", "operations", "shapes"].contains(&key.as_str()));
    let operations = model["operations"].as_object_mut().expect("a model has operations");
    if operations.len() <= WHOLE_MODEL_OPERATIONS {
        return;
    }
    for (name, operation) in operations.iter_mut() {
        if !allowed.contains(name) {
            *operation = Value::Object(serde_json::Map::new());
        }
    }
    let reachable = reachable(model, allowed.iter().map(String::as_str));
    let shapes = model["shapes"].as_object_mut().expect("a model has shapes");
    shapes.retain(|name, _| reachable.contains(name));
}
