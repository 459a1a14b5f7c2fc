//! `docker save` before version 25: `manifest.json` names a configuration and the layers of each image.

use std::io::Read;

use serde::Deserialize;
use serde_json::json;

use crate::config::null_is_default;
use crate::digest::{Digest, HashingReader};
use crate::error::ImageError;
use crate::layer::{Compression, check_digest, peek};
use crate::limits::Limits;
use crate::load::archive::ArchiveFile;
use crate::load::{Found, Layer};
use crate::manifest::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use crate::reference::Reference;
use crate::store::Content;
use crate::unpack::stream_error;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default, deserialize_with = "null_is_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    layers: Vec<String>,
}

pub(super) fn images(archive: &ArchiveFile, limits: &Limits) -> Result<Vec<Found>, ImageError> {
    listed(archive, limits)?.into_iter().map(|listed| image(archive, listed, limits)).collect()
}

/// Configuration digest and names of every image that `manifest.json` lists.
pub(super) fn names(
    archive: &ArchiveFile,
    limits: &Limits,
) -> Result<Vec<(Digest, Vec<String>)>, ImageError> {
    if !archive.has(b"manifest.json") {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for listed in listed(archive, limits)? {
        let config = archive.document(listed.config.as_bytes(), limits.config_bytes)?;
        names.push((Digest::of(&config), listed.repo_tags));
    }
    Ok(names)
}

fn listed(archive: &ArchiveFile, limits: &Limits) -> Result<Vec<Listed>, ImageError> {
    let bytes = archive.document(b"manifest.json", limits.manifest_bytes)?;
    serde_json::from_slice(&bytes).map_err(|error| archive.refused(format!("manifest.json: {error}")))
}

fn image(archive: &ArchiveFile, listed: Listed, limits: &Limits) -> Result<Found, ImageError> {
    if listed.layers.len() > limits.layers {
        return Err(ImageError::Limit { what: "layers of an image", maximum: limits.layers as u64 });
    }
    let config = archive.document(listed.config.as_bytes(), limits.config_bytes)?;
    // Docker names the file after its digest. Others may not; what looks like a digest must be right.
    let file_name = listed.config.rsplit('/').next().unwrap_or_default();
    if let Some(expected) = Digest::from_hex(file_name.strip_suffix(".json").unwrap_or(file_name)) {
        check_digest("image configuration", expected, Digest::of(&config))?;
    }
    let mut layers = Vec::new();
    for name in &listed.layers {
        layers.push(Layer { member: archive.member(name.as_bytes())?, blob: None });
    }
    let (mut content, blob) = Content::new(Vec::new(), config, layers.len())?;
    content.manifest = manifest(archive, &content, &layers)?;
    let names = listed.repo_tags.iter().map(|name| Reference::parse(name)).collect::<Result<_, _>>()?;
    Ok(Found { content, config: blob, names, layers })
}

/// The manifest that a registry would serve if the layers were pushed as they are in the archive: the same
/// archive always gives the same image digest.
fn manifest(archive: &ArchiveFile, content: &Content, layers: &[Layer]) -> Result<Vec<u8>, ImageError> {
    let mut descriptors = Vec::new();
    for (layer, diff_id) in layers.iter().zip(&content.diff_ids) {
        let head = peek(&mut archive.read(&layer.member, &|_| {}))?;
        let (suffix, digest) = match Compression::of(&head)? {
            // The diff id is checked when the layer is unpacked, so it can be believed.
            Compression::None => ("", *diff_id),
            Compression::Gzip => ("+gzip", digest_of(archive.read(&layer.member, &|_| {}))?),
            Compression::Zstd => ("+zstd", digest_of(archive.read(&layer.member, &|_| {}))?),
        };
        let media_type = format!("{OCI_LAYER}{suffix}");
        descriptors.push(json!({ "mediaType": media_type, "digest": digest, "size": layer.member.bytes() }));
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": { "mediaType": OCI_CONFIG, "digest": Digest::of(&content.config), "size": content.config.len() },
        "layers": descriptors,
    });
    Ok(manifest.to_string().into_bytes())
}

fn digest_of(reader: impl Read) -> Result<Digest, ImageError> {
    let mut reader = HashingReader::new(reader);
    std::io::copy(&mut reader, &mut std::io::sink()).map_err(stream_error)?;
    Ok(reader.digest())
}
