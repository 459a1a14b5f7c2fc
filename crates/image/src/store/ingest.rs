//! From verified manifest, configuration and unpacked layers to an image that the store has.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use crate::config::ConfigBlob;
use crate::digest::{Digest, chain_id};
use crate::error::ImageError;
use crate::reference::Reference;
use crate::store::files::{self, Durability};
use crate::store::records::{ImageRecord, LayerMeta, NameRecord, PinRecord};
use crate::store::{Image, ImageStore, canonical};
use crate::unpack::{Unpacked, remove_tree};

/// An image's two documents, verified against their digests by whoever made this.
pub(crate) struct Content {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    /// Of every layer, lowest first; from the configuration.
    pub(crate) diff_ids: Vec<Digest>,
}

impl Content {
    /// Checks that the configuration describes as many layers as the manifest lists.
    pub(crate) fn new(
        manifest: Vec<u8>,
        config: Vec<u8>,
        layers: usize,
    ) -> Result<(Self, ConfigBlob), ImageError> {
        let blob = ConfigBlob::parse(&config)
            .map_err(|error| ImageError::Manifest(format!("image configuration: {error}")))?;
        let diff_ids = blob.rootfs.diff_ids.clone();
        if diff_ids.len() != layers {
            let text = format!("{layers} layers, but {} diff ids in the configuration", diff_ids.len());
            return Err(ImageError::Manifest(text));
        }
        Ok((Self { manifest, config, diff_ids }, blob))
    }

    fn chain(&self) -> Vec<Digest> {
        let mut parent = None;
        let extend = |diff_id: &Digest| {
            let chain = chain_id(parent, *diff_id);
            parent = Some(chain);
            chain
        };
        self.diff_ids.iter().map(extend).collect()
    }
}

/// One image on its way into the store. What it names is pinned, so that a concurrent collection of garbage
/// leaves it alone until [`Ingest::finish`] or the drop.
pub(crate) struct Ingest {
    store: ImageStore,
    content: Content,
    chain: Vec<Digest>,
    pin: PathBuf,
    /// By layer: unpacked and not yet in place.
    staged: Vec<Option<Staged>>,
}

/// An unpacked layer in the session's directory; removed on drop unless renamed into place.
pub(crate) struct Staged {
    directory: PathBuf,
    pub(crate) unpacked: Unpacked,
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = remove_tree(&self.directory);
    }
}

impl Staged {
    /// Where to unpack to.
    pub(crate) fn diff(&self) -> PathBuf {
        self.directory.join("diff")
    }
}

impl ImageStore {
    /// Begins to take in an image.
    pub(crate) fn ingest(&self, content: Content) -> Result<Ingest, ImageError> {
        let chain = content.chain();
        let blobs = vec![Digest::of(&content.manifest), Digest::of(&content.config)];
        let pin = self.session()?.fresh_path("pin").with_extension("json");
        let _lock = self.lock()?;
        files::write_json(&pin, &PinRecord { blobs, layers: chain.clone() }, Durability::Renamed)?;
        let staged = chain.iter().map(|_| None).collect();
        Ok(Ingest { store: self.clone(), content, chain, pin, staged })
    }

    /// A directory of this process to unpack a layer in: made, with `diff/` inside.
    pub(crate) fn stage_layer(&self) -> Result<Staged, ImageError> {
        let directory = self.session()?.fresh_path("layer");
        files::create_private_directory(&directory)?;
        let staged = Staged { directory, unpacked: Unpacked::default() };
        let diff = staged.diff();
        fs::create_dir(&diff).map_err(|error| ImageError::io(&diff, error))?;
        Ok(staged)
    }

    /// A path of this process for a temporary file.
    pub(crate) fn temporary_path(&self, prefix: &str) -> Result<PathBuf, ImageError> {
        Ok(self.session()?.fresh_path(prefix))
    }
}

impl Ingest {
    /// Chain ids, lowest first.
    pub(crate) fn chain(&self) -> &[Digest] {
        &self.chain
    }

    /// The diff id that layer `index` must have.
    pub(crate) fn diff_id(&self, index: usize) -> Option<Digest> {
        self.content.diff_ids.get(index).copied()
    }

    /// Whether layer `index` is in the store already.
    pub(crate) fn has_layer(&self, index: usize) -> Result<bool, ImageError> {
        match self.chain.get(index) {
            Some(chain) => Ok(self.store.layer_meta(*chain)?.is_some()),
            None => Ok(false),
        }
    }

    /// Hands over an unpacked and verified layer.
    pub(crate) fn stage(&mut self, index: usize, staged: Staged) {
        if let Some(place) = self.staged.get_mut(index) {
            *place = Some(staged);
        }
    }

    /// Puts everything in place: layers from the lowest up, then documents, image and names. Each name moves
    /// from the image that had it. Blocks on the disk.
    pub(crate) fn finish(mut self, names: &[Reference]) -> Result<Image, ImageError> {
        let size_bytes = self.place_layers()?;
        let manifest_digest = Digest::of(&self.content.manifest);
        let image_id = Digest::of(&self.content.config);
        let lock = self.store.lock()?;
        for (digest, bytes) in [(manifest_digest, &self.content.manifest), (image_id, &self.content.config)] {
            let path = self.store.blob_path(digest);
            if !path.exists() {
                files::write(&path, bytes, Durability::Synced)?;
            }
        }
        let record = ImageRecord { manifest_digest, image_id, layers: self.chain.clone(), size_bytes };
        files::write_json(&self.store.image_path(manifest_digest), &record, Durability::Synced)?;
        for name in names {
            let record = NameRecord { reference: canonical(name), manifest_digest };
            let path = self.store.name_path(&record.reference);
            let unchanged = files::read_json::<NameRecord>(&path)
                .is_ok_and(|old| old.is_some_and(|old| old.manifest_digest == manifest_digest));
            if !unchanged {
                files::write_json(&path, &record, Durability::Synced)?;
            }
        }
        let names = self.store.names()?;
        let image = self.store.image(manifest_digest, &names)?;
        drop(lock);
        image.ok_or_else(|| ImageError::NoSuchImage(manifest_digest.to_string()))
    }

    /// Returns the bytes of all layers.
    fn place_layers(&mut self) -> Result<u64, ImageError> {
        // What a layer takes from those below it, and its description: before the sync, so that both are in it.
        let mut lowers: Vec<PathBuf> = Vec::new();
        let mut size_bytes = 0u64;
        let mut any = false;
        let limits = self.store.limits().clone();
        for index in 0..self.chain.len() {
            let Some((&chain, &diff_id)) = self.chain.get(index).zip(self.content.diff_ids.get(index)) else {
                break;
            };
            let in_place = self.store.layer_path(chain);
            let meta = match self.staged.get_mut(index).and_then(Option::as_mut) {
                Some(staged) => {
                    let diff = staged.diff();
                    staged.unpacked.complete(&diff, &lowers, &limits)?;
                    let meta = LayerMeta {
                        diff_id,
                        parent: index.checked_sub(1).and_then(|below| self.chain.get(below)).copied(),
                        bytes: staged.unpacked.bytes,
                        entries: staged.unpacked.entries,
                        opaque_root: staged.unpacked.opaque_root,
                    };
                    files::write_json(&staged.directory.join("meta.json"), &meta, Durability::Renamed)?;
                    any = true;
                    lowers.insert(0, diff);
                    meta
                }
                None => {
                    let missing = || ImageError::Damaged {
                        path: in_place.clone(),
                        reason: "the layer is missing".to_owned(),
                    };
                    lowers.insert(0, in_place.join("diff"));
                    self.store.layer_meta(chain)?.ok_or_else(missing)?
                }
            };
            if meta.opaque_root {
                lowers.truncate(1);
            }
            size_bytes = size_bytes.saturating_add(meta.bytes);
        }
        if any {
            self.sync()?;
            self.rename_layers()?;
        }
        Ok(size_bytes)
    }

    /// One syncfs(2) for the thousands of files of an image, instead of an fsync(2) each.
    fn sync(&self) -> Result<(), ImageError> {
        let root = self.store.root();
        let sync = || -> io::Result<()> { Ok(rustix::fs::syncfs(File::open(root)?)?) };
        sync().map_err(|error| ImageError::io(root, error))
    }

    fn rename_layers(&mut self) -> Result<(), ImageError> {
        let layers = self.store.path("layers");
        for (chain, staged) in self.chain.iter().zip(&mut self.staged) {
            let Some(staged) = staged.take() else { continue };
            let place = self.store.layer_path(*chain);
            match fs::rename(&staged.directory, &place) {
                Ok(()) => {}
                // Another process was faster; ours goes with the drop.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EEXIST | libc::ENOTEMPTY))
                        && self.store.layer_meta(*chain)?.is_some() => {}
                Err(error) => return Err(ImageError::io(&place, error)),
            }
        }
        File::open(&layers).and_then(|file| file.sync_all()).map_err(|error| ImageError::io(&layers, error))
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        let _ = files::remove_file(&self.pin);
    }
}
