//! Manifests and indexes, in OCI's form and docker's.

use serde::Deserialize;

use crate::config::{Platform, null_is_default};
use crate::digest::Digest;
use crate::error::ImageError;
use crate::limits::Limits;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Variants of one image; real indexes have about twenty.
const MAXIMUM_VARIANTS: usize = 1000;

/// Where a document or a layer is. `urls`, which foreign layers have, are not even read: content comes from the
/// registry that the user named, or not at all.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default)]
    platform: Option<DescriptorPlatform>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
struct DescriptorPlatform {
    #[serde(default, deserialize_with = "null_is_default")]
    os: String,
    #[serde(default, deserialize_with = "null_is_default")]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Descriptor {
    /// The platform, when the index says it.
    pub(crate) fn platform(&self) -> Option<Platform> {
        let given = self.platform.as_ref()?;
        let variant = given.variant.clone().filter(|variant| !variant.is_empty());
        Some(Platform { os: given.os.clone(), architecture: given.architecture.clone(), variant })
    }

    /// Whether it is something about an image, such as build provenance, instead of one.
    pub(crate) fn is_attestation(&self) -> bool {
        self.annotations.contains_key("vnd.docker.reference.type")
            || self.platform().is_some_and(|platform| platform.os == "unknown")
    }
}

/// A document that a registry or a layout gives for a reference.
#[derive(Debug)]
pub(crate) enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several, one a platform.
    Index(Vec<Descriptor>),
}

/// One image for one platform.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    /// Lowest first.
    pub(crate) layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

impl Document {
    /// `content_type` is the registry's header, which must not contradict the document: one that is a manifest to
    /// one reader and an index to another is refused (CVE-2021-41190).
    pub(crate) fn parse(
        bytes: &[u8],
        content_type: Option<&str>,
        limits: &Limits,
    ) -> Result<Self, ImageError> {
        let refused = |reason: &str| ImageError::Manifest(reason.to_owned());
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| {
            // Schema 1 has another shape altogether; say so rather than name the first missing member.
            match serde_json::from_slice::<SchemaVersion>(bytes) {
                Ok(SchemaVersion { schema_version: 1 }) => {
                    refused("schema version 1, which docker gave up in 2019")
                }
                _ => ImageError::Manifest(error.to_string()),
            }
        })?;
        if raw.schema_version != 2 {
            return Err(ImageError::Manifest(format!("schema version {}", raw.schema_version)));
        }
        let served = content_type.map(|text| text.split(';').next().unwrap_or(text).trim());
        let served = served.filter(|text| is_known(text));
        let media_type = raw.media_type.as_deref().filter(|text| !text.is_empty());
        if media_type.is_some_and(|text| !is_known(text)) {
            return Err(ImageError::Manifest(format!("media type {media_type:?}")));
        }
        if let (Some(served), Some(said)) = (served, media_type)
            && served != said
        {
            return Err(ImageError::Manifest(format!("{said} served as {served}")));
        }
        let is_index = media_type.or(served).map(|text| matches!(text, OCI_INDEX | DOCKER_INDEX));
        match (raw.config, raw.layers, raw.manifests) {
            (None, None, Some(manifests)) if is_index != Some(false) => {
                if manifests.len() > MAXIMUM_VARIANTS {
                    return Err(ImageError::Limit {
                        what: "manifests of an index",
                        maximum: MAXIMUM_VARIANTS as u64,
                    });
                }
                Ok(Self::Index(manifests))
            }
            (Some(config), Some(layers), None) if is_index != Some(true) => {
                if layers.len() > limits.layers {
                    return Err(ImageError::Limit {
                        what: "layers of an image",
                        maximum: limits.layers as u64,
                    });
                }
                Ok(Self::Manifest(Manifest { config, layers }))
            }
            _ => Err(refused("neither a manifest nor an index")),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaVersion {
    schema_version: u64,
}

fn is_known(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | OCI_INDEX | DOCKER_MANIFEST | DOCKER_INDEX)
}

/// The first variant for the platform; with no exact variant wanted, the newest of ARM's.
pub(crate) fn choose<'a>(
    variants: &'a [Descriptor],
    platform: &Platform,
) -> Result<&'a Descriptor, ImageError> {
    let fitting = variants.iter().filter(|descriptor| !descriptor.is_attestation());
    let mut best: Option<&Descriptor> = None;
    for descriptor in
        fitting.filter(|descriptor| descriptor.platform().is_some_and(|found| platform.accepts(&found)))
    {
        let variant = |descriptor: &Descriptor| descriptor.platform().and_then(|platform| platform.variant);
        if best.is_none_or(|best| variant(descriptor) > variant(best)) {
            best = Some(descriptor);
        }
    }
    best.ok_or_else(|| {
        let mut available: Vec<String> = variants
            .iter()
            .filter(|descriptor| !descriptor.is_attestation())
            .filter_map(|descriptor| descriptor.platform())
            .map(|platform| platform.to_string())
            .collect();
        available.sort();
        available.dedup();
        available.truncate(20);
        ImageError::NoMatchingPlatform { wanted: platform.to_string(), available: available.join(", ") }
    })
}

/// Refuses an image whose configuration says that it is for another platform.
pub(crate) fn check_platform(
    config: &crate::config::ConfigBlob,
    wanted: &Platform,
) -> Result<(), ImageError> {
    let differs = |found: &str, wanted: &str| !found.is_empty() && found != wanted;
    if differs(&config.os, &wanted.os) || differs(&config.architecture, &wanted.architecture) {
        let available = format!("{}/{}", config.os, config.architecture);
        return Err(ImageError::NoMatchingPlatform { wanted: wanted.to_string(), available });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(text: &str, content_type: Option<&str>) -> Result<Document, ImageError> {
        Document::parse(text.replace("DIGEST", DIGEST).as_bytes(), content_type, &Limits::default())
    }

    #[test]
    fn manifests_and_indexes_are_told_apart_strictly() {
        let manifest = r#"{"schemaVersion":2,"config":{"digest":"DIGEST","size":1},"layers":[]}"#;
        let index = r#"{"schemaVersion":2,"manifests":[{"digest":"DIGEST","size":1}]}"#;
        let both = r#"{"schemaVersion":2,"config":{"digest":"DIGEST","size":1},"layers":[],"manifests":[]}"#;
        assert!(matches!(parse(manifest, None), Ok(Document::Manifest(_))));
        assert!(matches!(parse(manifest, Some(OCI_MANIFEST)), Ok(Document::Manifest(_))));
        assert!(matches!(parse(index, Some("application/json")), Ok(Document::Index(_))));
        for (text, content_type) in [
            (manifest, Some(OCI_INDEX)),
            (index, Some(DOCKER_MANIFEST)),
            (both, None),
            (both, Some(OCI_INDEX)),
        ] {
            assert!(
                matches!(parse(text, content_type), Err(ImageError::Manifest(_))),
                "{text} {content_type:?}"
            );
        }
        let claims = manifest.replace("2,", r#"2,"mediaType":"application/vnd.oci.image.index.v1+json","#);
        assert!(parse(&claims, None).is_err());
        for text in [
            "",
            "[]",
            "{}",
            r#"{"schemaVersion":1,"fsLayers":[]}"#,
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":2,"mediaType":"text/html","config":{"digest":"DIGEST","size":1},"layers":[]}"#,
            r#"{"schemaVersion":2,"config":{"digest":"DIGEST","size":-1},"layers":[]}"#,
            r#"{"schemaVersion":2,"config":{"digest":"sha512:00","size":1},"layers":[]}"#,
        ] {
            assert!(matches!(parse(text, None), Err(ImageError::Manifest(_))), "{text}");
        }
        let layers = vec![r#"{"digest":"DIGEST","size":1}"#; 501].join(",");
        let many = manifest.replace("[]", &format!("[{layers}]"));
        assert!(matches!(parse(&many, None), Err(ImageError::Limit { .. })));
        let deep = "[".repeat(100_000);
        assert!(matches!(parse(&deep, None), Err(ImageError::Manifest(_))));
    }

    #[test]
    fn the_platform_is_chosen_and_attestations_are_not() {
        let variant = |os: &str, architecture: &str, variant: &str, size: u64| {
            format!(
                r#"{{"digest":"{DIGEST}","size":{size},"platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}}}"#
            )
        };
        let all = [
            variant("unknown", "unknown", "", 1),
            variant("linux", "arm", "v5", 2),
            variant("linux", "arm", "v7", 3),
            variant("linux", "arm64", "v8", 4),
            variant("linux", "amd64", "", 5),
            variant("windows", "amd64", "", 6),
        ];
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, all.join(","));
        let Ok(Document::Index(variants)) = parse(&text, None) else { panic!("not an index") };
        let chosen =
            |architecture: &str| choose(&variants, &Platform::linux(architecture)).map(|found| found.size);
        assert_eq!(chosen("amd64").unwrap(), 5);
        assert_eq!(chosen("arm64").unwrap(), 4);
        assert_eq!(chosen("arm").unwrap(), 3);
        let missing = chosen("s390x").unwrap_err().to_string();
        assert!(
            missing.contains("linux/s390x")
                && missing.contains("linux/arm/v7")
                && !missing.contains("unknown"),
            "{missing}"
        );
    }
}
