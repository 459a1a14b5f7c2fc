//! Pulling from registries that speak the OCI distribution protocol (docker's registry API v2).
//!
//! A small client of our own over hyper and rustls (`decisions/0010-images.md` says why): every body is bounded,
//! every wait too, redirects carry no credentials to another origin, and plain http goes to loopback only.

mod challenge;
mod client;
mod connect;
mod download;
mod session;

use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt;

use crate::config::Platform;
use crate::digest::Digest;
use crate::error::{ImageError, PullError};
use crate::layer::{Expected, check_digest, check_size};
use crate::manifest::{Descriptor, Document, Manifest, check_platform, choose};
use crate::progress::{Phase, Progress};
use crate::reference::Reference;
use crate::store::{Content, Image, ImageStore, Ingest};
pub(crate) use client::Client;
use session::Session;

/// What to say to a registry that asks who is there.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum RegistryAuth {
    /// Nothing, or a token that is given to anybody.
    #[default]
    Anonymous,
    /// A name and a password, given to the registry or to the token server that it names.
    Basic {
        /// The user; `AWS` for Amazon ECR.
        username: String,
        /// Never printed.
        password: String,
    },
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { username, .. } => {
                f.debug_struct("Basic").field("username", username).finish_non_exhaustive()
            }
        }
    }
}

pub(crate) async fn pull(
    store: &ImageStore,
    reference: &Reference,
    auth: &RegistryAuth,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Image, PullError> {
    let session = Session::new(store.client(), reference, auth, progress);
    progress.message(&format!("Pulling from {}", reference.repository()));
    let wanted = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    let (top_digest, manifest_bytes, manifest) = find_manifest(&session, store, &wanted, platform).await?;
    let config = small_blob(&session, &manifest.config, store.limits().config_bytes).await?;
    let (content, config) = Content::new(manifest_bytes, config, manifest.layers.len())?;
    check_platform(&config, platform)?;

    let ingest = {
        let store = store.clone();
        blocking(move || store.ingest(content)).await?
    };
    let names = match reference.digest() {
        Some(_) => vec![reference.clone()],
        None => vec![reference.clone(), reference.with_digest(top_digest)],
    };
    let locks = lock_missing_layers(store, &ingest).await?;
    let fetched = fetch_layers(&session, store, ingest, &manifest.layers, progress).await?;
    let image = blocking(move || fetched.finish(&names)).await?;
    drop(locks);
    progress.message(&format!("Digest: {top_digest}"));
    Ok(image)
}

/// The manifest for the platform, with the digest of what the reference itself stands for: index or manifest.
async fn find_manifest(
    session: &Session<'_>,
    store: &ImageStore,
    wanted: &str,
    platform: &Platform,
) -> Result<(Digest, Vec<u8>, Manifest), PullError> {
    let (bytes, content_type) = session.manifest(wanted).await?;
    let top = Digest::of(&bytes);
    if let Ok(expected) = wanted.parse::<Digest>() {
        check_digest("manifest", expected, top)?;
    }
    let variants = match Document::parse(&bytes, content_type.as_deref(), store.limits())? {
        Document::Manifest(manifest) => return Ok((top, bytes, manifest)),
        Document::Index(variants) => variants,
    };
    let chosen = choose(&variants, platform)?;
    let (bytes, content_type) = session.manifest(&chosen.digest.to_string()).await?;
    check_digest("manifest", chosen.digest, Digest::of(&bytes))?;
    check_size("manifest", chosen.size, bytes.len() as u64)?;
    match Document::parse(&bytes, content_type.as_deref(), store.limits())? {
        Document::Manifest(manifest) => Ok((top, bytes, manifest)),
        Document::Index(_) => Err(ImageError::Manifest("an index within an index".to_owned()).into()),
    }
}

/// The configuration: small enough to hold.
async fn small_blob(
    session: &Session<'_>,
    descriptor: &Descriptor,
    maximum: u64,
) -> Result<Vec<u8>, PullError> {
    if descriptor.size > maximum {
        return Err(ImageError::Limit { what: "bytes of an image configuration", maximum }.into());
    }
    let bytes = session.small_blob(descriptor.digest, descriptor.size).await?;
    check_size("image configuration", descriptor.size, bytes.len() as u64)?;
    check_digest("image configuration", descriptor.digest, Digest::of(&bytes))?;
    Ok(bytes)
}

/// Waits for other pulls of this process that fetch the same layers. Taken from the lowest layer up: two images
/// share layers only from the bottom, so nobody waits in a circle.
async fn lock_missing_layers(
    store: &ImageStore,
    ingest: &Ingest,
) -> Result<Vec<tokio::sync::OwnedMutexGuard<()>>, PullError> {
    let mut guards = Vec::new();
    for (index, chain) in ingest.chain().iter().enumerate() {
        if !ingest.has_layer(index)? {
            let guard = store.layer_lock(*chain).lock_owned().await;
            guards.push(guard);
        }
    }
    Ok(guards)
}

/// Downloads and unpacks what the store lacks, a few layers at a time.
async fn fetch_layers(
    session: &Session<'_>,
    store: &ImageStore,
    mut ingest: Ingest,
    layers: &[Descriptor],
    progress: &dyn Progress,
) -> Result<Ingest, PullError> {
    let mut work = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let Some(diff_id) = ingest.diff_id(index) else { break };
        if ingest.has_layer(index)? {
            progress.layer(&layer.digest.to_string(), layer.size, Some(layer.size), Phase::AlreadyExists);
        } else {
            work.push((index, layer.clone(), Expected { blob: Some((layer.digest, layer.size)), diff_id }));
        }
    }
    let parallel = store.limits().parallel_layers.max(1);
    let fetches = work.into_iter().map(|(index, layer, expected)| async move {
        let staged = download::layer(session, store, &layer, expected, progress).await?;
        Ok::<_, PullError>((index, staged))
    });
    let mut fetches = futures_util::stream::iter(fetches).buffer_unordered(parallel);
    let mut failure = None;
    while let Some(result) = fetches.next().await {
        match result {
            Ok((index, staged)) => ingest.stage(index, staged),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    drop(fetches);
    match failure {
        None => Ok(ingest),
        Some(error) => {
            // Deleting what other layers unpacked to takes a while.
            blocking(move || {
                drop(ingest);
                Ok(())
            })
            .await?;
            Err(error)
        }
    }
}

/// Runs what waits for the disk where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, PullError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(ImageError::Stream(std::io::ErrorKind::Interrupted.into()).into()),
    }
}

impl ImageStore {
    /// The connections to registries, made when first needed.
    fn client(&self) -> Arc<Client> {
        self.client_cell().get_or_init(|| Arc::new(Client::new(self.limits()))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_printed() {
        let auth = RegistryAuth::Basic { username: "AWS".into(), password: "hunter2".into() };
        let text = format!("{auth:?} {:?}", Some(&auth));
        assert!(text.contains("AWS") && !text.contains("hunter2"), "{text}");
    }
}
