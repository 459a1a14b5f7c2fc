//! The bounded storage of a task: a file system of its own in a sparse file without a name, mounted on the task group's
//! directory. Full, it gives ENOSPC to its task and to nobody else.
//!
//! Nothing of it can be left behind: the file has no name (O_TMPFILE) and the loop device gives itself back (LO_FLAGS_AUTOCLEAR),
//! so that both are gone with the mount, whoever is killed in between.
//!
//! Sources: loop(4), mkfs.ext4(8), ext4(5).
#![allow(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::MsFlags;

/// The file system program, of Debian's e2fsprogs.
const MAKE_FILE_SYSTEM: &str = "mkfs.ext4";
/// No journal: after the machine's crash nothing of a task is taken up. The tables are written when they are needed.
const MAKE_OPTIONS: [&str; 10] = [
    "-q",
    "-F",
    "-b",
    "4096",
    "-m",
    "0",
    "-O",
    "^has_journal,^resize_inode",
    "-E",
    "nodiscard,lazy_itable_init=1",
];
/// `discard`: what the task deletes is the host's again. `nobarrier`: a sync need not reach the disk, since nothing outlives
/// the machine's crash. `errors`: a host without room must not look like a file system that works.
const MOUNT_OPTIONS: &str = "discard,nobarrier,noinit_itable,errors=remount-ro";
/// Free loop devices asked for before giving up: others may take the one that we were told.
const DEVICE_ATTEMPTS: usize = 64;
/// Bytes copied from a template at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Of a template's content; an empty file system of 200 GiB has well under 1 MiB.
const TEMPLATE_MAXIMUM_BYTES: u64 = 64 << 20;

// From linux/loop.h.
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;
const DEVICE_BLOCK_BYTES: u32 = 4096;

/// struct loop_info64 of linux/loop.h.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// struct loop_config of linux/loop.h.
#[repr(C)]
struct LoopConfig {
    file: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// Mounts a new, empty file system of `bytes` at `target`, an existing directory. `templates` keeps an empty file system of each
/// size that was asked for: copying one takes a tenth of the time of making one. Blocks.
pub(crate) fn mount(templates: &Path, bytes: u64, target: &Path) -> io::Result<()> {
    let template = template(templates, bytes)?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .mode(0o600)
        .open(templates)
        .map_err(explained("cannot make a file without a name"))?;
    file.set_len(bytes)?;
    copy_content(&template, &file)?;
    let (device, path) = attach(&file)?;
    let mounted =
        nix::mount::mount(Some(path.as_path()), target, Some("ext4"), MsFlags::empty(), Some(MOUNT_OPTIONS));
    // From here on the mount alone keeps the device.
    drop(device);
    mounted.map_err(|error| explained("cannot mount it")(error.into()))
}

/// The template of this size; made, if this is the first use.
fn template(templates: &Path, bytes: u64) -> io::Result<File> {
    let path = templates.join(format!("{bytes}.ext4"));
    match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    fs::create_dir_all(templates)?;
    // Of our own: several may make it at once, and each is as good.
    let number = TRIAL.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let building = templates.join(format!("{bytes}.{}-{number}.new", std::process::id()));
    let made = make_file_system(&building, bytes).and_then(|()| fs::rename(&building, &path));
    if made.is_err() {
        let _ = fs::remove_file(&building);
    }
    made?;
    File::open(&path)
}

static TRIAL: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

fn make_file_system(path: &Path, bytes: u64) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.set_len(bytes)?;
    let output = Command::new(MAKE_FILE_SYSTEM)
        .args(MAKE_OPTIONS)
        .arg(path)
        // Its own place, beside those of a plain user.
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .output()
        .map_err(explained("cannot run mkfs.ext4 (of the package e2fsprogs)"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("mkfs.ext4: {}", words.trim())))
}

/// Copies what is in a sparse file, to the same places.
fn copy_content(from: &File, to: &File) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let (mut at, mut copied) = (0_i64, 0_u64);
    // SAFETY (both calls of the loop): no pointers.
    loop {
        let start = unsafe { libc::lseek(from.as_raw_fd(), at, libc::SEEK_DATA) };
        if start < 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::ENXIO) { Ok(()) } else { Err(error) };
        }
        let end = unsafe { libc::lseek(from.as_raw_fd(), start, libc::SEEK_HOLE) };
        if end < 0 {
            return Err(io::Error::last_os_error());
        }
        let (mut place, end) = (start.unsigned_abs(), end.unsigned_abs());
        while place < end {
            let wanted = usize::try_from(end - place).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let part = piece.get_mut(..wanted).unwrap_or_default();
            from.read_exact_at(part, place)?;
            // A file system without holes is told as one piece of data.
            if part.iter().any(|byte| *byte != 0) {
                to.write_all_at(part, place)?;
                copied += wanted as u64;
            }
            place += wanted as u64;
            if copied > TEMPLATE_MAXIMUM_BYTES {
                return Err(io::Error::other("the empty file system is too large"));
            }
        }
        at = i64::try_from(end).unwrap_or(i64::MAX);
    }
}

/// Puts a file behind a free loop device, which is free again once nothing uses it. Gives the open device and its path.
fn attach(file: &File) -> io::Result<(File, PathBuf)> {
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")
        .map_err(explained("there are no loop devices (modprobe loop): /dev/loop-control"))?;
    for _ in 0..DEVICE_ATTEMPTS {
        // SAFETY: this call takes no pointer.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
        if number < 0 {
            return Err(explained("no loop device is free")(io::Error::last_os_error()));
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(explained("cannot open a loop device"))?;
        // SAFETY: all-zero is a valid value of this structure of plain numbers.
        let mut config: LoopConfig = unsafe { std::mem::zeroed() };
        config.file = file.as_raw_fd().unsigned_abs();
        config.block_size = DEVICE_BLOCK_BYTES;
        // Direct: what the task wrote is not held in memory twice. The kernel leaves it out where it cannot.
        config.info.flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
        // SAFETY: the pointer is to a structure of the kernel's form, alive for the call.
        if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) } == 0 {
            return Ok((device, path));
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Err(explained("cannot set up a loop device")(error));
        }
    }
    Err(io::Error::other("every free loop device was taken by somebody else"))
}

/// For `map_err`: what was being done, with the kernel's own answer.
fn explained(what: &'static str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_are_the_kernels() {
        assert_eq!((size_of::<LoopInfo>(), size_of::<LoopConfig>()), (232, 304));
    }

    #[test]
    fn only_what_is_there_is_copied() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let options = || OpenOptions::new().read(true).write(true).create(true).truncate(true).to_owned();
        let (from, to) = (options().open(from).unwrap(), options().open(to).unwrap());
        for file in [&from, &to] {
            file.set_len(64 << 20).unwrap();
        }
        from.write_all_at(b"first", 5).unwrap();
        from.write_all_at(&vec![7; 100_000], 40 << 20).unwrap();
        copy_content(&from, &to).unwrap();
        let mut read = [0; 5];
        to.read_exact_at(&mut read, 5).unwrap();
        assert_eq!(&read, b"first");
        let mut read = vec![0; 100_001];
        to.read_exact_at(&mut read, 40 << 20).unwrap();
        assert!(read[..100_000].iter().all(|byte| *byte == 7) && read[100_000] == 0);
        assert!(std::os::unix::fs::MetadataExt::blocks(&to.metadata().unwrap()) < 1000);
    }
}
