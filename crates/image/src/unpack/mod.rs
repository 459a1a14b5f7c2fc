//! From the entries of a layer's archive to an overlayfs lower directory.
//!
//! Entries are applied as docker applies them: later ones replace earlier ones, symbolic links of the same layer
//! are followed on the way to an entry but never out of the layer, `.wh.` names become overlayfs whiteouts.
//! Beyond docker, what a layer leaves to those below it is taken from there once they are known
//! ([`Unpacked::complete`]): owner and mode of parent directories that it does not list, and the other end of
//! hard links.
//!
//! Device nodes are made as docker makes them. Who may open one is decided by the container's device cgroup; on
//! the host the store is closed to everybody but root.

mod attributes;
mod lower;
mod remove;
mod root;
mod tar;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::ImageError;
use crate::limits::Limits;
use root::{Root, is_directory, is_whiteout, set_opaque, stat_if_there};
use tar::Entry;

pub(crate) use remove::remove_tree;
pub(crate) use tar::{Archive, Kind};

/// A file `.wh.x` deletes `x` of the layers below (OCI image specification, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// A file of this name hides everything of its directory in the layers below.
const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";
/// Other names with this prefix are aufs's own business and make nothing.
const WHITEOUT_METADATA: &[u8] = b".wh..wh.";
/// Bytes read and written at once.
const BUFFER_BYTES: usize = 128 << 10;

/// What unpacking a layer came to, and what is left to do once the layers below are known.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    /// Of all files.
    pub(crate) bytes: u64,
    /// Of the archive.
    pub(crate) entries: u64,
    /// Whether the root hides everything below.
    pub(crate) opaque_root: bool,
    links: Vec<Link>,
    implied: Vec<Vec<u8>>,
    times: Vec<(Vec<u8>, (i64, u32))>,
}

/// A hard link whose target this layer does not have.
#[derive(Debug)]
struct Link {
    path: Vec<u8>,
    target: Vec<u8>,
}

/// Unpacks a layer's archive into the empty directory `diff`. Returns the reader, read to its end.
pub(crate) fn unpack<R: Read>(reader: R, diff: &Path, limits: &Limits) -> Result<(Unpacked, R), ImageError> {
    let root = Root::open(diff).map_err(|error| ImageError::io(diff, error))?;
    rustix::fs::fchmod(root.descriptor(), Mode::from_raw_mode(0o755))
        .map_err(|error| ImageError::io(diff, error.into()))?;
    let mut unpacker = Unpacker {
        root,
        limits,
        done: Unpacked::default(),
        root_described: false,
        remembered_bytes: 0,
        buffer: vec![0; BUFFER_BYTES],
    };
    let mut archive = Archive::new(reader, limits);
    while let Some(entry) = archive.next()? {
        unpacker.done.entries += 1;
        if unpacker.done.entries > limits.layer_entries {
            return Err(ImageError::Limit { what: "entries of a layer", maximum: limits.layer_entries });
        }
        unpacker.apply(&entry, &mut archive)?;
    }
    let reader = archive.drain()?;
    let mut done = unpacker.done;
    done.implied = unpacker.root.take_implied();
    if !unpacker.root_described {
        done.implied.insert(0, Vec::new());
    }
    Ok((done, reader))
}

struct Unpacker<'a> {
    root: Root,
    limits: &'a Limits,
    done: Unpacked,
    root_described: bool,
    remembered_bytes: usize,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn apply<R: Read>(&mut self, entry: &Entry, archive: &mut Archive<R>) -> Result<(), ImageError> {
        let path = clean(&entry.path, self.limits)?;
        let fail = |error| entry_error(&entry.path, error);
        if path.is_empty() {
            return self.describe_root(entry);
        }
        let (directory, name) = split(&path);
        let parent = self.root.directory(directory).map_err(fail)?;
        if self.root.implied_bytes() > self.limits.remembered_path_bytes {
            return Err(self.too_much_remembered());
        }
        if name.starts_with(WHITEOUT) {
            return self.white_out(&parent, directory, name).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidInput => ImageError::layer(&entry.path, "a whiteout of no name"),
                _ => entry_error(&entry.path, error),
            });
        }
        let found = stat_if_there(&parent, name).map_err(fail)?;
        if entry.kind == Kind::HardLink {
            return self.link(entry, &path, &parent, name);
        }
        let mut opaque = false;
        let mut there = false;
        if let Some(found) = found {
            there = entry.kind == Kind::Directory && is_directory(&found);
            opaque = entry.kind == Kind::Directory && is_whiteout(&found);
            if there {
                self.root.is_described(found.st_ino);
            } else {
                self.root.clear(&parent, name, &found).map_err(fail)?;
            }
        }
        self.make(entry, &parent, name, there, archive)?;
        attributes::set_owner(&parent, name, entry.uid, entry.gid).map_err(fail)?;
        if entry.kind != Kind::SymbolicLink {
            attributes::set_mode(&parent, name, entry.mode).map_err(fail)?;
        }
        attributes::set(&parent, name, &entry.attributes, &entry.path)?;
        if entry.kind == Kind::Directory {
            if opaque {
                let made = self.root.directory(&path).map_err(fail)?;
                set_opaque(&made).map_err(fail)?;
            }
            // Later entries change it, so directories' times are set at the end.
            self.remember(path.len())?;
            self.done.times.push((path, entry.modified));
            return Ok(());
        }
        attributes::set_time(&parent, name, entry.modified).map_err(fail)
    }

    /// The entry `./`: the container's root directory.
    fn describe_root(&mut self, entry: &Entry) -> Result<(), ImageError> {
        if entry.kind != Kind::Directory {
            return Err(ImageError::layer(&entry.path, "the root of a layer must be a directory"));
        }
        let fail = |error| entry_error(&entry.path, error);
        let root = self.root.directory(b"").map_err(fail)?;
        attributes::set_owner(&root, b".", entry.uid, entry.gid).map_err(fail)?;
        attributes::set_mode(&root, b".", entry.mode).map_err(fail)?;
        attributes::set(&root, b".", &entry.attributes, &entry.path)?;
        self.root_described = true;
        self.remember(0)?;
        self.done.times.push((Vec::new(), entry.modified));
        Ok(())
    }

    /// Makes the file system object, without its metadata.
    fn make<R: Read>(
        &mut self,
        entry: &Entry,
        parent: &Rc<OwnedFd>,
        name: &[u8],
        there: bool,
        archive: &mut Archive<R>,
    ) -> Result<(), ImageError> {
        let fail = |error: Errno| entry_error(&entry.path, error.into());
        let node = |kind: FileType, (major, minor): (u32, u32)| {
            let device = rustix::fs::makedev(major, minor);
            rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device)
        };
        match entry.kind {
            Kind::Directory if there => Ok(()),
            Kind::Directory => rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)).map_err(fail),
            Kind::SymbolicLink if entry.link.is_empty() => {
                Err(ImageError::layer(&entry.path, "a link to nothing"))
            }
            Kind::SymbolicLink => rustix::fs::symlinkat(&entry.link[..], parent, name).map_err(fail),
            Kind::CharacterDevice => node(FileType::CharacterDevice, entry.device).map_err(fail),
            Kind::BlockDevice => node(FileType::BlockDevice, entry.device).map_err(fail),
            Kind::Fifo => node(FileType::Fifo, (0, 0)).map_err(fail),
            Kind::File => self.write_file(entry, parent, name, archive),
            // Handled by the caller, because nothing of the entry but its name and target counts.
            Kind::HardLink => Ok(()),
        }
    }

    fn write_file<R: Read>(
        &mut self,
        entry: &Entry,
        parent: &Rc<OwnedFd>,
        name: &[u8],
        archive: &mut Archive<R>,
    ) -> Result<(), ImageError> {
        self.done.bytes = self.done.bytes.saturating_add(entry.size);
        if self.done.bytes > self.limits.layer_bytes {
            return Err(ImageError::Limit { what: "bytes of a layer", maximum: self.limits.layer_bytes });
        }
        let fail = |error| entry_error(&entry.path, error);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(opened.map_err(|error| fail(error.into()))?);
        let Some(fragments) = &entry.fragments else {
            return self.copy(&mut file, u64::MAX, archive, &entry.path);
        };
        for fragment in fragments {
            file.seek(SeekFrom::Start(fragment.offset)).map_err(fail)?;
            self.copy(&mut file, fragment.bytes, archive, &entry.path)?;
        }
        file.set_len(entry.size).map_err(fail)
    }

    /// Copies `bytes` of the entry's data, or what there is of it.
    fn copy<R: Read>(
        &mut self,
        file: &mut File,
        mut bytes: u64,
        archive: &mut Archive<R>,
        path: &[u8],
    ) -> Result<(), ImageError> {
        while bytes > 0 {
            let wanted = self.buffer.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
            let Some(buffer) = self.buffer.get_mut(..wanted) else { break };
            let count = archive.read_data(buffer)?;
            if count == 0 {
                break;
            }
            bytes -= count as u64;
            file.write_all(buffer.get(..count).unwrap_or_default())
                .map_err(|error| entry_error(path, error))?;
        }
        Ok(())
    }

    fn link(&mut self, entry: &Entry, path: &[u8], parent: &OwnedFd, name: &[u8]) -> Result<(), ImageError> {
        let fail = |error| entry_error(&entry.path, error);
        let target = clean(&entry.link, self.limits)?;
        if target.is_empty() {
            return Err(ImageError::layer(&entry.path, "a hard link to the root"));
        }
        let found = stat_if_there(parent, name).map_err(fail)?;
        let (target_directory, target_name) = split(&target);
        let target_parent = self.root.open_below(target_directory, OFlags::PATH | OFlags::DIRECTORY);
        let target_found = match &target_parent {
            Ok(target_parent) => stat_if_there(target_parent, target_name).map_err(fail)?,
            Err(error) if root::is(error, Errno::NOENT) || root::is(error, Errno::NOTDIR) => None,
            Err(error) => return Err(ImageError::layer(&entry.path, error.to_string())),
        };
        match (&found, &target_found) {
            (Some(found), Some(target)) if (found.st_dev, found.st_ino) == (target.st_dev, target.st_ino) => {
                return Ok(());
            }
            (_, Some(target)) if is_directory(target) => {
                return Err(ImageError::layer(&entry.path, "a hard link to a directory"));
            }
            _ => {}
        }
        if let Some(found) = found {
            self.root.clear(parent, name, &found).map_err(fail)?;
        }
        match (target_parent, target_found) {
            (Ok(target_parent), Some(target)) if !is_whiteout(&target) => {
                rustix::fs::linkat(&target_parent, target_name, parent, name, AtFlags::empty())
                    .map_err(|error| fail(error.into()))
            }
            _ => {
                self.remember(path.len() + target.len())?;
                self.done.links.push(Link { path: path.to_vec(), target });
                Ok(())
            }
        }
    }

    /// A `.wh.` name. `InvalidInput` when it names nothing.
    fn white_out(&mut self, parent: &OwnedFd, directory: &[u8], name: &[u8]) -> io::Result<()> {
        if name == OPAQUE_WHITEOUT {
            if directory.is_empty() {
                self.done.opaque_root = true;
                return Ok(());
            }
            return set_opaque(parent);
        }
        if name.starts_with(WHITEOUT_METADATA) {
            return Ok(());
        }
        let hidden = name.get(WHITEOUT.len()..).unwrap_or_default();
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match stat_if_there(parent, hidden)? {
            // What this layer has itself stays; only the layers below are hidden.
            Some(found) if is_directory(&found) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                set_opaque(&rustix::fs::openat(parent, hidden, flags, Mode::empty())?)
            }
            Some(_) => Ok(()),
            None => {
                let device = rustix::fs::makedev(0, 0);
                let kind = FileType::CharacterDevice;
                Ok(rustix::fs::mknodat(parent, hidden, kind, Mode::empty(), device)?)
            }
        }
    }

    fn remember(&mut self, bytes: usize) -> Result<(), ImageError> {
        // The vectors' own size counts too.
        self.remembered_bytes += bytes + 64;
        if self.remembered_bytes > self.limits.remembered_path_bytes {
            Err(self.too_much_remembered())
        } else {
            Ok(())
        }
    }

    fn too_much_remembered(&self) -> ImageError {
        let maximum = self.limits.remembered_path_bytes as u64;
        ImageError::Limit { what: "bytes of directories' and links' paths", maximum }
    }
}

/// The path without leading `/`, `.` and doubled slashes; `x/..` is taken out. One that leads above the root is
/// refused, as docker does.
pub(crate) fn clean(path: &[u8], limits: &Limits) -> Result<Vec<u8>, ImageError> {
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                if components.pop().is_none() {
                    return Err(ImageError::layer(path, "the path leads out of the layer"));
                }
            }
            _ => components.push(component),
        }
    }
    if components.len() > limits.path_components {
        return Err(ImageError::Limit {
            what: "components of a path",
            maximum: limits.path_components as u64,
        });
    }
    Ok(components.join(&b'/'))
}

/// Directory and name of a clean path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

/// What the kernel refuses because of the entry is the image's fault; the rest is the disk's.
fn entry_error(path: &[u8], error: io::Error) -> ImageError {
    let shown = || String::from_utf8_lossy(path.get(..path.len().min(200)).unwrap_or_default()).into_owned();
    match error.raw_os_error() {
        Some(
            libc::ENOSPC
            | libc::EDQUOT
            | libc::EIO
            | libc::EROFS
            | libc::EMFILE
            | libc::ENFILE
            | libc::ENOMEM,
        ) => ImageError::io(Path::new(&shown()), error),
        _ => ImageError::layer(path, error.to_string()),
    }
}

/// Finds our own error again that a reader had to wrap.
pub(crate) fn stream_error(error: io::Error) -> ImageError {
    match error.downcast::<ImageError>() {
        Ok(ours) => ours,
        Err(error) => ImageError::Stream(error),
    }
}
