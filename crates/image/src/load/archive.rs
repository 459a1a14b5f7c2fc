//! An archive file and the members in it, which may come in any order.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::ImageError;
use crate::layer::{Compression, peek};
use crate::limits::Limits;
use crate::progress::Progress;
use crate::store::ImageStore;
use crate::unpack::{Archive, Kind, clean, stream_error};

/// Links followed from one member to another; docker writes chains of one.
const MAXIMUM_LINKS: usize = 8;
/// Bytes between two reports of progress.
const REPORT_BYTES: u64 = 256 << 10;

/// A stretch of the archive file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    offset: u64,
    bytes: u64,
}

impl Member {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

enum Entry {
    File(Member),
    /// Layers that several images share are links in archives of older docker versions.
    Link(Vec<u8>),
}

/// An archive that can be read at any place: a compressed one, or one from a pipe, is spooled to the store first.
pub(super) struct ArchiveFile {
    path: PathBuf,
    file: File,
    members: HashMap<Vec<u8>, Entry>,
    limits: Limits,
}

impl ArchiveFile {
    pub(super) fn open(store: &ImageStore, path: &Path, progress: &dyn Progress) -> Result<Self, ImageError> {
        let fail = |error| ImageError::io(path, error);
        let mut file = File::open(path).map_err(fail)?;
        let is_file = file.metadata().map_err(fail)?.is_file();
        let head = peek(&mut file)?;
        let compression = Compression::of(&head)?;
        if compression == Compression::None && is_file {
            file.seek(SeekFrom::Start(0)).map_err(fail)?;
        } else {
            progress.message("Reading the archive");
            file = spool(store, (&head[..]).chain(file), compression)?;
        }
        let limits = store.limits().clone();
        let mut archive = Self { path: path.to_owned(), file, members: HashMap::new(), limits };
        archive.find_members()?;
        Ok(archive)
    }

    fn find_members(&mut self) -> Result<(), ImageError> {
        let length = self.file.metadata().map_err(|error| ImageError::io(&self.path, error))?.len();
        let (path, mut offset) = (self.path.clone(), 0);
        let mut archive = Archive::new(Counted { file: &self.file, position: &mut offset }, &self.limits);
        // The first entry of a file that is no archive at all fails like any damaged one; say which file.
        let named = |error: ImageError| match error {
            ImageError::Layer { reason, .. } => ImageError::Archive { path: path.clone(), reason },
            ImageError::Stream(error) => {
                ImageError::Archive { path: path.clone(), reason: error.to_string() }
            }
            other => other,
        };
        while let Some(entry) = archive.next().map_err(named)? {
            if self.members.len() >= self.limits.archive_members {
                let maximum = self.limits.archive_members as u64;
                return Err(ImageError::Limit { what: "members of an archive", maximum });
            }
            let name = clean(&entry.path, &self.limits)?;
            let mut start = 0;
            archive.seek_over_data(|reader, rest| {
                start = *reader.position;
                *reader.position = start.saturating_add(rest);
                Ok(())
            })?;
            let member = match entry.kind {
                Kind::File if entry.fragments.is_none() => {
                    if start.saturating_add(entry.size) > length {
                        return Err(ImageError::Archive {
                            path: self.path.clone(),
                            reason: "it is cut off".to_owned(),
                        });
                    }
                    Entry::File(Member { offset: start, bytes: entry.size })
                }
                Kind::HardLink => Entry::Link(clean(&entry.link, &self.limits)?),
                Kind::SymbolicLink => {
                    // Relative to the link's own directory.
                    let parent = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
                    let target = [name.get(..parent).unwrap_or_default(), &entry.link].concat();
                    Entry::Link(clean(&target, &self.limits)?)
                }
                _ => continue,
            };
            self.members.insert(name, member);
        }
        Ok(())
    }

    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.members.contains_key(name)
    }

    pub(super) fn refused(&self, reason: impl Into<String>) -> ImageError {
        ImageError::Archive { path: self.path.clone(), reason: reason.into() }
    }

    pub(super) fn member(&self, name: &[u8]) -> Result<Member, ImageError> {
        let shown = || String::from_utf8_lossy(name).chars().take(200).collect::<String>();
        let mut at = clean(name, &self.limits)?;
        for _ in 0..=MAXIMUM_LINKS {
            match self.members.get(&at) {
                Some(Entry::File(member)) => return Ok(*member),
                Some(Entry::Link(target)) => at.clone_from(target),
                None => return Err(self.refused(format!("{} is missing", shown()))),
            }
        }
        Err(self.refused(format!("{} is a link to a link to a link …", shown())))
    }

    /// A small member's bytes.
    pub(super) fn document(&self, name: &[u8], maximum: u64) -> Result<Vec<u8>, ImageError> {
        let member = self.member(name)?;
        if member.bytes > maximum {
            return Err(ImageError::Limit { what: "bytes of a document in an archive", maximum });
        }
        let mut bytes = Vec::new();
        self.read(&member, &|_| {}).read_to_end(&mut bytes).map_err(stream_error)?;
        Ok(bytes)
    }

    /// Reads a member; `report` hears how many bytes are through.
    pub(super) fn read<'a>(&'a self, member: &Member, report: &'a dyn Fn(u64)) -> impl Read + 'a {
        Region { file: &self.file, offset: member.offset, rest: member.bytes, done: 0, reported: 0, report }
    }
}

/// Copies to a file that has no name any more, so that nothing can be left of it.
fn spool(store: &ImageStore, reader: impl Read, compression: Compression) -> Result<File, ImageError> {
    let path = store.temporary_path("spool")?;
    let fail = |error| ImageError::io(&path, error);
    let mut file =
        fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(fail)?;
    fs::remove_file(&path).map_err(fail)?;
    let maximum = store.limits().archive_bytes;
    let mut reader = compression.decoder(io::BufReader::with_capacity(128 << 10, reader))?.take(maximum);
    let mut buffer = vec![0; 128 << 10];
    loop {
        // Apart from io::copy to tell the reader's failures from the disk's.
        let count = reader.read(&mut buffer).map_err(stream_error)?;
        if count == 0 {
            break;
        }
        io::Write::write_all(&mut file, buffer.get(..count).unwrap_or_default()).map_err(fail)?;
    }
    if reader.limit() == 0 {
        return Err(ImageError::Limit { what: "bytes of an archive", maximum });
    }
    Ok(file)
}

/// Reads the file from a position that can be moved from outside.
struct Counted<'a> {
    file: &'a File,
    position: &'a mut u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, *self.position)?;
        *self.position += count as u64;
        Ok(count)
    }
}

struct Region<'a> {
    file: &'a File,
    offset: u64,
    rest: u64,
    done: u64,
    reported: u64,
    report: &'a dyn Fn(u64),
}

impl Read for Region<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.rest).unwrap_or(usize::MAX));
        let count = self.file.read_at(buffer.get_mut(..wanted).unwrap_or_default(), self.offset)?;
        self.offset += count as u64;
        self.rest -= count as u64;
        self.done += count as u64;
        if count == 0 && self.rest > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.done - self.reported >= REPORT_BYTES {
            self.reported = self.done;
            (self.report)(self.done);
        }
        Ok(count)
    }
}
