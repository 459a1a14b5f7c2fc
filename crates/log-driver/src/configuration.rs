//! `logConfiguration` as a whole: which driver, and the names that depend on the container.

use std::collections::BTreeMap;

use log_spool::{JsonFileOptions, OptionError};
use regex::Regex;

use crate::AwsLogsOptions;

/// What the options of a container may refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFacts {
    /// The container's name in its task definition.
    pub container_name: String,
    /// The task's id, the last part of its ARN.
    pub task_id: String,
    /// The engine's id of the container.
    pub container_id: String,
    /// The image as the task definition names it.
    pub image: String,
    /// The image's digest.
    pub image_id: String,
    /// Docker labels.
    pub labels: BTreeMap<String, String>,
    /// Environment variables. Only those that an option names are looked at.
    pub environment: BTreeMap<String, String>,
}

/// A container's log driver and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogConfiguration {
    /// To CloudWatch Logs.
    AwsLogs(Box<AwsLogsOptions>),
    /// To a file on the node.
    JsonFile(JsonFileOptions),
    /// Nowhere.
    None,
}

impl LogConfiguration {
    /// Reads the driver's name and options. A container without `logConfiguration` has Docker's default: `json-file`.
    pub fn parse(
        driver: Option<&str>,
        options: &BTreeMap<String, String>,
        facts: &ContainerFacts,
    ) -> Result<Self, OptionError> {
        match driver.unwrap_or("json-file") {
            "awslogs" => Ok(Self::AwsLogs(Box::new(AwsLogsOptions::parse(options)?))),
            "json-file" => {
                let mut parsed = JsonFileOptions::parse(options)?;
                parsed.attributes = attributes(options, facts)?;
                Ok(Self::JsonFile(parsed))
            }
            "none" => match options.keys().next() {
                None => Ok(Self::None),
                Some(option) => Err(OptionError::Unknown { option: option.clone(), driver: "none" }),
            },
            other => Err(OptionError::invalid(
                "logDriver",
                format!("'{other}' is not supported; awslogs, json-file and none are"),
            )),
        }
    }
}

impl AwsLogsOptions {
    /// The name of the container's log stream: `prefix/container/task-id`, or `awslogs-stream`, or `tag`, or the
    /// container's id.
    pub fn stream_name(&self, facts: &ContainerFacts) -> Result<String, OptionError> {
        if let Some(prefix) = &self.stream_prefix {
            return Ok(format!("{prefix}/{}/{}", facts.container_name, facts.task_id));
        }
        if let Some(stream) = &self.stream {
            return Ok(stream.clone());
        }
        // Colons (as in image names) are not allowed in a stream's name.
        render_tag(self.tag.as_deref().unwrap_or("{{.FullID}}"), facts)
            .map(|name| name.replace([':', '*'], "_"))
    }
}

/// The `attrs` of the json-file driver: what `labels`, `labels-regex`, `env`, `env-regex` and `tag` select.
fn attributes(
    options: &BTreeMap<String, String>,
    facts: &ContainerFacts,
) -> Result<BTreeMap<String, String>, OptionError> {
    let mut attributes = BTreeMap::new();
    for (names, pattern, values) in
        [("labels", "labels-regex", &facts.labels), ("env", "env-regex", &facts.environment)]
    {
        if let Some(listed) = options.get(names) {
            let chosen = listed.split(',').filter_map(|name| values.get_key_value(name));
            attributes.extend(chosen.map(|(name, value)| (name.clone(), value.clone())));
        }
        if let Some(text) = options.get(pattern) {
            let regex = Regex::new(text).map_err(|error| OptionError::invalid(pattern, error.to_string()))?;
            let chosen = values.iter().filter(|(name, _)| regex.is_match(name));
            attributes.extend(chosen.map(|(name, value)| (name.clone(), value.clone())));
        }
    }
    if let Some(tag) = options.get("tag") {
        attributes.insert("tag".to_owned(), render_tag(tag, facts)?);
    }
    Ok(attributes)
}

/// Fills in a `tag` template. Of Go's template language the fields are known, not its actions. Source: "Customize log
/// driver output", Docker.
fn render_tag(template: &str, facts: &ContainerFacts) -> Result<String, OptionError> {
    let short = |id: &str| {
        let id = id.strip_prefix("sha256:").unwrap_or(id);
        id.chars().take(12).collect::<String>()
    };
    let mut rendered = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("{{") {
        rendered.push_str(before);
        let Some((field, behind)) = behind.split_once("}}") else {
            return Err(OptionError::invalid("tag", "a '{{' has no '}}'"));
        };
        match field.trim() {
            ".ID" => rendered.push_str(&short(&facts.container_id)),
            ".FullID" => rendered.push_str(&facts.container_id),
            ".Name" => rendered.push_str(&facts.container_name),
            ".ImageID" => rendered.push_str(&short(&facts.image_id)),
            ".ImageFullID" => rendered.push_str(&facts.image_id),
            ".ImageName" => rendered.push_str(&facts.image),
            ".DaemonName" => rendered.push_str("docker"),
            other => return Err(OptionError::invalid("tag", format!("unknown template field '{other}'"))),
        }
        rest = behind;
    }
    rendered.push_str(rest);
    Ok(rendered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    fn facts() -> ContainerFacts {
        ContainerFacts {
            container_name: "web".into(),
            task_id: "0123".into(),
            container_id: "abcdefabcdefabcdef".into(),
            image: "nginx:1".into(),
            image_id: "sha256:00112233445566778899".into(),
            labels: map(&[("team", "harbour"), ("tier", "1")]),
            environment: map(&[("STAGE", "test"), ("SECRET", "x")]),
        }
    }

    #[test]
    fn streams_are_named_as_ecs_does() {
        let name = |pairs: &[(&str, &str)]| {
            let mut options = map(pairs);
            options.insert("awslogs-group".into(), "g".into());
            AwsLogsOptions::parse(&options).unwrap().stream_name(&facts())
        };
        assert_eq!(name(&[("awslogs-stream-prefix", "p")]).unwrap(), "p/web/0123");
        assert_eq!(name(&[("awslogs-stream", "s")]).unwrap(), "s");
        assert_eq!(name(&[]).unwrap(), "abcdefabcdefabcdef");
        assert_eq!(
            name(&[("tag", "{{.Name}}/{{ .ID }}/{{.ImageName}}")]).unwrap(),
            "web/abcdefabcdef/nginx_1"
        );
        assert!(name(&[("tag", "{{.Nope}}")]).is_err());
        assert!(name(&[("tag", "{{.Name")]).is_err());
    }

    #[test]
    fn drivers_are_told_apart() {
        let parse = |driver, pairs: &[(&str, &str)]| LogConfiguration::parse(driver, &map(pairs), &facts());
        assert_eq!(parse(Some("none"), &[]), Ok(LogConfiguration::None));
        assert!(parse(Some("none"), &[("max-size", "1m")]).is_err());
        assert!(parse(Some("syslog"), &[]).unwrap_err().to_string().contains("syslog"));
        let options = [("labels", "team,none"), ("env-regex", "^STA"), ("tag", "{{.ImageID}}")];
        let Ok(LogConfiguration::JsonFile(file)) = parse(None, &options) else { panic!() };
        assert_eq!(file.attributes, map(&[("team", "harbour"), ("STAGE", "test"), ("tag", "001122334455")]));
        assert!(parse(Some("json-file"), &[("labels-regex", "(")]).is_err());
    }
}
