//! Credentials of private registries, from a file in the form of Docker's `config.json`.
//!
//! The stock agent takes the same as `ECS_ENGINE_AUTH_DATA` with `ECS_ENGINE_AUTH_TYPE=dockercfg`. The file is read at each pull, so that new
//! credentials need no restart.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{Reference, RegistryAuth};
use serde::Deserialize;

/// Bytes of the file that are read. Ours: an entry takes about 200.
const FILE_BYTES_MAXIMUM: u64 = 1024 * 1024;
/// Docker Hub's name in `config.json`.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// Docker Hub's name in a reference.
const DOCKER_HUB: &str = "docker.io";

/// Where credentials come from; nowhere: every registry is asked anonymously.
#[derive(Clone, Debug, Default)]
pub struct RegistryCredentials {
    file: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    /// `user:password` in base64.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl RegistryCredentials {
    /// Credentials of this file.
    pub fn from_file(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// What to show the registry of `reference`. The error names the file, never what is in it.
    pub fn of(&self, reference: &Reference) -> Result<RegistryAuth, String> {
        let Some(file) = &self.file else { return Ok(RegistryAuth::Anonymous) };
        let failed =
            |why: &str| format!("the registry credentials in {} cannot be used: {why}", file.display());
        let config: Config = serde_json::from_str(&read(file).map_err(|error| failed(&error.to_string()))?)
            .map_err(|_| failed("it is not in the form of Docker's config.json"))?;
        let entry = config.auths.iter().find(|(host, _)| names(host, reference.registry()));
        let Some((_, entry)) = entry else { return Ok(RegistryAuth::Anonymous) };
        credentials(entry)
            .ok_or_else(|| failed(&format!("the entry of {} is incomplete", reference.registry())))
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(FILE_BYTES_MAXIMUM).read_to_string(&mut text)?;
    Ok(text)
}

/// Whether a key of `auths` is that of a registry: `host:port`, with or without scheme and path.
fn names(key: &str, registry: &str) -> bool {
    if registry == DOCKER_HUB && key == DOCKER_HUB_KEY {
        return true;
    }
    let host = key.trim_start_matches("https://").trim_start_matches("http://");
    host.split('/').next() == Some(registry)
}

fn credentials(entry: &Entry) -> Option<RegistryAuth> {
    if let (Some(username), Some(password)) = (&entry.username, &entry.password) {
        return Some(RegistryAuth::Basic { username: username.clone(), password: password.clone() });
    }
    let decoded = String::from_utf8(STANDARD.decode(entry.auth.as_ref()?).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some(RegistryAuth::Basic { username: username.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(config: &str, reference: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, config).unwrap();
        let auth = RegistryCredentials::from_file(Some(file)).of(&Reference::parse(reference).unwrap())?;
        Ok(match auth {
            RegistryAuth::Anonymous => "anonymous".to_owned(),
            RegistryAuth::Basic { username, password } => format!("{username} {password}"),
        })
    }

    #[test]
    fn each_registry_gets_its_own_credentials_and_others_none() {
        let config = r#"{"auths": {"localhost:5000": {"auth": "dXNlcjpwYTpzcw=="}, "https://r.example/v2/": {"username": "u", "password": "p"},
            "https://index.docker.io/v1/": {"auth": "aHViOnNlY3JldA=="}}, "credsStore": "x"}"#;
        assert_eq!(ask(config, "localhost:5000/app:1").unwrap(), "user pa:ss");
        assert_eq!(ask(config, "r.example/app").unwrap(), "u p");
        assert_eq!(ask(config, "nginx").unwrap(), "hub secret");
        assert_eq!(ask(config, "localhost:5001/app").unwrap(), "anonymous");
    }

    #[test]
    fn a_damaged_file_is_named_but_not_shown() {
        for config in [
            "",
            "3",
            r#"{"auths": {"localhost:5000": {"auth": "%%secret"}}}"#,
            r#"{"auths": {"localhost:5000": {}}}"#,
        ] {
            let error = ask(config, "localhost:5000/app").unwrap_err();
            assert!(error.contains("config.json") && !error.contains("secret"), "{error}");
        }
        let missing = RegistryCredentials::from_file(Some("/nonexistent/config.json".into()));
        assert!(missing.of(&Reference::parse("app").unwrap()).unwrap_err().contains("/nonexistent"));
    }
}
