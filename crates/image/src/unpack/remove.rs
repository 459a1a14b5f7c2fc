//! Deletion of trees that hostile archives made.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};

/// Deletes `root` and all below it, however deep: directories met are first moved up to `root` itself, so that
/// neither the stack nor the file descriptors grow with the depth. Never follows a symbolic link.
pub(crate) fn remove_tree(root: &Path) -> io::Result<()> {
    match fs::symlink_metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.is_dir() => return fs::remove_file(root),
        Ok(_) => {}
    }
    let directory = open_directory(CWD, root.as_os_str().as_encoded_bytes())?;
    remove_children(&directory)?;
    fs::remove_dir(root)
}

/// Empties a directory.
pub(crate) fn remove_children(root: &OwnedFd) -> io::Result<()> {
    let mut moved = 0u64;
    let mut waiting: Vec<Vec<u8>> = unlink_files(root, None, &mut moved)?;
    while let Some(name) = waiting.pop() {
        let child = open_directory(root, &name)?;
        waiting.extend(unlink_files(&child, Some(root), &mut moved)?);
        drop(child);
        rustix::fs::unlinkat(root, &name[..], AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Unlinks everything in `directory` but its directories. These are moved into `root`, when given, under names
/// of their own. Returns the directories' names in `root`, or else in `directory`.
fn unlink_files(directory: &OwnedFd, root: Option<&OwnedFd>, moved: &mut u64) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    for (name, mut kind) in names {
        if kind == FileType::Unknown {
            let stat = rustix::fs::statat(directory, &name[..], AtFlags::SYMLINK_NOFOLLOW)?;
            kind = FileType::from_raw_mode(stat.st_mode);
        }
        if kind != FileType::Directory {
            rustix::fs::unlinkat(directory, &name[..], AtFlags::empty())?;
            continue;
        }
        let Some(root) = root else {
            found.push(name);
            continue;
        };
        // An empty one goes at once. Moving needs a name that nothing in `root` has.
        if rustix::fs::unlinkat(directory, &name[..], AtFlags::REMOVEDIR).is_ok() {
            continue;
        }
        loop {
            let fresh = format!(".removed-{moved}").into_bytes();
            *moved += 1;
            match rustix::fs::renameat_with(
                directory,
                &name[..],
                root,
                &fresh[..],
                rustix::fs::RenameFlags::NOREPLACE,
            ) {
                Ok(()) => {
                    found.push(fresh);
                    break;
                }
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(found)
}

fn open_directory(parent: impl std::os::fd::AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_any_path_goes_and_links_are_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("tree");
        fs::create_dir(&root).unwrap();
        let mut at = open_directory(CWD, root.as_os_str().as_encoded_bytes()).unwrap();
        for level in 0..3000 {
            rustix::fs::mkdirat(&at, "directory", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&at, ".removed-0", Mode::RWXU).unwrap();
            rustix::fs::symlinkat(outside.path(), &at, "link").unwrap();
            if level % 100 == 0 {
                rustix::fs::mkdirat(&at, ".removed-0/again", Mode::RWXU).unwrap();
            }
            at = open_directory(&at, b"directory").unwrap();
        }
        drop(at);
        remove_tree(&root).unwrap();
        assert!(!root.exists());
        assert!(outside.path().join("kept").exists());
        remove_tree(&root).unwrap();
    }
}
