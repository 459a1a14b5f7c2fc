//! The model of one AWS service as `models/<service>.json` holds it, and what is reachable in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The repository's root.
pub fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// A service: its model and its allow-list.
pub struct Model {
    /// The file's stem, the crate's name under `services/`: `ecs`.
    pub name: String,
    /// The model.
    pub json: Value,
    /// The operations that Roadstead implements.
    pub allowed: Vec<String>,
}

/// Words that a service takes though its model does not list them: model, shape, word. Each with its reason.
const ADDED_ENUM_VALUES: &[(&str, &str, &str)] = &[
    // The log driver that keeps nothing: agents announce it (`com.amazonaws.ecs.capability.logging-driver.none`), and the
    // developer guide had it; the model never did.
    ("ecs", "LogDriver", "none"),
];

/// Adds them. A shape that is gone or has the word by now is an error, so that no entry outlives its reason.
fn add_enum_values(name: &str, json: &mut Value) -> Result<(), String> {
    for (_, shape, word) in ADDED_ENUM_VALUES.iter().filter(|(model, ..)| *model == name) {
        let words = json["shapes"][*shape]["enum"].as_array_mut();
        let words = words.filter(|words| !words.iter().any(|there| there == word));
        words
            .ok_or_else(|| format!("the added word {word} of {name} {shape} is not needed any more"))?
            .push((*word).into());
    }
    Ok(())
}

impl Model {
    /// Reads `models/<name>.json` and its allow-list.
    pub fn read(name: &str) -> Result<Self, String> {
        let path = root().join("models").join(format!("{name}.json"));
        let mut json =
            serde_json::from_str(&read(&path)?).map_err(|error| format!("{}: {error}", path.display()))?;
        add_enum_values(name, &mut json)?;
        let model = Self { name: name.to_owned(), json, allowed: allow_list(name)? };
        for operation in &model.allowed {
            if model.operation(operation).get("http").is_none() {
                return Err(format!(
                    "models/{name}.operations: {operation} is not in models/{name}.json; run take-models again"
                ));
            }
        }
        Ok(model)
    }

    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.json["metadata"][key].as_str()
    }

    /// All operations of the model by name, sorted.
    pub fn operation_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.operations().keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    fn operations(&self) -> &serde_json::Map<String, Value> {
        self.json["operations"].as_object().expect("a model has operations")
    }

    pub fn operation(&self, name: &str) -> &Value {
        &self.json["operations"][name]
    }

    pub fn shape(&self, name: &str) -> &Value {
        let shape = &self.json["shapes"][name];
        assert!(shape.is_object(), "{}: no shape {name}", self.name);
        shape
    }

    /// The shapes that the allowed operations need, by name.
    pub fn reachable(&self) -> BTreeSet<String> {
        reachable(&self.json, self.allowed.iter().map(String::as_str))
    }

    /// The members of a structure, in the model's order of names.
    pub fn members(&self, shape: &str) -> Vec<(&str, &Value)> {
        let mut members: Vec<(&str, &Value)> = self.shape(shape)["members"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, member)| (name.as_str(), member))
            .collect();
        members.sort_unstable_by_key(|(name, _)| *name);
        members
    }

    /// Whether a structure holds itself through structure members alone, so that the member needs a box.
    pub fn recursive(&self, from: &str, member_shape: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![member_shape.to_owned()];
        while let Some(name) = open.pop() {
            if name == from {
                return true;
            }
            if self.shape(&name)["type"] == "structure" && seen.insert(name.clone()) {
                open.extend(self.members(&name).iter().map(|(_, member)| target(member).to_owned()));
            }
        }
        false
    }
}

/// The names in `models/<name>.operations`.
pub fn allow_list(name: &str) -> Result<Vec<String>, String> {
    let text = read(&root().join("models").join(format!("{name}.operations")))?;
    let names: BTreeSet<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    Ok(names.into_iter().collect())
}

/// The services that have an allow-list, sorted.
pub fn services() -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(root().join("models")).map_err(|error| format!("models: {error}"))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".operations").map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

/// The shape that a member, list element, map key or value, input or output refers to.
pub fn target(reference: &Value) -> &str {
    reference["shape"].as_str().expect("a reference names its shape")
}

/// The shapes that `operations` of the model `json` need.
pub fn reachable<'a>(json: &Value, operations: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let mut open = Vec::new();
    for operation in operations {
        let operation = &json["operations"][operation];
        let references = ["input", "output"].into_iter().filter_map(|key| operation.get(key));
        let faults = operation["errors"].as_array().into_iter().flatten();
        open.extend(references.chain(faults).map(|reference| target(reference).to_owned()));
    }
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if seen.insert(name.clone()) {
            let shape = &json["shapes"][&name];
            let members = shape["members"].as_object().into_iter().flat_map(|members| members.values());
            let inner = ["member", "key", "value"].into_iter().filter_map(|key| shape.get(key));
            open.extend(members.chain(inner).map(|reference| target(reference).to_owned()));
        }
    }
    seen
}

pub fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A copy of an object with its keys in order, whatever serde_json's features are.
pub fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let ordered: BTreeMap<&String, Value> =
                object.iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(ordered.into_iter().map(|(key, value)| (key.clone(), value)).collect())
        }
        Value::Array(array) => Value::Array(array.iter().map(sorted).collect()),
        other => other.clone(),
    }
}
