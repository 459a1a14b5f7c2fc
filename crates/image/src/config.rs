//! The parts of an image configuration that a container is made from.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;

/// What the image's author set for its containers (OCI image specification, "config", with docker's
/// `Healthcheck`). Absent lists are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `name`, `uid`, `name:group` or `uid:gid`; empty means root.
    pub user: String,
    /// `NAME=VALUE`, in order.
    pub env: Vec<String>,
    /// `None` when the image sets none.
    pub entrypoint: Option<Vec<String>>,
    /// `None` when the image sets none.
    pub cmd: Option<Vec<String>>,
    /// Empty means `/`.
    pub working_dir: String,
    /// `80/tcp`, sorted.
    pub exposed_ports: Vec<String>,
    /// Paths that get an anonymous volume each, sorted.
    pub volumes: Vec<String>,
    /// Sorted by key.
    pub labels: BTreeMap<String, String>,
    /// `SIGQUIT`, `3` or absent (SIGTERM).
    pub stop_signal: Option<String>,
    /// Docker's extension; ECS ignores it (AWS: HealthCheck overrides), kept for what inspects images.
    pub healthcheck: Option<HealthCheck>,
    /// As `amd64`.
    pub architecture: String,
    /// As `v8`, usually absent.
    pub variant: Option<String>,
    /// As `linux`.
    pub os: String,
}

/// Docker's `HEALTHCHECK`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthCheck {
    /// `["CMD", …]`, `["CMD-SHELL", command]` or `["NONE"]`.
    pub test: Vec<String>,
    /// Time between checks; zero means docker's default (30 s).
    pub interval: Duration,
    /// Time for one check; zero means the default (30 s).
    pub timeout: Duration,
    /// Time in which failures do not count.
    pub start_period: Duration,
    /// Time between checks in the start period; zero means the default (5 s).
    pub start_interval: Duration,
    /// Failures in a row that make unhealthy; zero means the default (3).
    pub retries: u32,
}

/// The configuration blob as registries serve it.
#[derive(Debug, Deserialize)]
pub(crate) struct ConfigBlob {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) architecture: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) os: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    pub(crate) created: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    config: ConfigMembers,
    pub(crate) rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConfigMembers {
    #[serde(deserialize_with = "null_is_default")]
    user: String,
    #[serde(deserialize_with = "null_is_default")]
    env: Vec<String>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    #[serde(deserialize_with = "null_is_default")]
    working_dir: String,
    #[serde(deserialize_with = "null_is_default")]
    exposed_ports: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "null_is_default")]
    volumes: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "null_is_default")]
    labels: BTreeMap<String, String>,
    stop_signal: Option<String>,
    healthcheck: Option<HealthcheckMembers>,
}

/// Times are nanoseconds; negative ones, which docker never writes, count as zero.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HealthcheckMembers {
    #[serde(deserialize_with = "null_is_default")]
    test: Vec<String>,
    interval: i64,
    timeout: i64,
    start_period: i64,
    start_interval: i64,
    retries: i64,
}

/// Go writes empty lists and maps as `null`.
pub(crate) fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl ConfigBlob {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    pub(crate) fn into_config(self) -> ImageConfig {
        let members = self.config;
        let not_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
        ImageConfig {
            user: members.user,
            env: members.env,
            entrypoint: members.entrypoint,
            cmd: members.cmd,
            working_dir: members.working_dir,
            exposed_ports: members.exposed_ports.into_keys().collect(),
            volumes: members.volumes.into_keys().collect(),
            labels: members.labels,
            stop_signal: not_empty(members.stop_signal),
            healthcheck: members.healthcheck.map(HealthcheckMembers::into_health_check),
            architecture: self.architecture,
            variant: not_empty(self.variant),
            os: self.os,
        }
    }
}

impl HealthcheckMembers {
    fn into_health_check(self) -> HealthCheck {
        let time = |nanoseconds: i64| Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
        HealthCheck {
            test: self.test,
            interval: time(self.interval),
            timeout: time(self.timeout),
            start_period: time(self.start_period),
            start_interval: time(self.start_interval),
            retries: u32::try_from(self.retries).unwrap_or(0),
        }
    }
}

/// The operating system and processor that an image must be for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Always `linux` for images that this machine can run.
    pub os: String,
    /// Go's name of the architecture: `amd64`, `arm64`.
    pub architecture: String,
    /// `v8`, `v7`; absent for most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            "x86" => "386",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// Linux on the architecture that AWS calls `X86_64` or `ARM64`.
    pub fn linux(architecture: &str) -> Self {
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// Whether an image for `offered` runs where `self` is wanted. arm64's only variant, v8, is the same as none.
    pub fn accepts(&self, offered: &Platform) -> bool {
        fn variant(platform: &Platform) -> Option<&str> {
            platform
                .variant
                .as_deref()
                .filter(|variant| !(platform.architecture == "arm64" && *variant == "v8"))
        }
        self.os == offered.os
            && self.architecture == offered.architecture
            && (variant(self).is_none() || variant(self) == variant(offered))
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_absent_members_are_empty() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Entrypoint":null,"Cmd":["a"],"Volumes":null,
            "ExposedPorts":{"80/tcp":{}},"Labels":null,"StopSignal":"","Healthcheck":{"Test":["CMD","x"],"Interval":5000000000,"Retries":-1}},
            "rootfs":{"type":"layers","diff_ids":null}}"#;
        let config = ConfigBlob::parse(text.as_bytes()).unwrap().into_config();
        assert_eq!(config.cmd.as_deref(), Some(&["a".to_owned()][..]));
        assert_eq!((config.entrypoint, config.stop_signal), (None, None));
        assert_eq!(config.exposed_ports, ["80/tcp"]);
        let check = config.healthcheck.unwrap();
        assert_eq!((check.interval, check.retries), (Duration::from_secs(5), 0));
        let bare = ConfigBlob::parse(br#"{"rootfs":{}}"#).unwrap();
        assert_eq!(bare.into_config(), ImageConfig::default());
        assert!(ConfigBlob::parse(br#"{"rootfs":{"diff_ids":["sha256:../x"]}}"#).is_err());
    }

    #[test]
    fn platforms_match_by_variant_only_when_one_is_wanted() {
        let platform = |architecture: &str, variant: Option<&str>| Platform {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.map(str::to_owned),
        };
        assert!(platform("arm64", None).accepts(&platform("arm64", Some("v8"))));
        assert!(platform("arm64", Some("v8")).accepts(&platform("arm64", None)));
        assert!(platform("arm", None).accepts(&platform("arm", Some("v7"))));
        assert!(!platform("arm", Some("v6")).accepts(&platform("arm", Some("v7"))));
        assert!(!platform("amd64", None).accepts(&platform("arm64", None)));
    }
}
