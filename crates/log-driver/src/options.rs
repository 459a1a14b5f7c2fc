//! The options of the `awslogs` driver.

use std::collections::BTreeMap;
use std::time::Duration;

use log_spool::{Mode, OptionError, parse_size};

use crate::{MultilinePattern, PUT_EVENTS_MAXIMUM};

pub(crate) const DRIVER: &str = "awslogs";
/// Bytes buffered where nothing is said. Source: LogConfiguration, `max-buffer-size` (10m).
const BUFFER_BYTES_DEFAULT: u64 = 10 * 1024 * 1024;
/// Bytes buffered at most. Ours: the spool is on the node's disk.
const BUFFER_BYTES_MAXIMUM: u64 = 8 << 30;
/// Source: "Amazon CloudWatch Logs logging driver", Docker.
const FORCE_FLUSH_DEFAULT: Duration = Duration::from_secs(5);

/// What a task definition says for the driver `awslogs`. Sources: LogConfiguration (ECS); "Amazon CloudWatch Logs logging
/// driver" (Docker).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsLogsOptions {
    /// `awslogs-group`.
    pub group: String,
    /// `awslogs-region`; `None`: the region of the agent.
    pub region: Option<String>,
    /// `awslogs-stream-prefix`: the stream is `prefix/container/task-id`.
    pub stream_prefix: Option<String>,
    /// `awslogs-stream`: the stream's name as it is.
    pub stream: Option<String>,
    /// `tag`: a template for the stream's name, where neither of the two is there.
    pub tag: Option<String>,
    /// `awslogs-create-group`.
    pub create_group: bool,
    /// `awslogs-create-stream`; default true.
    pub create_stream: bool,
    /// `awslogs-multiline-pattern` or `awslogs-datetime-format`.
    pub multiline: Option<MultilinePattern>,
    /// `awslogs-endpoint`.
    pub endpoint: Option<String>,
    /// `awslogs-format`.
    pub format: Option<String>,
    /// `awslogs-force-flush-interval-seconds`: how long an unfinished multi-line event waits for its next line.
    pub force_flush_interval: Duration,
    /// `awslogs-max-buffered-events`: events of one put at most.
    pub events_per_put: usize,
    /// `mode`.
    pub mode: Mode,
    /// `max-buffer-size`, in bytes.
    pub max_buffer_size_bytes: u64,
}

impl AwsLogsOptions {
    /// Reads the options; the error names the one that is wrong, in Docker's words where Docker has any.
    pub fn parse(options: &BTreeMap<String, String>) -> Result<Self, OptionError> {
        let mut parsed = Self {
            group: options
                .get("awslogs-group")
                .filter(|group| !group.is_empty())
                .cloned()
                .ok_or(OptionError::Missing { option: "awslogs-group" })?,
            region: None,
            stream_prefix: None,
            stream: None,
            tag: None,
            create_group: false,
            create_stream: true,
            multiline: None,
            endpoint: None,
            format: None,
            force_flush_interval: FORCE_FLUSH_DEFAULT,
            events_per_put: PUT_EVENTS_MAXIMUM,
            mode: Mode::NonBlocking,
            max_buffer_size_bytes: BUFFER_BYTES_DEFAULT,
        };
        for (option, value) in options {
            parsed.read(option, value)?;
        }
        parsed.check_together(options)?;
        Ok(parsed)
    }

    fn read(&mut self, option: &str, value: &str) -> Result<(), OptionError> {
        let some = || Some(value.to_owned()).filter(|value| !value.is_empty());
        match option {
            "awslogs-group" => check_name(option, value, |char| {
                char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | '/' | '#')
            })?,
            "awslogs-region" => {
                check_name(option, value, |char| char.is_ascii_alphanumeric() || char == '-')?;
                self.region = some();
            }
            "awslogs-stream-prefix" => {
                check_name(option, value, stream_char)?;
                self.stream_prefix = some();
            }
            "awslogs-stream" => {
                check_name(option, value, stream_char)?;
                self.stream = some();
            }
            "tag" => self.tag = some(),
            "awslogs-create-group" => self.create_group = parse_bool(option, value)?,
            "awslogs-create-stream" => self.create_stream = parse_bool(option, value)?,
            "awslogs-multiline-pattern" => self.multiline = Some(MultilinePattern::parse(value)?),
            "awslogs-datetime-format" => {
                self.multiline = Some(MultilinePattern::parse_datetime_format(value)?);
            }
            "awslogs-endpoint" => {
                if !(value.starts_with("http://") || value.starts_with("https://")) {
                    return Err(OptionError::invalid(option, format!("'{value}' is no http or https URL")));
                }
                self.endpoint = some();
            }
            "awslogs-format" => {
                if value != "json/emf" {
                    return Err(OptionError::invalid(option, format!("unsupported log format '{value}'")));
                }
                self.format = some();
            }
            "awslogs-force-flush-interval-seconds" => {
                self.force_flush_interval = Duration::from_secs(parse_positive(option, value)?.into());
            }
            "awslogs-max-buffered-events" => {
                self.events_per_put = (parse_positive(option, value)? as usize).min(PUT_EVENTS_MAXIMUM);
            }
            "awslogs-credentials-endpoint" => {
                let reason = "not supported: log events are sent with the agent's own credentials";
                return Err(OptionError::invalid(option, reason));
            }
            "mode" => {
                self.mode = match value {
                    "blocking" => Mode::Blocking,
                    "non-blocking" => Mode::NonBlocking,
                    _ => return Err(OptionError::invalid(option, format!("invalid log mode '{value}'"))),
                }
            }
            "max-buffer-size" => {
                self.max_buffer_size_bytes = parse_size(option, value)?;
                if !(1..=BUFFER_BYTES_MAXIMUM).contains(&self.max_buffer_size_bytes) {
                    return Err(OptionError::invalid(option, "must be between 1 byte and 8 GiB"));
                }
            }
            _ => return Err(OptionError::Unknown { option: option.to_owned(), driver: DRIVER }),
        }
        Ok(())
    }

    fn check_together(&self, options: &BTreeMap<String, String>) -> Result<(), OptionError> {
        let has = |option: &str| options.contains_key(option);
        if has("awslogs-datetime-format") && has("awslogs-multiline-pattern") {
            let reason = "you cannot configure log opt 'awslogs-datetime-format' and 'awslogs-multiline-pattern' at the same time";
            return Err(OptionError::invalid("awslogs-datetime-format", reason));
        }
        if self.format.is_some() && self.multiline.is_some() {
            let reason = "you cannot configure log opt 'awslogs-datetime-format' or 'awslogs-multiline-pattern' when log opt 'awslogs-format' is set to 'json/emf'";
            return Err(OptionError::invalid("awslogs-format", reason));
        }
        if self.mode == Mode::Blocking && has("max-buffer-size") {
            let reason = "max-buffer-size option is only supported with 'mode=non-blocking'";
            return Err(OptionError::invalid("max-buffer-size", reason));
        }
        Ok(())
    }

    /// How the shim is to open its spool.
    pub fn spool_options(&self) -> log_spool::Options {
        log_spool::Options::new(self.max_buffer_size_bytes, self.mode)
    }
}

/// Log streams take all but colons and asterisks. Source: CreateLogStream.
fn stream_char(char: char) -> bool {
    !matches!(char, ':' | '*') && !char.is_control()
}

fn check_name(option: &str, value: &str, allowed: impl Fn(char) -> bool) -> Result<(), OptionError> {
    if value.chars().count() > 512 || !value.chars().all(allowed) {
        return Err(OptionError::invalid(
            option,
            "the name is too long or has characters that are not allowed",
        ));
    }
    Ok(())
}

fn parse_bool(option: &str, value: &str) -> Result<bool, OptionError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(OptionError::invalid(option, format!("must specify valid value, got '{value}'"))),
    }
}

fn parse_positive(option: &str, value: &str) -> Result<u32, OptionError> {
    match value.parse::<u32>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(OptionError::invalid(option, format!("must specify a positive integer, got '{value}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<AwsLogsOptions, OptionError> {
        AwsLogsOptions::parse(&pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
    }

    #[test]
    fn what_ecs_documents_is_read() {
        let options = parse(&[
            ("awslogs-group", "/ecs/hello"),
            ("awslogs-region", "us-east-1"),
            ("awslogs-stream-prefix", "hello"),
            ("awslogs-create-group", "true"),
            ("awslogs-datetime-format", "%Y-%m-%d"),
            ("mode", "non-blocking"),
            ("max-buffer-size", "25m"),
        ])
        .unwrap();
        assert_eq!(options.stream_prefix.as_deref(), Some("hello"));
        assert!(options.create_group && options.create_stream && options.multiline.is_some());
        assert_eq!(options.spool_options().capacity_bytes, 25 << 20);
        let least = parse(&[("awslogs-group", "g")]).unwrap();
        assert_eq!((least.mode, least.max_buffer_size_bytes), (Mode::NonBlocking, 10 << 20));
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        for (pair, word) in [
            (("awslogs-grup", "x"), "unknown log opt 'awslogs-grup' for awslogs log driver"),
            (("max-size", "1m"), "unknown log opt 'max-size' for awslogs log driver"),
            (("awslogs-create-group", "yes"), "awslogs-create-group"),
            (("awslogs-multiline-pattern", "["), "awslogs-multiline-pattern"),
            (("awslogs-endpoint", "ftp://x"), "awslogs-endpoint"),
            (("awslogs-stream", "a:b"), "awslogs-stream"),
            (("awslogs-stream-prefix", "a*b"), "awslogs-stream-prefix"),
            (("awslogs-force-flush-interval-seconds", "0"), "awslogs-force-flush-interval-seconds"),
            (("awslogs-max-buffered-events", "-1"), "awslogs-max-buffered-events"),
            (("awslogs-format", "xml"), "awslogs-format"),
            (("awslogs-credentials-endpoint", "/x"), "awslogs-credentials-endpoint"),
            (("mode", "sometimes"), "mode"),
            (("max-buffer-size", "big"), "max-buffer-size"),
            (("max-buffer-size", "0"), "max-buffer-size"),
            (("awslogs-group", "a b"), "awslogs-group"),
        ] {
            let error = parse(&[("awslogs-group", "g"), pair]).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let missing = parse(&[]).unwrap_err().to_string();
        assert_eq!(missing, "must specify a value for log opt 'awslogs-group'");
        for (first, second) in [
            (("awslogs-datetime-format", "%Y"), ("awslogs-multiline-pattern", "x")),
            (("awslogs-format", "json/emf"), ("awslogs-multiline-pattern", "x")),
            (("mode", "blocking"), ("max-buffer-size", "1m")),
        ] {
            assert!(parse(&[("awslogs-group", "g"), first, second]).is_err());
        }
    }
}
