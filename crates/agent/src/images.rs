//! Which image a container gets: pulled or local, by the pull behaviour. Pulls of one image are joined.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::Shared;
use image::{Image, Phase, Progress, Reference};

use crate::config::ImagePullBehavior;
use crate::files::{self, Durability};
use crate::registry_credentials::RegistryCredentials;
use crate::seams::{BoxFuture, ImageSource};

/// A pull that takes longer than this is told of in the log, again after each such time.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// Names remembered as pulled; beyond, all are forgotten, which at worst costs a pull.
const PULLED_MAXIMUM: usize = 4096;

/// An image, ready to make containers from.
#[derive(Clone, Debug)]
pub struct LocalImage {
    /// The store's own description.
    pub image: Image,
    /// Layer directories, topmost first.
    pub lower_directories: Vec<PathBuf>,
}

/// Why there is no image, in ECS's words: `CannotPullContainerError: …`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct PullFailure(pub String);

type Outcome = Result<Arc<Image>, PullFailure>;
type JoinedPull = Shared<BoxFuture<'static, Outcome>>;

/// Fetches images. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    source: Arc<dyn ImageSource>,
    behavior: ImagePullBehavior,
    pull_timeout: Duration,
    credentials: RegistryCredentials,
    under_way: Arc<Mutex<HashMap<String, JoinedPull>>>,
    pulled: Arc<Mutex<Pulled>>,
}

/// What this agent itself pulled: name to manifest digest. An image that is here under a name and is not listed with its digest
/// was loaded from an archive: no registry is asked for it.
struct Pulled {
    path: PathBuf,
    digests: BTreeMap<String, String>,
}

impl Images {
    /// Images of `source`; what was pulled is remembered in `state_file`.
    pub fn new(
        source: Arc<dyn ImageSource>,
        behavior: ImagePullBehavior,
        pull_timeout: Duration,
        credentials: RegistryCredentials,
        state_file: PathBuf,
    ) -> Self {
        // A damaged memory costs a pull, no more.
        let digests = files::read(&state_file).ok().flatten().unwrap_or_default();
        Self {
            source,
            behavior,
            pull_timeout,
            credentials,
            under_way: Arc::default(),
            pulled: Arc::new(Mutex::new(Pulled { path: state_file, digests })),
        }
    }

    /// The image for a container called `holder`, leased to it until [`Images::release`].
    pub async fn fetch(&self, reference: &str, holder: &str) -> Result<LocalImage, PullFailure> {
        let image = self.choose(reference).await?;
        let (images, holder) = (self.clone(), holder.to_owned());
        blocking(move || {
            let lower_directories = images.source.lower_directories(&image).map_err(store_failure)?;
            images.source.lease(&image, &holder).map_err(store_failure)?;
            Ok(LocalImage { image: (*image).clone(), lower_directories })
        })
        .await
    }

    /// The local image by manifest digest or name, for a container that exists already. No pull.
    pub async fn local(&self, reference: &str, digest: Option<&str>) -> Result<LocalImage, PullFailure> {
        let (images, name, digest) = (self.clone(), reference.to_owned(), digest.map(str::to_owned));
        blocking(move || {
            let by_digest = digest.as_deref().and_then(|digest| {
                let name = name.split('@').next().unwrap_or_default();
                images.source.find(&format!("{name}@{digest}")).ok().flatten()
            });
            let found = match by_digest {
                Some(image) => Some(image),
                None => images.source.find(&name).map_err(store_failure)?,
            };
            let image = found
                .ok_or_else(|| PullFailure(format!("CannotPullContainerError: {name} is no longer here")))?;
            let lower_directories = images.source.lower_directories(&image).map_err(store_failure)?;
            Ok(LocalImage { image, lower_directories })
        })
        .await
    }

    /// Ends the lease of a container.
    pub async fn release(&self, holder: &str) {
        let (source, holder) = (Arc::clone(&self.source), holder.to_owned());
        let released = blocking(move || source.release(&holder).map_err(store_failure)).await;
        if let Err(error) = released {
            tracing::warn!(%error, "an image's lease could not be ended");
        }
    }

    /// Removes what no name and no container uses, again and again.
    pub async fn collect_forever(self, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            let source = Arc::clone(&self.source);
            let collected = tokio::task::spawn_blocking(move || source.collect_garbage()).await;
            if let Ok(Err(error)) = collected {
                tracing::warn!(error = crate::words(&error), "unused images could not be removed");
            }
        }
    }

    async fn choose(&self, reference: &str) -> Outcome {
        let parsed = Reference::parse(reference)
            .map_err(|error| PullFailure(format!("CannotPullContainerError: {error}")))?;
        let (source, name) = (Arc::clone(&self.source), reference.to_owned());
        let local = blocking(move || source.find(&name).map_err(store_failure)).await?;
        let take_local = match (&local, self.behavior) {
            (None, _) | (Some(_), ImagePullBehavior::Always) => false,
            (Some(_), ImagePullBehavior::Once | ImagePullBehavior::PreferCached) => true,
            // A digest names the same content for ever.
            (Some(image), ImagePullBehavior::Default) => {
                parsed.digest().is_some() || !self.was_pulled(reference, image)
            }
        };
        if let (true, Some(image)) = (take_local, &local) {
            return Ok(Arc::new(image.clone()));
        }
        match (self.join_pull(reference, parsed).await, local) {
            (Err(error), Some(image)) if self.behavior == ImagePullBehavior::Default => {
                tracing::warn!(%error, reference, "the image could not be pulled; the local one is taken");
                Ok(Arc::new(image))
            }
            (outcome, _) => outcome,
        }
    }

    fn was_pulled(&self, reference: &str, image: &Image) -> bool {
        let pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        pulled.digests.get(reference) == Some(&image.manifest_digest)
    }

    fn remember(&self, reference: &str, image: &Image) {
        let mut pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        if pulled.digests.len() >= PULLED_MAXIMUM {
            pulled.digests.clear();
        }
        let before = pulled.digests.insert(reference.to_owned(), image.manifest_digest.clone());
        if before.as_ref() != Some(&image.manifest_digest)
            && let Err(error) = files::write(&pulled.path, &pulled.digests, Durability::Process)
        {
            tracing::warn!(%error, "what was pulled could not be noted");
        }
    }

    /// Waits for the pull of `reference` that is under way, or begins one. A caller that goes away does not end it for the others.
    async fn join_pull(&self, reference: &str, parsed: Reference) -> Outcome {
        let pull = {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            match under_way.get(reference) {
                Some(pull) => pull.clone(),
                None => {
                    let (images, name) = (self.clone(), reference.to_owned());
                    let running = tokio::spawn(async move {
                        let outcome = images.pull(&name, &parsed).await;
                        images.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
                        outcome
                    });
                    let pull: BoxFuture<'static, Outcome> = Box::pin(async move {
                        running.await.unwrap_or_else(|_| {
                            Err(PullFailure("CannotPullContainerError: the pull was interrupted".to_owned()))
                        })
                    });
                    let pull = pull.shared();
                    under_way.insert(reference.to_owned(), pull.clone());
                    pull
                }
            }
        };
        pull.await
    }

    async fn pull(&self, reference: &str, parsed: &Reference) -> Outcome {
        let progress = LoggedProgress::new(reference);
        let auth = self
            .credentials
            .of(parsed)
            .map_err(|error| PullFailure(format!("CannotPullContainerError: {error}")))?;
        let pulling = self.source.pull(parsed, &auth, &progress);
        let image = match tokio::time::timeout(self.pull_timeout, pulling).await {
            Ok(Ok(image)) => image,
            Ok(Err(error)) => return Err(PullFailure(format!("CannotPullContainerError: {error}"))),
            Err(_) => {
                return Err(PullFailure(format!(
                    "DockerTimeoutError: Could not transition to pulled; timed out after waiting {:?}",
                    self.pull_timeout
                )));
            }
        };
        self.remember(reference, &image);
        Ok(Arc::new(image))
    }
}

fn store_failure(error: image::ImageError) -> PullFailure {
    PullFailure(format!("CannotPullContainerError: {error}"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PullFailure> + Send + 'static,
) -> Result<T, PullFailure> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(PullFailure("CannotPullContainerError: the image store failed".to_owned())))
}

/// When the log was last told, and the bytes of each layer: done and, where known, in total.
type PullState = (Instant, BTreeMap<String, (u64, Option<u64>)>);

/// Tells the log how far a pull is, once it takes more than a second.
struct LoggedProgress {
    reference: String,
    state: Mutex<PullState>,
}

impl LoggedProgress {
    fn new(reference: &str) -> Self {
        Self { reference: reference.to_owned(), state: Mutex::new((Instant::now(), BTreeMap::new())) }
    }
}

impl Progress for LoggedProgress {
    fn layer(&self, digest: &str, done: u64, total: Option<u64>, phase: Phase) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let total = if matches!(phase, Phase::Complete | Phase::AlreadyExists) { Some(done) } else { total };
        state.1.insert(digest.to_owned(), (done, total));
        if state.0.elapsed() >= PROGRESS_INTERVAL {
            state.0 = Instant::now();
            let done: u64 = state.1.values().map(|(done, _)| done).sum();
            let total: u64 = state.1.values().map(|(done, total)| total.unwrap_or(*done)).sum();
            tracing::info!(
                image = self.reference,
                bytes = done,
                of = total,
                layers = state.1.len(),
                "pulling"
            );
        }
    }

    fn message(&self, text: &str) {
        tracing::info!(image = self.reference, "{text}");
    }
}
