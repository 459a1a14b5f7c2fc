//! Mounting a container's root: overlayfs over the image's layers.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use nix::sys::stat::Mode;

/// The most layers overlayfs takes (OVL_MAX_STACK).
pub(crate) const LAYERS_MAXIMUM: usize = 500;
/// mount(2) copies one page of options; longer lists of layers go through fsconfig(2), one by one.
const OPTIONS_MAXIMUM_BYTES: usize = 4000;

// From linux/mount.h.
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4;

/// Mounts the layers (topmost first) with the writable directories `upper` and `work` at `target`. All directories exist.
///
/// The layers are named by descriptors (`/proc/self/fd/N`): short, and free of the commas and colons that overlayfs's
/// options cannot hold. `volatile`: the upper directory dies with the container, so nothing of it is worth a sync.
pub(crate) fn mount(lower: &[PathBuf], upper: &Path, work: &Path, target: &Path) -> io::Result<()> {
    if lower.is_empty() || lower.len() > LAYERS_MAXIMUM {
        let message =
            format!("an image must have 1 to {LAYERS_MAXIMUM} layers, this one has {}", lower.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let lower: Vec<OwnedFd> = lower.iter().map(|path| open_directory(path)).collect::<io::Result<_>>()?;
    let (upper, work) = (open_directory(upper)?, open_directory(work)?);
    let names: Vec<String> = lower.iter().map(descriptor_path).collect();
    let (upper, work) = (descriptor_path(&upper), descriptor_path(&work));
    // `volatile` came with Linux 5.10; `index=off` allows layers that are shared by several overlays.
    for extra in ["index=off,volatile", "index=off", ""] {
        let mut options = format!("upperdir={upper},workdir={work}");
        if !extra.is_empty() {
            options.push(',');
            options.push_str(extra);
        }
        let joined = names.join(":");
        let result = if options.len() + joined.len() < OPTIONS_MAXIMUM_BYTES {
            let options = format!("{options},lowerdir={joined}");
            nix::mount::mount(
                Some("overlay"),
                target,
                Some("overlay"),
                MsFlags::empty(),
                Some(options.as_str()),
            )
            .map_err(io::Error::from)
        } else {
            mount_many(&names, &options, target)
        };
        match result {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && !extra.is_empty() => {}
            other => return other,
        }
    }
    Ok(())
}

fn mount_many(lower: &[String], options: &str, target: &Path) -> io::Result<()> {
    let file_system = new_file_system(c"overlay")?;
    for layer in lower {
        configure(&file_system, FSCONFIG_SET_STRING, Some("lowerdir+"), Some(layer)).map_err(|error| {
            io::Error::new(error.kind(), format!("{} layers need Linux 6.8: {error}", lower.len()))
        })?;
    }
    for option in options.split(',') {
        match option.split_once('=') {
            Some((key, value)) => configure(&file_system, FSCONFIG_SET_STRING, Some(key), Some(value))?,
            None => configure(&file_system, FSCONFIG_SET_FLAG, Some(option), None)?,
        }
    }
    configure(&file_system, FSCONFIG_CMD_CREATE, None, None)?;
    let mount = new_mount(&file_system, 0)?;
    let target = CString::new(target.as_os_str().as_bytes())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the descriptors are open, the strings are C strings that live through the call.
    let moved = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    if moved == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A read-only overlay of `directory` (with the empty directory `beneath`), attached nowhere: gives its root. It has no upper layer, so that
/// nothing in it can be written through any path.
pub(crate) fn detached_readonly(directory: &Path, beneath: &Path) -> io::Result<OwnedFd> {
    const MOUNT_ATTR_RDONLY: u32 = 1;
    const MOUNT_ATTR_NODEV: u32 = 4;
    let (top, bottom) = (open_directory(directory)?, open_directory(beneath)?);
    let file_system = new_file_system(c"overlay")?;
    // One option for both, as kernels before 6.8 take it; short, because fsconfig(2) takes 255 bytes.
    let layers = format!("{}:{}", descriptor_path(&top), descriptor_path(&bottom));
    configure(&file_system, FSCONFIG_SET_STRING, Some("lowerdir"), Some(&layers))?;
    configure(&file_system, FSCONFIG_CMD_CREATE, None, None)?;
    new_mount(&file_system, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV)
}

/// Mounts two or more layers (topmost first) read-only at `target`.
pub(crate) fn mount_readonly(lower: &[PathBuf], target: &Path) -> io::Result<()> {
    let lower: Vec<OwnedFd> = lower.iter().map(|path| open_directory(path)).collect::<io::Result<_>>()?;
    let names: Vec<String> = lower.iter().map(descriptor_path).collect();
    let joined = names.join(":");
    if joined.len() < OPTIONS_MAXIMUM_BYTES {
        let options = format!("lowerdir={joined}");
        let flags = MsFlags::MS_RDONLY;
        return Ok(nix::mount::mount(
            Some("overlay"),
            target,
            Some("overlay"),
            flags,
            Some(options.as_str()),
        )?);
    }
    mount_many(&names, "ro", target)
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let file = nix::fcntl::open(path, flags, Mode::empty()).map_err(|error| {
        io::Error::new(io::Error::from(error).kind(), format!("{}: {error}", path.display()))
    })?;
    // SAFETY: `open` has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}

fn descriptor_path(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn new_file_system(kind: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: `kind` is a C string.
    let file = unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(file as i32) })
}

fn configure(file_system: &OwnedFd, command: u32, key: Option<&str>, value: Option<&str>) -> io::Result<()> {
    let c_string = |text: Option<&str>| {
        text.map(CString::new).transpose().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
    };
    let (key, value) = (c_string(key)?, c_string(value)?);
    let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    // SAFETY: the pointers are null or to C strings that live through the call (fsconfig(2) takes null where unused).
    let answer = unsafe {
        libc::syscall(libc::SYS_fsconfig, file_system.as_raw_fd(), command, pointer(&key), pointer(&value), 0)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn new_mount(file_system: &OwnedFd, attributes: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let file =
        unsafe { libc::syscall(libc::SYS_fsmount, file_system.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(file as i32) })
}
