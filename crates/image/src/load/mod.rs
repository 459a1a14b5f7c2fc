//! Loading images from archives: what `docker save` writes (before and since version 25) and OCI image layouts in
//! a tar file.

mod archive;
mod docker;
mod layout;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::config::{ConfigBlob, Platform};
use crate::digest::Digest;
use crate::error::ImageError;
use crate::layer::{Expected, unpack_layer};
use crate::manifest::check_platform;
use crate::progress::{Phase, Progress};
use crate::reference::Reference;
use crate::store::{Content, Image, ImageStore, Staged};
use archive::{ArchiveFile, Member};

/// An image that an archive holds.
struct Found {
    content: Content,
    config: ConfigBlob,
    names: Vec<Reference>,
    layers: Vec<Layer>,
}

/// A layer that an archive holds.
struct Layer {
    member: Member,
    /// Of the member's bytes, when a manifest gives them.
    blob: Option<(Digest, u64)>,
}

pub(crate) fn load(
    store: &ImageStore,
    path: &Path,
    tag: Option<&str>,
    progress: &dyn Progress,
) -> Result<Vec<Image>, ImageError> {
    let tag = tag.map(Reference::parse).transpose()?;
    let archive = ArchiveFile::open(store, path, progress)?;
    let platform = Platform::host();
    let mut found = if archive.has(b"oci-layout") && archive.has(b"index.json") {
        layout::images(&archive, &platform, store.limits())?
    } else if archive.has(b"manifest.json") {
        docker::images(&archive, store.limits())?
    } else {
        return Err(archive.refused("neither manifest.json nor oci-layout in it"));
    };
    if let Some(tag) = tag {
        let [only] = &mut found[..] else {
            return Err(archive.refused("it does not hold exactly one image, so one name does not do"));
        };
        only.names = vec![tag];
    }
    let mut images = Vec::new();
    for image in found {
        check_platform(&image.config, &platform)?;
        let image = take_in(store, &archive, image, progress)?;
        match image.references.as_slice() {
            [] => progress
                .message(&format!("Loaded image ID: {} (no name; give one with --tag)", image.image_id)),
            names => progress.message(&format!("Loaded image: {}", names.join(", "))),
        }
        images.push(image);
    }
    Ok(images)
}

fn take_in(
    store: &ImageStore,
    archive: &ArchiveFile,
    found: Found,
    progress: &dyn Progress,
) -> Result<Image, ImageError> {
    let mut ingest = store.ingest(found.content)?;
    let mut work = Vec::new();
    for (index, layer) in found.layers.into_iter().enumerate() {
        let Some(diff_id) = ingest.diff_id(index) else { break };
        if ingest.has_layer(index)? {
            let size = layer.member.bytes();
            progress.layer(&diff_id.to_string(), size, Some(size), Phase::AlreadyExists);
        } else {
            work.push((index, layer, diff_id));
        }
    }
    for (index, staged) in unpack_all(store, archive, &work, progress)? {
        ingest.stage(index, staged);
    }
    ingest.finish(&found.names)
}

/// Unpacks layers side by side; the first failure stops the rest.
fn unpack_all(
    store: &ImageStore,
    archive: &ArchiveFile,
    work: &[(usize, Layer, Digest)],
    progress: &dyn Progress,
) -> Result<Vec<(usize, Staged)>, ImageError> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Vec::new(), None::<ImageError>));
    let results_of = || results.lock().unwrap_or_else(PoisonError::into_inner);
    let run = || {
        while let Some((index, layer, diff_id)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            let name = diff_id.to_string();
            let size = layer.member.bytes();
            let report = |done| progress.layer(&name, done, Some(size), Phase::Unpacking);
            let expected = Expected { blob: layer.blob, diff_id: *diff_id };
            let result = unpack_layer(store, archive.read(&layer.member, &report), &expected);
            let mut results = results_of();
            match result {
                Ok(staged) => {
                    results.0.push((*index, staged));
                    progress.layer(&name, size, Some(size), Phase::Complete);
                }
                Err(error) => {
                    next.store(work.len(), Ordering::Relaxed);
                    results.1.get_or_insert(error);
                }
            }
        }
    };
    let threads = store.limits().parallel_layers.min(work.len());
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
    let (staged, error) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    match error {
        Some(error) => Err(error),
        None => Ok(staged),
    }
}
