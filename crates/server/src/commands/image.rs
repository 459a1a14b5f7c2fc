//! `roadstead image`: load, list, remove and collect images, with `up` running or not.

use std::path::Path;

use image::{Image, ImageStore};

use crate::cli::ImageCommand;
use crate::commands::{Failure, with_causes};
use crate::data_dir::DataDir;
use crate::terminal::{ProgressBar, bytes, line};

/// Does what `command` says.
pub fn run(command: ImageCommand) -> Result<(), Failure> {
    match command {
        ImageCommand::Load { file, tag, data } => load(&open(&data.data_dir)?, &file, tag.as_deref()),
        ImageCommand::Ls { data } => {
            list(&open(&data.data_dir)?);
            Ok(())
        }
        ImageCommand::Rm { name, data } => remove(&open(&data.data_dir)?, &name),
        ImageCommand::Gc { data } => {
            let collected = open(&data.data_dir)?.collect_garbage().map_err(|error| with_causes(&error))?;
            let (images, layers) = (collected.images, collected.layers);
            line(&format!("Removed {images} images and {layers} layers: {} freed", bytes(collected.bytes)));
            Ok(())
        }
    }
}

fn open(root: &Path) -> Result<ImageStore, Failure> {
    let dir = DataDir::open(root).map_err(|error| error.to_string())?;
    ImageStore::open(&dir.images()).map_err(|error| with_causes(&error))
}

fn load(images: &ImageStore, file: &Path, tag: Option<&str>) -> Result<(), Failure> {
    let progress = ProgressBar::new();
    let loaded = images.load(file, tag, &progress);
    progress.finish();
    for image in loaded.map_err(|error| with_causes(&error))? {
        line(&format!("Loaded {} ({}, {})", names(&image), short(&image.image_id), bytes(image.size_bytes)));
    }
    Ok(())
}

fn list(images: &ImageStore) {
    line(&format!("{:<48} {:<14} {:>6} {:>10}", "NAME", "IMAGE ID", "LAYERS", "SIZE"));
    for image in images.list() {
        let names =
            if image.references.is_empty() { vec!["<none>".to_owned()] } else { image.references.clone() };
        for name in names {
            line(&format!(
                "{name:<48} {:<14} {:>6} {:>10}",
                short(&image.image_id),
                image.layers.len(),
                bytes(image.size_bytes)
            ));
        }
    }
}

fn remove(images: &ImageStore, name: &str) -> Result<(), Failure> {
    let removed = images.remove(name).map_err(|error| with_causes(&error))?;
    for reference in &removed.untagged {
        line(&format!("Untagged {reference}"));
    }
    for digest in &removed.deleted {
        line(&format!("Deleted {digest}"));
    }
    Ok(())
}

fn names(image: &Image) -> String {
    if image.references.is_empty() { image.manifest_digest.clone() } else { image.references.join(", ") }
}

fn short(digest: &str) -> &str {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}
