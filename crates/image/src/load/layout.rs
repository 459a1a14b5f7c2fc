//! OCI image layouts, and `docker save` since version 25, which writes one: `index.json` and blobs by digest.

use crate::config::Platform;
use crate::digest::Digest;
use crate::error::ImageError;
use crate::layer::{check_digest, check_size};
use crate::limits::Limits;
use crate::load::archive::ArchiveFile;
use crate::load::{Found, Layer, docker};
use crate::manifest::{Descriptor, Document, Manifest, choose};
use crate::reference::Reference;
use crate::store::Content;

/// Containerd's annotation, which docker writes too: the full name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// OCI's annotation: a full name, or by some tools only the tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Indexes within indexes.
const MAXIMUM_DEPTH: usize = 3;

pub(super) fn images(
    archive: &ArchiveFile,
    platform: &Platform,
    limits: &Limits,
) -> Result<Vec<Found>, ImageError> {
    let bytes = archive.document(b"index.json", limits.manifest_bytes)?;
    let Document::Index(top) = Document::parse(&bytes, None, limits)? else {
        return Err(archive.refused("index.json is no index"));
    };
    let docker_names = docker::names(archive, limits)?;
    let mut found = Vec::new();
    let mut other_platform = None;
    for descriptor in top.iter().filter(|descriptor| !descriptor.is_attestation()) {
        if descriptor.platform().is_some_and(|offered| !offered.os.is_empty() && !platform.accepts(&offered))
        {
            other_platform = descriptor.platform();
            continue;
        }
        let mut image = image(archive, descriptor, platform, limits)?;
        let names = names(descriptor, &image, &docker_names)?;
        // Docker lists an image once for each of its names.
        match found.iter_mut().find(|other: &&mut Found| other.content.manifest == image.content.manifest) {
            Some(other) => other.names.extend(names),
            None => {
                image.names = names;
                found.push(image);
            }
        }
    }
    match other_platform {
        Some(offered) if found.is_empty() => Err(ImageError::NoMatchingPlatform {
            wanted: platform.to_string(),
            available: offered.to_string(),
        }),
        _ => Ok(found),
    }
}

fn image(
    archive: &ArchiveFile,
    descriptor: &Descriptor,
    platform: &Platform,
    limits: &Limits,
) -> Result<Found, ImageError> {
    let mut descriptor = descriptor.clone();
    for _ in 0..MAXIMUM_DEPTH {
        let bytes = blob(archive, &descriptor, limits.manifest_bytes, "manifest")?;
        match Document::parse(&bytes, Some(&descriptor.media_type), limits)? {
            Document::Index(variants) => descriptor = choose(&variants, platform)?.clone(),
            Document::Manifest(manifest) => return from_manifest(archive, bytes, &manifest, limits),
        }
    }
    Err(archive.refused("indexes within indexes within indexes"))
}

fn from_manifest(
    archive: &ArchiveFile,
    bytes: Vec<u8>,
    manifest: &Manifest,
    limits: &Limits,
) -> Result<Found, ImageError> {
    let config = blob(archive, &manifest.config, limits.config_bytes, "image configuration")?;
    let (content, config) = Content::new(bytes, config, manifest.layers.len())?;
    let mut layers = Vec::new();
    for layer in &manifest.layers {
        let member = archive.member(&blob_name(layer.digest))?;
        check_size("layer", layer.size, member.bytes())?;
        layers.push(Layer { member, blob: Some((layer.digest, layer.size)) });
    }
    Ok(Found { content, config, names: Vec::new(), layers })
}

/// Containerd's name, else OCI's where it is more than a tag, else what docker's own list says.
fn names(
    descriptor: &Descriptor,
    image: &Found,
    docker_names: &[(Digest, Vec<String>)],
) -> Result<Vec<Reference>, ImageError> {
    let annotation = |key| descriptor.annotations.get(key).filter(|name| !name.is_empty());
    if let Some(name) = annotation(CONTAINERD_NAME) {
        return Ok(vec![Reference::parse(name)?]);
    }
    if let Some(name) = annotation(REF_NAME).filter(|name| name.contains([':', '/'])) {
        return Ok(vec![Reference::parse(name)?]);
    }
    let config = Digest::of(&image.content.config);
    let listed = docker_names.iter().filter(|(digest, _)| *digest == config).flat_map(|(_, names)| names);
    Ok(listed.map(|name| Reference::parse(name)).collect::<Result<_, _>>()?)
}

fn blob_name(digest: Digest) -> Vec<u8> {
    format!("blobs/sha256/{}", digest.hex()).into_bytes()
}

fn blob(
    archive: &ArchiveFile,
    descriptor: &Descriptor,
    maximum: u64,
    what: &'static str,
) -> Result<Vec<u8>, ImageError> {
    let bytes = archive.document(&blob_name(descriptor.digest), maximum)?;
    check_size(what, descriptor.size, bytes.len() as u64)?;
    check_digest(what, descriptor.digest, Digest::of(&bytes))?;
    Ok(bytes)
}
