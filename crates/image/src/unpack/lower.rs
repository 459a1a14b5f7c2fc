//! What a layer takes from those below it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::ImageError;
use crate::limits::Limits;
use crate::unpack::root::{Root, is, is_directory, is_opaque, is_whiteout, open_in, stat, stat_if_there};
use crate::unpack::{Unpacked, attributes, entry_error, split};

/// Modification time of a directory that no layer describes: the same layer gives the same tree, whenever and
/// wherever it is unpacked.
const UNDESCRIBED: (i64, u32) = (0, 0);

impl Unpacked {
    /// Finishes the layer in `diff` now that the directories of those below it, topmost first, are known: makes
    /// the hard links into them, takes over the metadata of directories that the archive did not list, and sets
    /// directories' times.
    pub(crate) fn complete(
        &mut self,
        diff: &Path,
        lowers: &[PathBuf],
        limits: &Limits,
    ) -> Result<(), ImageError> {
        let mut root = Root::open(diff).map_err(|error| ImageError::io(diff, error))?;
        let needs_lowers = !self.links.is_empty() || !self.implied.is_empty();
        let lowers = if needs_lowers && !self.opaque_root { open_lowers(lowers)? } else { Vec::new() };
        for link in std::mem::take(&mut self.links) {
            let copied = complete_link(&mut root, &lowers, &link.path, &link.target)?;
            self.bytes = self.bytes.saturating_add(copied);
            if self.bytes > limits.layer_bytes {
                return Err(ImageError::Limit { what: "bytes of a layer", maximum: limits.layer_bytes });
            }
        }
        self.implied.extend(root.take_implied());
        self.implied.sort();
        for path in std::mem::take(&mut self.implied) {
            self.times.extend(inherit(&root, &lowers, &path)?.map(|modified| (path, modified)));
        }
        for (path, modified) in std::mem::take(&mut self.times) {
            set_directory_time(&root, &path, modified).map_err(|error| entry_error(&path, error))?;
        }
        Ok(())
    }
}

fn open_lowers(lowers: &[PathBuf]) -> Result<Vec<OwnedFd>, ImageError> {
    let open = |path: &PathBuf| {
        let root = Root::open(path).and_then(|root| root.descriptor().try_clone());
        root.map_err(|error| ImageError::io(path, error))
    };
    lowers.iter().map(open).collect()
}

/// Something of the layers below: its directory there, and what it is.
struct Found {
    parent: OwnedFd,
    stat: Stat,
}

/// Looks a path up as overlayfs would: the topmost layer that has it, unless one above deletes or hides it.
/// Symbolic links on the way are not followed.
fn find(lowers: &[OwnedFd], path: &[u8]) -> io::Result<Option<Found>> {
    'layers: for lower in lowers {
        let mut hides_below = false;
        let mut directory = lower.try_clone()?;
        let (parent_path, name) = split(path);
        for component in parent_path.split(|byte| *byte == b'/').filter(|component| !component.is_empty()) {
            let Some(found) = stat_if_there(&directory, component)? else {
                if hides_below {
                    return Ok(None);
                }
                continue 'layers;
            };
            if !is_directory(&found) {
                return Ok(None);
            }
            directory = open_in(
                &directory,
                component,
                OFlags::RDONLY | OFlags::DIRECTORY,
                ResolveFlags::NO_SYMLINKS,
            )?;
            hides_below |= is_opaque(&directory)?;
        }
        let name = if name.is_empty() { b"." } else { name };
        match stat_if_there(&directory, name)? {
            Some(found) if is_whiteout(&found) => return Ok(None),
            Some(stat) => return Ok(Some(Found { parent: directory, stat })),
            None if hides_below => return Ok(None),
            None => {}
        }
    }
    Ok(None)
}

/// Makes one hard link. Its target, when a lower layer has it, is copied up first, as overlayfs does when a link
/// is made in a running container. Returns the bytes copied.
fn complete_link(root: &mut Root, lowers: &[OwnedFd], path: &[u8], target: &[u8]) -> Result<u64, ImageError> {
    let fail = |error| entry_error(path, error);
    let (directory, name) = split(path);
    let parent = root.directory(directory).map_err(fail)?;
    // A later entry of the archive took the place.
    if stat_if_there(&parent, name).map_err(fail)?.is_some() {
        return Ok(0);
    }
    let (target_directory, target_name) = split(target);
    let mut copied = 0;
    let is_here = match root.open_below(target_directory, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(here) => stat_if_there(&here, target_name).map_err(fail)?,
        Err(error) if is(&error, Errno::NOENT) => None,
        Err(error) => return Err(fail(error)),
    };
    match is_here {
        Some(found) if is_whiteout(&found) || is_directory(&found) => {
            return Err(ImageError::layer(path, "a hard link to what this layer deletes"));
        }
        Some(_) => {}
        None => {
            let found = find(lowers, target).map_err(fail)?;
            let found = found.filter(|found| !is_directory(&found.stat)).ok_or_else(|| {
                ImageError::layer(path, "a hard link to a file that neither this layer nor those below have")
            })?;
            let to = root.directory(target_directory).map_err(fail)?;
            copied = copy_up(&found, &to, target_name, path)?;
        }
    }
    let target_parent = root.open_below(target_directory, OFlags::PATH | OFlags::DIRECTORY).map_err(fail)?;
    rustix::fs::linkat(&target_parent, target_name, &parent, name, AtFlags::empty())
        .map_err(|error| fail(error.into()))?;
    Ok(copied)
}

fn copy_up(found: &Found, to: &OwnedFd, name: &[u8], path: &[u8]) -> Result<u64, ImageError> {
    let fail = |error| entry_error(path, error);
    let errno = |error: Errno| entry_error(path, error.into());
    let kind = FileType::from_raw_mode(found.stat.st_mode);
    let mut bytes = 0;
    match kind {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
            let mut from =
                File::from(open_in(&found.parent, name, flags, ResolveFlags::NO_SYMLINKS).map_err(fail)?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600)).map_err(errno)?;
            bytes = io::copy(&mut from, &mut File::from(made)).map_err(fail)?;
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&found.parent, name, Vec::new()).map_err(errno)?;
            rustix::fs::symlinkat(&target, to, name).map_err(errno)?;
        }
        _ => {
            rustix::fs::mknodat(to, name, kind, Mode::from_raw_mode(0o600), found.stat.st_rdev)
                .map_err(errno)?;
        }
    }
    let times = take_over(found, name, to, name, path)?;
    attributes::set_time(to, name, times).map_err(fail)?;
    Ok(bytes)
}

/// Gives `to_name` owner, mode and attributes of what was found; its modification time.
fn take_over(
    found: &Found,
    name: &[u8],
    to: &OwnedFd,
    to_name: &[u8],
    path: &[u8],
) -> Result<(i64, u32), ImageError> {
    let fail = |error| entry_error(path, error);
    attributes::set_owner(to, to_name, found.stat.st_uid, found.stat.st_gid).map_err(fail)?;
    if FileType::from_raw_mode(found.stat.st_mode) != FileType::Symlink {
        attributes::set_mode(to, to_name, found.stat.st_mode).map_err(fail)?;
    }
    attributes::set(to, to_name, &attributes::list(&found.parent, name).map_err(fail)?, path)?;
    Ok((found.stat.st_mtime, u32::try_from(found.stat.st_mtime_nsec).unwrap_or(0)))
}

/// A directory that the archive only implies looks as it does in the layers below; otherwise unpacking `tmp/x`
/// would close `/tmp` to everybody. Its modification time, when there is one to set.
fn inherit(root: &Root, lowers: &[OwnedFd], path: &[u8]) -> Result<Option<(i64, u32)>, ImageError> {
    let fail = |error| entry_error(path, error);
    let (directory, name) = split(path);
    let name = if name.is_empty() { b"." } else { name };
    let parent = match root.open_below(directory, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(parent) => parent,
        // Later entries removed it again.
        Err(error) if is(&error, Errno::NOENT) || is(&error, Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    match stat_if_there(&parent, name).map_err(fail)? {
        Some(found) if is_directory(&found) => {}
        _ => return Ok(None),
    }
    match find(lowers, path).map_err(fail)? {
        Some(found) if is_directory(&found.stat) => take_over(&found, name, &parent, name, path).map(Some),
        _ => Ok(Some(UNDESCRIBED)),
    }
}

fn set_directory_time(root: &Root, path: &[u8], modified: (i64, u32)) -> io::Result<()> {
    let (directory, name) = split(path);
    let parent = match root.open_below(directory, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(parent) => parent,
        Err(error) if is(&error, Errno::NOENT) || is(&error, Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(error),
    };
    let name = if name.is_empty() { b"." } else { name };
    match stat(&parent, name) {
        Ok(found) if is_directory(&found) => attributes::set_time(&parent, name, modified),
        Ok(_) => Ok(()),
        Err(error) if is(&error, Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}
