//! The store on disk: which images there are, under which names, and their unpacked layers.
//!
//! ```text
//! <root>/                      owner only
//!   format                     {"format":1}; another number is refused
//!   lock                       flock(2): whoever changes names, images, leases or layers holds it, briefly
//!   blobs/sha256/<hex>         manifests and configurations; layer blobs are not kept once unpacked
//!   images/<manifest hex>.json what the image consists of
//!   names/<sha256 of name>.json  name -> manifest digest
//!   leases/<sha256 of holder>-<manifest hex>.json  a container that uses an image
//!   layers/<chain id hex>/     diff/ (an overlayfs lower directory), meta.json
//!   tmp/<session>/             what a live process is unpacking, and its pins; tmp/<session>.lock says it lives
//! ```
//!
//! A name, image or layer file appears by rename(2) of a synced file or directory, never by writing in place.
//! Removal goes the other way round (name, image, blobs, layers), so whatever a crash leaves is either complete
//! or garbage for [`ImageStore::collect_garbage`].

mod collect;
mod files;
mod ingest;
mod records;
mod session;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use serde::{Deserialize, Serialize};

pub use collect::{Collected, Removed};
pub(crate) use ingest::{Content, Ingest, Staged};

use crate::config::{ConfigBlob, ImageConfig, Platform};
use crate::digest::Digest;
use crate::error::{ImageError, PullError};
use crate::limits::Limits;
use crate::load;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::{self, RegistryAuth};
use records::{Format, ImageRecord, LayerMeta, LeaseRecord, NameRecord};
use session::Session;

/// The number in `format`. A store of another number is refused rather than guessed at.
const FORMAT: u32 = 1;
/// Shortest prefix of an image id that [`ImageStore::get`] accepts, as docker prints them.
const SHORT_ID_DIGITS: usize = 12;

/// The chain id of a layer: names its snapshot directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LayerId(pub Digest);

impl std::fmt::Display for LayerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// An image that is complete in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Every name of it, short form, sorted: `nginx:1.27`, `localhost:5000/app@sha256:…`.
    pub references: Vec<String>,
    /// Digest of the manifest that the registry serves for this platform. An image from a docker-save archive
    /// has none; its digest is that of the manifest that describes its uncompressed layers.
    pub manifest_digest: String,
    /// Digest of the configuration: docker's image id.
    pub image_id: String,
    /// What its containers run.
    pub config: ImageConfig,
    /// Lowest first.
    pub layers: Vec<LayerId>,
    /// Bytes of all files of all layers, unpacked.
    pub size_bytes: u64,
    /// When it was built, RFC 3339, as its configuration says.
    pub created: Option<String>,
}

/// That a container uses an image: as long as the lease lasts, neither the image nor its layers are collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it: a container's id.
    pub holder: String,
    /// The image's manifest digest.
    pub manifest_digest: String,
}

/// The images of one data directory. Cheap to clone; see the module for what several processes may do.
#[derive(Clone, Debug)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    limits: Limits,
    session: OnceLock<Session>,
    session_start: Mutex<()>,
    /// One pull at a time unpacks a layer; others that want it wait. Entries die with their last holder.
    layer_locks: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
    client: OnceLock<Arc<registry::Client>>,
}

impl ImageStore {
    /// Opens the store at `root`, making it when it is not there, and removes what crashed processes left.
    pub fn open(root: &Path) -> Result<Self, ImageError> {
        Self::open_with(root, Limits::default())
    }

    /// [`Self::open`] with other bounds.
    pub fn open_with(root: &Path, limits: Limits) -> Result<Self, ImageError> {
        files::create_private_directory(root)?;
        let root = root.canonicalize().map_err(|error| ImageError::io(root, error))?;
        for directory in ["blobs", "blobs/sha256", "images", "names", "leases", "layers", "tmp"] {
            files::create_private_directory(&root.join(directory))?;
        }
        let store = Self {
            inner: Arc::new(Inner {
                root,
                limits,
                session: OnceLock::new(),
                session_start: Mutex::default(),
                layer_locks: Mutex::default(),
                client: OnceLock::new(),
            }),
        };
        let lock = store.lock()?;
        store.check_format()?;
        for directory in ["", "blobs/sha256", "images", "names", "leases", "tmp"] {
            files::remove_unfinished(&store.path(directory))?;
        }
        let dead = session::dead_sessions(&store.path("tmp"))?;
        drop(lock);
        for directory in dead {
            session::remove_dead(&directory);
        }
        Ok(store)
    }

    fn check_format(&self) -> Result<(), ImageError> {
        let path = self.path("format");
        match files::read_json::<Format>(&path)? {
            None => files::write_json(&path, &Format { format: FORMAT }, files::Durability::Synced),
            Some(found) if found.format == FORMAT => Ok(()),
            Some(found) => Err(ImageError::Damaged {
                path,
                reason: format!("format {}, this program knows {FORMAT}", found.format),
            }),
        }
    }

    /// The directory given to [`Self::open`].
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub(crate) fn client_cell(&self) -> &OnceLock<Arc<registry::Client>> {
        &self.inner.client
    }

    fn path(&self, below: &str) -> PathBuf {
        self.inner.root.join(below)
    }

    /// Excludes every other change, of this process and others, until dropped.
    fn lock(&self) -> Result<File, ImageError> {
        let path = self.path("lock");
        let open = || {
            let file = fs::OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        open().map_err(|error| ImageError::io(&path, error))
    }

    /// This process's place under `tmp/`, made when first needed.
    fn session(&self) -> Result<&Session, ImageError> {
        if let Some(session) = self.inner.session.get() {
            return Ok(session);
        }
        // One thread makes it; a poisoned guard protects nothing that could be half done.
        let _start = self.inner.session_start.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(session) = self.inner.session.get() {
            return Ok(session);
        }
        let lock = self.lock()?;
        let session = Session::start(&self.path("tmp"))?;
        drop(lock);
        Ok(self.inner.session.get_or_init(|| session))
    }

    /// Fetches an image for `platform`, unless it is complete already, and gives it the name `reference`.
    /// The manifest is always asked for, so a moved tag is seen. Layers that the store has are not fetched.
    /// Dropping the future stops the pull and leaves nothing.
    pub async fn pull(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> Result<Image, PullError> {
        registry::pull(self, reference, auth, platform, progress).await
    }

    /// Loads every image for this machine's platform in an archive of `docker save` (either form) or an OCI
    /// image layout, plain or compressed with gzip or zstd. `tag` names the image instead of the archive's own
    /// names; it is refused when the archive holds several images. Blocks; call it from a blocking thread.
    pub fn load(
        &self,
        archive: &Path,
        tag: Option<&str>,
        progress: &dyn Progress,
    ) -> Result<Vec<Image>, ImageError> {
        load::load(self, archive, tag, progress)
    }

    /// The image with this name, `name@digest`, image id or prefix of an id of at least 12 digits. A failure to
    /// read the store is logged and answered as absence; [`Self::find`] tells them apart.
    pub fn get(&self, reference: &str) -> Option<Image> {
        self.find(reference).unwrap_or_else(|error| {
            tracing::error!(%error, reference, "the image store cannot be read");
            None
        })
    }

    /// As [`Self::get`], with the failure.
    pub fn find(&self, reference: &str) -> Result<Option<Image>, ImageError> {
        let Some(manifest) = self.resolve(reference)? else { return Ok(None) };
        let names = self.names()?;
        self.image(manifest, &names)
    }

    /// Every image, by first name.
    pub fn list(&self) -> Vec<Image> {
        self.try_list().unwrap_or_else(|error| {
            tracing::error!(%error, "the image store cannot be read");
            Vec::new()
        })
    }

    fn try_list(&self) -> Result<Vec<Image>, ImageError> {
        let names = self.names()?;
        let mut images = Vec::new();
        for manifest in files::digests_in(&self.path("images"), ".json")? {
            // One that another process removed meanwhile is no longer there, which is the truth.
            images.extend(self.image(manifest, &names)?);
        }
        images.sort_by(|a, b| (&a.references, &a.image_id).cmp(&(&b.references, &b.image_id)));
        Ok(images)
    }

    /// Records that `holder` (a container's id) uses the image. Survives this process and needs no renewal;
    /// taking the same lease twice is one lease.
    pub fn lease(&self, image: &Image, holder: &str) -> Result<Lease, ImageError> {
        let manifest: Digest = parse_stored(&image.manifest_digest)?;
        let _lock = self.lock()?;
        if !self.image_path(manifest).exists() {
            return Err(ImageError::NoSuchImage(image.manifest_digest.clone()));
        }
        let record = LeaseRecord { holder: holder.to_owned(), manifest_digest: manifest };
        // Not synced: after a power loss no container runs, so no lease is needed.
        files::write_json(&self.lease_path(holder, manifest), &record, files::Durability::Renamed)?;
        Ok(Lease { holder: record.holder, manifest_digest: manifest.to_string() })
    }

    /// Ends every lease of `holder`. Not holding any is no error.
    pub fn release(&self, holder: &str) -> Result<(), ImageError> {
        let _lock = self.lock()?;
        let prefix = format!("{}-", Digest::of(holder.as_bytes()).hex());
        let directory = self.path("leases");
        for name in files::names_in(&directory)? {
            if name.starts_with(&prefix) {
                files::remove_file(&directory.join(name))?;
            }
        }
        Ok(())
    }

    /// Every lease, for whoever reconciles them with the containers that there are.
    pub fn leases(&self) -> Result<Vec<Lease>, ImageError> {
        let records = self.lease_records()?;
        Ok(records
            .into_iter()
            .map(|record| Lease {
                holder: record.holder,
                manifest_digest: record.manifest_digest.to_string(),
            })
            .collect())
    }

    /// The image's layer directories as overlayfs wants them: topmost first. Layers below one that hides
    /// everything under it are left out.
    pub fn lower_directories(&self, image: &Image) -> Result<Vec<PathBuf>, ImageError> {
        let mut directories = Vec::with_capacity(image.layers.len());
        for layer in image.layers.iter().rev() {
            let meta = self.layer_meta(layer.0)?.ok_or_else(|| ImageError::Damaged {
                path: self.layer_path(layer.0),
                reason: "the layer is missing".to_owned(),
            })?;
            directories.push(self.layer_path(layer.0).join("diff"));
            if meta.opaque_root {
                break;
            }
        }
        Ok(directories)
    }

    fn image_path(&self, manifest: Digest) -> PathBuf {
        self.path("images").join(format!("{}.json", manifest.hex()))
    }

    fn name_path(&self, name: &str) -> PathBuf {
        self.path("names").join(format!("{}.json", Digest::of(name.as_bytes()).hex()))
    }

    fn lease_path(&self, holder: &str, manifest: Digest) -> PathBuf {
        self.path("leases").join(format!("{}-{}.json", Digest::of(holder.as_bytes()).hex(), manifest.hex()))
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        self.path("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn layer_path(&self, chain: Digest) -> PathBuf {
        self.path("layers").join(chain.hex())
    }

    pub(crate) fn layer_meta(&self, chain: Digest) -> Result<Option<LayerMeta>, ImageError> {
        files::read_json(&self.layer_path(chain).join("meta.json"))
    }

    fn lease_records(&self) -> Result<Vec<LeaseRecord>, ImageError> {
        files::read_all_json(&self.path("leases"))
    }

    /// Manifest digest -> its canonical names.
    fn names(&self) -> Result<BTreeMap<Digest, Vec<String>>, ImageError> {
        let mut names: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for record in files::read_all_json::<NameRecord>(&self.path("names"))? {
            names.entry(record.manifest_digest).or_default().push(record.reference);
        }
        Ok(names)
    }

    /// The manifest digest that a name, id or digest stands for.
    fn resolve(&self, text: &str) -> Result<Option<Digest>, ImageError> {
        if let Ok(reference) = Reference::parse(text) {
            let name = canonical(&reference);
            if let Some(record) = files::read_json::<NameRecord>(&self.name_path(&name))? {
                return Ok(Some(record.manifest_digest));
            }
            // By digest, an image that the repository has under a tag here, be it pulled or loaded from an archive.
            if let Some(digest) = reference.digest() {
                let names = self.names()?;
                let same = |name: &String| {
                    Reference::parse(name).is_ok_and(|there| {
                        there.registry() == reference.registry()
                            && there.repository() == reference.repository()
                    })
                };
                return Ok(names.get(&digest).is_some_and(|names| names.iter().any(same)).then_some(digest));
            }
        }
        let id = text.strip_prefix("sha256:").unwrap_or(text);
        if id.len() < SHORT_ID_DIGITS || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let mut found: Option<ImageRecord> = None;
        for record in files::read_all_json::<ImageRecord>(&self.path("images"))? {
            if !record.image_id.hex().starts_with(id) {
                continue;
            }
            // Two manifests may have one configuration (compressed differently): they are the same image.
            match &found {
                Some(other) if other.image_id != record.image_id => {
                    return Err(ImageError::AmbiguousId(text.to_owned()));
                }
                Some(_) => {}
                None => found = Some(record),
            }
        }
        Ok(found.map(|record| record.manifest_digest))
    }

    fn image(
        &self,
        manifest: Digest,
        names: &BTreeMap<Digest, Vec<String>>,
    ) -> Result<Option<Image>, ImageError> {
        let Some(record) = files::read_json::<ImageRecord>(&self.image_path(manifest))? else {
            return Ok(None);
        };
        let path = self.blob_path(record.image_id);
        let Some(bytes) = files::read(&path, self.inner.limits.config_bytes)? else { return Ok(None) };
        let damaged = |reason: String| ImageError::Damaged { path: path.clone(), reason };
        if Digest::of(&bytes) != record.image_id {
            return Err(damaged("its content is not what its name says".to_owned()));
        }
        let blob = ConfigBlob::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
        let mut references: Vec<String> =
            names.get(&manifest).into_iter().flatten().map(|name| familiar(name)).collect();
        references.sort();
        Ok(Some(Image {
            references,
            manifest_digest: manifest.to_string(),
            image_id: record.image_id.to_string(),
            created: blob.created.clone(),
            config: blob.into_config(),
            layers: record.layers.into_iter().map(LayerId).collect(),
            size_bytes: record.size_bytes,
        }))
    }

    /// The lock that makes one pull of this process at a time unpack a layer.
    pub(crate) fn layer_lock(&self, chain: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.inner.layer_locks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(lock) = locks.get(&chain).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        locks.insert(chain, Arc::downgrade(&lock));
        lock
    }
}

/// The name under which a reference is stored: with a digest, the tag says nothing.
pub(crate) fn canonical(reference: &Reference) -> String {
    match reference.digest() {
        Some(digest) => reference.with_digest(digest).to_string(),
        None => reference.to_string(),
    }
}

fn familiar(name: &str) -> String {
    Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}

fn parse_stored(digest: &str) -> Result<Digest, ImageError> {
    digest.parse().map_err(|_| ImageError::NoSuchImage(digest.to_owned()))
}
