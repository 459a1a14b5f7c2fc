//! Where volumes come to lie. A mount point is found once, here, and libcontainer gets paths without links: it makes devices by path,
//! and what other containers change in a volume meanwhile must lead neither it nor a mount elsewhere (`decisions/0040`).
//!
//! Links of the image are followed inside its root; nobody changes them while the container is made. A volume below another one
//! is mounted here, into a copy of the outer one's tree, where no link is followed at all.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

use crate::beneath::Root;
use crate::oci::mounts::destination;
use crate::specification::{ContainerSpec, Mount};

/// What the runtime itself fills. An image's link in their place would lead it into a volume.
const OWN: [&str; 3] = ["/proc", "/sys", "/dev"];
/// From linux/mount.h.
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4;

/// The same container, its volumes and temporary file systems with mount points that are no links, and those below others mounted in
/// `private`, the shim's memory file system. The error is in words.
pub(super) fn resolve(private: &Path, root: &Root, spec: &ContainerSpec) -> Result<ContainerSpec, String> {
    let mut resolved = spec.clone();
    find_mount_points(root, &mut resolved)?;
    let inner = volumes_in_volumes(&resolved.mounts);
    for outer in stage(private, &resolved, &inner)? {
        resolved.mounts[outer].source = stage_of(private, outer);
        // Its tree is read-only already, where it is to be; what lies below is what it is.
        resolved.mounts[outer].readonly = false;
    }
    let mut index = 0;
    resolved.mounts.retain(|_| {
        index += 1;
        !inner.iter().any(|(inner, _)| inner + 1 == index)
    });
    Ok(resolved)
}

/// Makes what is missing in the image, and puts paths without links in the place of those that were asked for.
fn find_mount_points(root: &Root, spec: &mut ContainerSpec) -> Result<(), String> {
    for own in OWN {
        if is_link(root, Path::new(own)) {
            return Err(format!("the image's {own} is a link"));
        }
    }
    for tmpfs in &mut spec.tmpfs {
        tmpfs.path = mount_point(root, &tmpfs.path, true)?;
    }
    for mount in &mut spec.mounts {
        mount.destination = mount_point(root, &mount.destination, mount.source.is_dir())?;
    }
    Ok(())
}

/// Volumes that lie below others, each with the outermost of those, by their numbers; the ones higher up first.
fn volumes_in_volumes(mounts: &[Mount]) -> Vec<(usize, usize)> {
    let depth = |index: usize| mounts[index].destination.components().count();
    let outer = |mount: &Mount| {
        let above =
            (0..mounts.len()).filter(|&other| is_below(&mount.destination, &mounts[other].destination));
        above.min_by_key(|&other| depth(other))
    };
    let mut inner: Vec<(usize, usize)> =
        mounts.iter().enumerate().filter_map(|(index, mount)| Some((index, outer(mount)?))).collect();
    inner.sort_by_key(|&(index, _)| depth(index));
    inner
}

/// Where the copy of an outer volume's tree is put together.
fn stage_of(private: &Path, outer: usize) -> PathBuf {
    private.join("volumes").join(outer.to_string())
}

/// Mounts the inner volumes into copies of the outer ones' trees. Gives the outer ones.
fn stage(private: &Path, spec: &ContainerSpec, inner: &[(usize, usize)]) -> Result<Vec<usize>, String> {
    let mut staged: Vec<usize> = Vec::new();
    for &(index, outer) in inner {
        let (mount, outer_mount) = (&spec.mounts[index], &spec.mounts[outer]);
        let said = |error: io::Error| format!("cannot mount {}: {error}", mount.destination.display());
        if spec.tmpfs.iter().any(|tmpfs| {
            is_below(&tmpfs.path, &outer_mount.destination) && is_below(&mount.destination, &tmpfs.path)
        }) {
            return Err(said(io::Error::other(
                "a temporary file system inside of a volume holds no volumes",
            )));
        }
        let stage = stage_of(private, outer);
        if !staged.contains(&outer) {
            fs::create_dir_all(&stage).map_err(said)?;
            let tree = tree(outer_mount).map_err(said)?;
            let there = open(libc::AT_FDCWD, stage.as_os_str(), OFlag::O_DIRECTORY).map_err(said)?;
            attach(&tree, &there).map_err(said)?;
            staged.push(outer);
        }
        let path = mount.destination.strip_prefix(&outer_mount.destination).unwrap_or(Path::new(""));
        let there = point_in_volume(&stage, path, mount.source.is_dir()).map_err(said)?;
        attach(&tree(mount).map_err(said)?, &there).map_err(said)?;
    }
    Ok(staged)
}

fn is_below(path: &Path, above: &Path) -> bool {
    path != above && path.starts_with(above)
}

fn is_link(root: &Root, path: &Path) -> bool {
    let found = root.open_at(path, libc::O_PATH | libc::O_NOFOLLOW, 0);
    found.is_ok_and(|file| kind(&file) == Some(SFlag::S_IFLNK))
}

fn kind(file: &OwnedFd) -> Option<SFlag> {
    let mode = fstat(file.as_raw_fd()).ok()?.st_mode;
    Some(SFlag::from_bits_truncate(mode) & SFlag::S_IFMT)
}

/// Makes the mount point in the image, where it is missing, and says where it is once all links are followed: libcontainer would
/// refuse those whose ends are missing.
fn mount_point(root: &Root, path: &Path, is_directory: bool) -> Result<PathBuf, String> {
    let path = destination(path)?;
    // These are file systems of their own, which are not there yet.
    if OWN.iter().any(|own| path.starts_with(own)) {
        return Ok(path);
    }
    let made = if is_directory { root.make_directories(&path).map(drop) } else { root.make_file(&path) };
    let found = made.and_then(|()| {
        let real = |path: &Path| -> io::Result<PathBuf> {
            let file = root.open_at(path, libc::O_PATH, 0)?;
            fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
        };
        let (top, found) = (real(Path::new("/"))?, real(&path)?);
        let below = found.strip_prefix(top).map_err(io::Error::other)?;
        Ok(Path::new("/").join(below))
    });
    let found = found.map_err(|error| format!("cannot make the mount point {}: {error}", path.display()))?;
    destination(&found)
}

/// The mount point in a volume: made where it is missing. A link on the way is an error.
fn point_in_volume(stage: &Path, path: &Path, is_directory: bool) -> io::Result<OwnedFd> {
    let mut there = open(libc::AT_FDCWD, stage.as_os_str(), OFlag::O_DIRECTORY)?;
    let mut names = path.iter().peekable();
    while let Some(name) = names.next() {
        let at = there.as_raw_fd();
        if is_directory || names.peek().is_some() {
            match mkdirat(Some(at), name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(nix::errno::Errno::EEXIST | nix::errno::Errno::EROFS) => {}
                Err(error) => return Err(error.into()),
            }
            there = open(at, name, OFlag::O_DIRECTORY)?;
            continue;
        }
        let made = openat(
            Some(at),
            name,
            OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC,
            Mode::from_bits_truncate(0o644),
        );
        if let Ok(made) = made {
            nix::unistd::close(made)?;
        }
        there = open(at, name, OFlag::empty())?;
        if kind(&there) == Some(SFlag::S_IFLNK) {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
    }
    Ok(there)
}

/// Opens one name, and follows no link.
fn open(at: i32, name: &OsStr, flags: OFlag) -> io::Result<OwnedFd> {
    let flags = flags | OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(Some(at), name, flags, Mode::empty())?;
    // SAFETY: `openat` has just given us this descriptor, and nobody else holds it.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}

/// A copy of the tree of a volume's source, with what is mounted in it, attached nowhere.
fn tree(mount: &Mount) -> io::Result<OwnedFd> {
    let source = CString::new(mount.source.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let recursive = libc::AT_RECURSIVE as libc::c_uint;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | recursive;
    // SAFETY: `source` is a C string that lives through the call.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, source.as_ptr(), flags) };
    if tree < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor.
    let tree = unsafe { OwnedFd::from_raw_fd(tree as i32) };
    if mount.readonly {
        let attributes =
            libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
        // SAFETY: the descriptor is open, and the pointers are to a C string and to a structure of the size given.
        let set = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                tree.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_EMPTY_PATH as libc::c_uint | recursive,
                &raw const attributes,
                size_of::<libc::mount_attr>(),
            )
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(tree)
}

/// Attaches a tree at what `there` is open on, wherever that is by now.
fn attach(tree: &OwnedFd, there: &OwnedFd) -> io::Result<()> {
    const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
    // SAFETY: the descriptors are open, and the strings are C strings.
    let moved = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            there.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    };
    if moved == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
