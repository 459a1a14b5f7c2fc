//! Names of images, read as docker reads them: `nginx`, `nginx:1.27`, `registry.example:5000/team/app@sha256:…`.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// The registry that a name without one means.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The namespace that a name of one component means on the default registry.
const DEFAULT_NAMESPACE: &str = "library/";
/// The tag that a name without tag and digest means.
const DEFAULT_TAG: &str = "latest";
/// Longest repository name, registry included (docker's grammar).
const MAXIMUM_NAME_BYTES: usize = 255;
/// Longest tag (OCI distribution).
const MAXIMUM_TAG_BYTES: usize = 128;

/// A parsed, normalised name of an image. Has a tag, a digest or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// The text names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid reference format: {text:?}: {reason}")]
pub struct ReferenceError {
    text: String,
    reason: &'static str,
}

impl Reference {
    /// Reads `[registry/]repository[:tag][@digest]`. A first component with a `.` or a `:`, or `localhost`, is
    /// a registry; without one it is `docker.io`, where a single component means `library/…`. Without tag and
    /// digest the tag is `latest`.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let wrong = |reason| ReferenceError { text: text.chars().take(300).collect(), reason };
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                (rest, Some(digest.parse::<Digest>().map_err(|_| wrong("the digest must be sha256"))?))
            }
        };
        // A colon after the last slash begins the tag; one before it is a registry's port.
        let (name, tag) = match rest.rfind(':') {
            Some(colon) if !rest.get(colon..).unwrap_or_default().contains('/') => {
                (rest.get(..colon).unwrap_or_default(), rest.get(colon + 1..))
            }
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("invalid tag"));
        }
        if name.is_empty() {
            return Err(wrong("no repository name"));
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_registry(first) => (first, path),
            _ => (DEFAULT_REGISTRY, name),
        };
        let registry = match registry {
            "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
            other => other,
        };
        if !is_host_and_port(registry) {
            return Err(wrong("invalid registry"));
        }
        let mut repository = path.to_owned();
        if registry == DEFAULT_REGISTRY && !path.contains('/') {
            repository.insert_str(0, DEFAULT_NAMESPACE);
        }
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(wrong("repository name must be lowercase"));
        }
        if !repository.split('/').all(is_path_component) {
            return Err(wrong("invalid repository name"));
        }
        if registry.len() + 1 + repository.len() > MAXIMUM_NAME_BYTES {
            return Err(wrong("repository name must not be more than 255 characters"));
        }
        let tag = match (tag, digest) {
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }

    /// The registry's host and port as written in the name: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry: `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, when there is one; not looked at when there is a digest too.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest or index, when the name pins one.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same repository, pinned to a digest, without a tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The short form that docker prints: without `docker.io/` and `library/`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        match full.strip_prefix("docker.io/") {
            None => full,
            Some(rest) => rest.strip_prefix(DEFAULT_NAMESPACE).unwrap_or(rest).to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// A DNS name, an IPv4 address or a bracketed IPv6 address, and perhaps a port.
fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, after)) => {
            let valid =
                !inside.is_empty() && inside.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
            if !valid {
                return false;
            }
            ("v6", if after.is_empty() { None } else { Some(after.strip_prefix(':').unwrap_or_default()) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(label)
        && port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

/// Lower case letters and digits in groups joined by `.`, `_`, `__` or dashes.
fn is_path_component(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    if !edge(bytes.first()) || !edge(bytes.last()) {
        return false;
    }
    let separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    separators
        .into_iter()
        .all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'))
}

fn is_tag(text: &str) -> bool {
    text.len() <= MAXIMUM_TAG_BYTES
        && text.bytes().enumerate().all(|(index, byte)| {
            byte.is_ascii_alphanumeric() || byte == b'_' || (index > 0 && matches!(byte, b'.' | b'-'))
        })
        && !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_like_docker() {
        let hex = "a".repeat(64);
        for (text, full, familiar) in [
            ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27", "nginx:1.27"),
            ("team/app", "docker.io/team/app:latest", "team/app:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
            ("localhost/nginx", "localhost/nginx:latest", "localhost/nginx:latest"),
            ("localhost:5000/a/b:c", "localhost:5000/a/b:c", "localhost:5000/a/b:c"),
            ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest", "127.0.0.1:5000/a:latest"),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            (
                "123456789012.dkr.ecr.us-east-1.amazonaws.com/app:1",
                "123456789012.dkr.ecr.us-east-1.amazonaws.com/app:1",
                "123456789012.dkr.ecr.us-east-1.amazonaws.com/app:1",
            ),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
            assert_eq!(Reference::parse(full).unwrap(), reference);
            assert_eq!(Reference::parse(familiar).unwrap(), reference);
        }
        let pinned = Reference::parse(&format!("nginx:1@sha256:{hex}")).unwrap();
        assert_eq!(pinned.tag(), Some("1"));
        assert_eq!(pinned.digest().unwrap().hex(), hex);
        assert_eq!(Reference::parse(&format!("nginx@sha256:{hex}")).unwrap().tag(), None);
    }

    #[test]
    fn what_names_no_image_is_refused() {
        let long = "a".repeat(256);
        let tag = format!("a:{}", "b".repeat(129));
        for text in [
            "",
            ":",
            "@",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "team/App",
            "a:",
            "a:-x",
            "a b",
            "a\n",
            "../a",
            "a/../b",
            "a@sha256:1",
            "a@md5:00",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a.b:99999/x",
            "a.b:x/y",
            "https://a.b/c",
            "user@host/a",
            "a.b/c?d=e",
            "a.b/c#d",
            "a%2e",
            ".a/b",
            "[::1/a",
            "[x]/a",
            "localhost:5000",
            &long,
            &tag,
        ] {
            // `localhost:5000` alone is a repository with a tag, exactly as in docker.
            let result = Reference::parse(text);
            if text == "localhost:5000" {
                assert_eq!(result.unwrap().to_string(), "docker.io/library/localhost:5000");
            } else {
                assert!(result.is_err(), "{text:?} was read as {result:?}");
            }
        }
    }
}
