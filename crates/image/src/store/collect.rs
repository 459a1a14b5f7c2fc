//! Removal of images and of what nothing uses any more.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::ImageError;
use crate::reference::Reference;
use crate::store::files;
use crate::store::records::{ImageRecord, NameRecord, PinRecord};
use crate::store::{ImageStore, canonical};
use crate::unpack::remove_tree;

/// What [`ImageStore::remove`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone, short form.
    pub untagged: Vec<String>,
    /// Image ids that are gone; empty while another name or a lease keeps the image.
    pub deleted: Vec<String>,
    /// What the deletion freed.
    pub freed: Collected,
}

/// What a collection freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Images.
    pub images: u64,
    /// Unpacked layers.
    pub layers: u64,
    /// Bytes of the layers' files.
    pub bytes: u64,
}

/// Everything that must stay.
#[derive(Default)]
struct Used {
    images: BTreeSet<Digest>,
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
}

impl ImageStore {
    /// Takes away one name, or with an image id every name, of an image. The image itself goes too when neither
    /// a name nor a lease is left. A digest name goes with the last tag of its repository, as in docker.
    pub fn remove(&self, reference: &str) -> Result<Removed, ImageError> {
        // Started before the lock is taken, because starting takes it.
        self.session()?;
        let lock = self.lock()?;
        let Some(manifest) = self.resolve(reference)? else {
            return Err(ImageError::NoSuchImage(reference.to_owned()));
        };
        let all: Vec<NameRecord> = files::read_all_json(&self.path("names"))?;
        let of_image: Vec<&str> = all
            .iter()
            .filter(|name| name.manifest_digest == manifest)
            .map(|name| name.reference.as_str())
            .collect();
        let given = Reference::parse(reference).ok().map(|parsed| canonical(&parsed));
        let going = match given.filter(|given| of_image.contains(&given.as_str())) {
            Some(given) => with_orphaned_digests(given, &of_image),
            None => of_image.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut removed = Removed::default();
        for name in going {
            files::remove_file(&self.name_path(&name))?;
            removed.untagged.push(super::familiar(&name));
        }
        sync(&self.path("names"))?;
        let trash = self.drop_unused(|candidate| candidate == manifest, &mut removed)?;
        drop(lock);
        removed.freed = empty(trash, removed.freed)?;
        Ok(removed)
    }

    /// Frees what no name, no lease and no running pull or load uses.
    pub fn collect_garbage(&self) -> Result<Collected, ImageError> {
        // Started before the lock is taken, because starting takes it.
        self.session()?;
        let lock = self.lock()?;
        let mut removed = Removed::default();
        let mut trash = self.drop_unused(|_| true, &mut removed)?;
        let used = self.used()?;
        // Layers and documents that no image names: of a crash between two steps.
        for chain in files::digests_in(&self.path("layers"), "")? {
            if !used.layers.contains(&chain) {
                trash.push(self.discard_layer(chain)?);
                removed.freed.layers += 1;
            }
        }
        for digest in files::digests_in(&self.path("blobs/sha256"), "")? {
            if !used.blobs.contains(&digest) {
                files::remove_file(&self.blob_path(digest))?;
            }
        }
        drop(lock);
        empty(trash, removed.freed)
    }

    /// Removes the records of unused images that `candidate` names, and moves their unused layers aside, which
    /// the caller empties after it let go of the lock. Under the lock.
    fn drop_unused(
        &self,
        candidate: impl Fn(Digest) -> bool,
        removed: &mut Removed,
    ) -> Result<Vec<(PathBuf, u64)>, ImageError> {
        let used = self.used()?;
        let mut gone: Vec<ImageRecord> = Vec::new();
        for record in files::read_all_json::<ImageRecord>(&self.path("images"))? {
            if candidate(record.manifest_digest) && !used.images.contains(&record.manifest_digest) {
                files::remove_file(&self.image_path(record.manifest_digest))?;
                removed.deleted.push(record.image_id.to_string());
                removed.freed.images += 1;
                gone.push(record);
            }
        }
        sync(&self.path("images"))?;
        // Again, now that those images use nothing.
        let used = self.used()?;
        let mut trash = Vec::new();
        for record in gone {
            for digest in [record.manifest_digest, record.image_id] {
                if !used.blobs.contains(&digest) {
                    files::remove_file(&self.blob_path(digest))?;
                }
            }
            for chain in record.layers {
                if !used.layers.contains(&chain) && self.layer_path(chain).exists() {
                    trash.push(self.discard_layer(chain)?);
                    removed.freed.layers += 1;
                }
            }
        }
        Ok(trash)
    }

    fn used(&self) -> Result<Used, ImageError> {
        let mut used = Used::default();
        let pins = self.pins()?;
        for pin in &pins {
            used.blobs.extend(&pin.blobs);
            used.layers.extend(&pin.layers);
        }
        used.images.extend(self.names()?.into_keys());
        used.images.extend(self.lease_records()?.into_iter().map(|lease| lease.manifest_digest));
        for record in files::read_all_json::<ImageRecord>(&self.path("images"))? {
            // A pull that is about to finish may rely on the record as well as on the layers.
            if used.blobs.contains(&record.manifest_digest) {
                used.images.insert(record.manifest_digest);
            }
            used.blobs.extend([record.manifest_digest, record.image_id]);
            used.layers.extend(record.layers);
        }
        Ok(used)
    }

    fn pins(&self) -> Result<Vec<PinRecord>, ImageError> {
        let tmp = self.path("tmp");
        let mut pins = Vec::new();
        for session in files::names_in(&tmp)? {
            let directory = tmp.join(&session);
            if !directory.is_dir() {
                continue;
            }
            for name in files::names_in(&directory)? {
                if name.starts_with("pin-") && files::is_record(&name) {
                    pins.extend(files::read_json::<PinRecord>(&directory.join(name))?);
                }
            }
        }
        Ok(pins)
    }

    /// Moves a layer out of sight, atomically; the bytes that it holds.
    fn discard_layer(&self, chain: Digest) -> Result<(PathBuf, u64), ImageError> {
        let bytes = self.layer_meta(chain).ok().flatten().map_or(0, |meta| meta.bytes);
        let trash = self.session()?.fresh_path("trash");
        let place = self.layer_path(chain);
        fs::rename(&place, &trash).map_err(|error| ImageError::io(&place, error))?;
        Ok((trash, bytes))
    }
}

/// The name, and the digest names of its repository when no tag of that repository stays.
fn with_orphaned_digests(name: String, of_image: &[&str]) -> Vec<String> {
    let repository = |name: &str| {
        Reference::parse(name)
            .ok()
            .map(|parsed| (parsed.registry().to_owned(), parsed.repository().to_owned()))
    };
    let mine = repository(&name);
    let is_digest = |name: &str| name.contains('@');
    let same: Vec<&str> =
        of_image.iter().copied().filter(|other| *other != name && repository(other) == mine).collect();
    let mut going = vec![name];
    if same.iter().all(|other| is_digest(other)) {
        going.extend(same.into_iter().map(str::to_owned));
    }
    going
}

fn sync(directory: &Path) -> Result<(), ImageError> {
    fs::File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|error| ImageError::io(directory, error))
}

/// Deletes what was moved aside: slow, and so without the lock. What fails here goes with the session.
fn empty(trash: Vec<(PathBuf, u64)>, mut freed: Collected) -> Result<Collected, ImageError> {
    for (directory, bytes) in trash {
        remove_tree(&directory).map_err(|error| ImageError::io(&directory, error))?;
        freed.bytes += bytes;
    }
    Ok(freed)
}
