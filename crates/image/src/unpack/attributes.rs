//! Extended attributes that an image may set, and the rest of a file's metadata.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::error::ImageError;
use crate::unpack::entry_error;
use crate::unpack::root::below;

/// File capabilities: what setcap(8) sets. Losing them would break programs, so failing to set them is an error.
const CAPABILITY: &[u8] = b"security.capability";
/// Most bytes of a list of attribute names and of one value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const MAXIMUM_BYTES: usize = 64 << 10;

/// Whether an image may set the attribute. Never overlayfs's own (`trusted.overlay.*`, `user.overlay.*`), which
/// would let a layer redirect into others, nor labels that the host's security modules go by.
fn is_allowed(name: &[u8]) -> bool {
    let is_user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    is_user || matches!(name, CAPABILITY | b"system.posix_acl_access" | b"system.posix_acl_default")
}

/// Sets those of the attributes that an image may set. `name` is no link that could be followed elsewhere: the
/// last component is never followed.
pub(super) fn set(
    parent: &OwnedFd,
    name: &[u8],
    attributes: &[(Vec<u8>, Vec<u8>)],
    path: &[u8],
) -> Result<(), ImageError> {
    for (attribute, value) in attributes.iter().filter(|(attribute, _)| is_allowed(attribute)) {
        let place = below(parent, name).map_err(|error| entry_error(path, error))?;
        match rustix::fs::lsetxattr(&place, &attribute[..], value, XattrFlags::empty()) {
            Ok(()) => {}
            // Symbolic links and devices take no user attributes, some file systems none at all.
            Err(Errno::OPNOTSUPP | Errno::PERM) if attribute != CAPABILITY => {}
            Err(error) => {
                let shown = String::from_utf8_lossy(attribute).into_owned();
                return Err(match error {
                    Errno::NOSPC | Errno::DQUOT => entry_error(path, error.into()),
                    _ => ImageError::layer(path, format!("attribute {shown:?}: {error}")),
                });
            }
        }
    }
    Ok(())
}

/// The attributes of `name` that an image may have.
pub(super) fn list(parent: &OwnedFd, name: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let place = below(parent, name)?;
    let mut names = vec![0; MAXIMUM_BYTES];
    let count = match rustix::fs::llistxattr(&place, &mut names[..]) {
        Ok(count) => count,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    names.truncate(count);
    let mut attributes = Vec::new();
    for attribute in names.split(|byte| *byte == 0).filter(|attribute| is_allowed(attribute)) {
        let mut value = vec![0; MAXIMUM_BYTES];
        let count = rustix::fs::lgetxattr(&place, attribute, &mut value[..])?;
        value.truncate(count);
        attributes.push((attribute.to_vec(), value));
    }
    Ok(attributes)
}

/// Owner first, because changing it takes away set-user-id and file capabilities.
pub(super) fn set_owner(parent: &OwnedFd, name: &[u8], uid: u32, gid: u32) -> io::Result<()> {
    // The largest number means "leave as it is" to the kernel, so no file can have it.
    if uid == u32::MAX || gid == u32::MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// For anything but symbolic links, which have no permissions of their own.
pub(super) fn set_mode(parent: &OwnedFd, name: &[u8], mode: u32) -> io::Result<()> {
    Ok(rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())?)
}

/// Sets access and modification time alike.
pub(super) fn set_time(parent: &OwnedFd, name: &[u8], (seconds, nanoseconds): (i64, u32)) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
