//! Reads tar archives from a stream: ustar, PAX, GNU long names and sparse files.
//!
//! Written for hostile input, where the tar crate is not: every size is bounded before memory is taken, and what
//! a header says twice is read the way Go's archive/tar reads it, which docker and containerd use, so that no
//! archive means one thing to a registry's scanner and another to us (the class of CVE-2025-62518): a PAX size
//! overrides the header's, and entries that carry no data have none whatever their size field says.

mod header;
mod pax;
mod sparse;

use std::io::{self, Read};

use crate::error::ImageError;
use crate::limits::Limits;

pub(crate) use sparse::Fragment;

/// Bytes of a header and the unit of all data.
pub(super) const BLOCK_BYTES: usize = 512;

/// What an entry makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    SymbolicLink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// One entry; its data, if any, is read with [`Archive::read_data`] before the next entry is asked for.
#[derive(Debug)]
pub(crate) struct Entry {
    /// As in the archive: perhaps absolute, with `..`, not UTF-8. Holds no NUL.
    pub(crate) path: Vec<u8>,
    /// Target of a link.
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    /// Bytes of the file that is made.
    pub(crate) size: u64,
    /// Where the data belongs, for a sparse file.
    pub(crate) fragments: Option<Vec<Fragment>>,
    /// Permissions with set-user-id, set-group-id and sticky bit.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970 and nanoseconds.
    pub(crate) modified: (i64, u32),
    pub(crate) device: (u32, u32),
    /// Names and values of extended attributes, in the archive's order.
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A tar archive that is read once from front to back.
pub(crate) struct Archive<R> {
    reader: R,
    limits: Limits,
    /// Bytes of the current entry's data that were not read, and the padding after them.
    data: u64,
    padding: u64,
    /// Members read, headers of headers included.
    members: u64,
    ended: bool,
}

/// Failures that [`Archive::next`] cannot attribute to an entry.
fn malformed(reason: impl Into<String>) -> ImageError {
    ImageError::layer(b"", reason)
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(reader: R, limits: &Limits) -> Self {
        Self { reader, limits: limits.clone(), data: 0, padding: 0, members: 0, ended: false }
    }

    /// The next entry that makes something; `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ImageError> {
        let mut pax = pax::Records::default();
        let (mut long_path, mut long_link) = (None, None);
        loop {
            self.skip_data()?;
            let Some(block) = self.header_block()? else { return Ok(None) };
            self.members += 1;
            // Each entry may have a PAX header, a long name and a long link before it.
            if self.members > self.limits.layer_entries.saturating_mul(4) {
                return Err(ImageError::Limit {
                    what: "archive members",
                    maximum: self.limits.layer_entries,
                });
            }
            let header = header::Header::parse(&block)?;
            match header.type_flag {
                b'x' | b'X' => {
                    let bytes = self.small_data(&header, self.limits.pax_bytes, "bytes of a PAX header")?;
                    pax = pax::Records::parse(&bytes)?;
                }
                // For a whole archive, such as git's commit id: docker ignores it too.
                b'g' => {
                    self.small_data(&header, self.limits.pax_bytes, "bytes of a PAX header")?;
                }
                b'L' => long_path = Some(self.long_name(&header)?),
                b'K' => long_link = Some(self.long_name(&header)?),
                _ => return self.entry(&block, header, pax, long_path, long_link).map(Some),
            }
        }
    }

    /// Reads data of the current entry, as stored: without the holes of a sparse file.
    pub(crate) fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, ImageError> {
        let wanted = buffer.len().min(usize::try_from(self.data).unwrap_or(usize::MAX));
        let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let count = retry_interrupted(|| self.reader.read(buffer))?;
        if count == 0 {
            return Err(ImageError::Stream(io::ErrorKind::UnexpectedEof.into()));
        }
        self.data -= count as u64;
        Ok(count)
    }

    /// Skips the current entry's data with a seek of the reader, which `skip` does for that many bytes.
    pub(crate) fn seek_over_data(
        &mut self,
        skip: impl FnOnce(&mut R, u64) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let rest = self.data.saturating_add(self.padding);
        (self.data, self.padding) = (0, 0);
        skip(&mut self.reader, rest)
    }

    /// Reads what follows the end of the archive, which the digest covers too, and gives the reader back.
    pub(crate) fn drain(mut self) -> Result<R, ImageError> {
        let mut buffer = vec![0; 64 << 10];
        while retry_interrupted(|| self.reader.read(&mut buffer))? > 0 {}
        Ok(self.reader)
    }

    /// A header, or `None` at the end: two blocks of zeros, or the end of the stream between entries.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, ImageError> {
        if self.ended {
            return Ok(None);
        }
        let mut block = [0; BLOCK_BYTES];
        if !self.fill_or_end(&mut block)? {
            self.ended = true;
            return Ok(None);
        }
        if block.iter().any(|byte| *byte != 0) {
            return Ok(Some(block));
        }
        self.ended = true;
        if self.fill_or_end(&mut block)? && block.iter().any(|byte| *byte != 0) {
            return Err(malformed("a header follows a block of zeros"));
        }
        Ok(None)
    }

    /// False when the stream ends before the first byte; an end within the block is an error.
    fn fill_or_end(&mut self, block: &mut [u8]) -> Result<bool, ImageError> {
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match retry_interrupted(|| self.reader.read(rest))? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(ImageError::Stream(io::ErrorKind::UnexpectedEof.into())),
                count => filled += count,
            }
        }
        Ok(true)
    }

    fn skip_data(&mut self) -> Result<(), ImageError> {
        let mut rest = self.data.saturating_add(self.padding);
        let mut buffer = [0; 16 << 10];
        while rest > 0 {
            let wanted = buffer.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
            let Some(part) = buffer.get_mut(..wanted) else { break };
            match retry_interrupted(|| self.reader.read(part))? {
                // Some writers leave out the padding of the last entry.
                0 if rest <= self.padding => break,
                0 => return Err(ImageError::Stream(io::ErrorKind::UnexpectedEof.into())),
                count => rest -= count as u64,
            }
        }
        (self.data, self.padding) = (0, 0);
        Ok(())
    }

    fn set_data(&mut self, size: u64) {
        self.data = size;
        self.padding = (BLOCK_BYTES as u64 - size % BLOCK_BYTES as u64) % BLOCK_BYTES as u64;
    }

    /// All data of a member that describes another.
    fn small_data(
        &mut self,
        header: &header::Header,
        maximum: u64,
        what: &'static str,
    ) -> Result<Vec<u8>, ImageError> {
        if header.size > maximum {
            return Err(ImageError::Limit { what, maximum });
        }
        self.set_data(header.size);
        let mut bytes = vec![0; header.size as usize];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += self.read_data(rest)?;
        }
        Ok(bytes)
    }

    fn long_name(&mut self, header: &header::Header) -> Result<Vec<u8>, ImageError> {
        let mut bytes = self.small_data(header, self.limits.path_bytes as u64 + 1, "bytes of a path")?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        Ok(bytes)
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK_BYTES],
        header: header::Header,
        pax: pax::Records,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, ImageError> {
        let path = long_path.or(pax.path).unwrap_or(header.path);
        let link = long_link.or(pax.link).unwrap_or(header.link);
        for text in [&path, &link] {
            if text.len() > self.limits.path_bytes {
                return Err(ImageError::Limit {
                    what: "bytes of a path",
                    maximum: self.limits.path_bytes as u64,
                });
            }
            if text.contains(&0) {
                return Err(ImageError::layer(&path, "NUL in a path"));
            }
        }
        let mut size = pax.size.unwrap_or(header.size);
        let (kind, sparse) = match header.type_flag {
            // Archives older than 1988 mark directories by the name alone.
            0 if path.ends_with(b"/") => (Kind::Directory, false),
            0 | b'0' | b'7' => (Kind::File, false),
            b'S' => (Kind::File, true),
            b'1' => (Kind::HardLink, false),
            b'2' => (Kind::SymbolicLink, false),
            b'3' => (Kind::CharacterDevice, false),
            b'4' => (Kind::BlockDevice, false),
            b'5' => (Kind::Directory, false),
            b'6' => (Kind::Fifo, false),
            other => return Err(ImageError::layer(&path, format!("unknown type {:?}", char::from(other)))),
        };
        let mut entry = Entry {
            path,
            link,
            kind,
            size: 0,
            fragments: None,
            mode: header.mode & 0o7777,
            uid: pax.uid.unwrap_or(header.uid),
            gid: pax.gid.unwrap_or(header.gid),
            modified: pax.modified.unwrap_or((header.modified, 0)),
            device: header.device,
            attributes: pax.attributes,
        };
        if kind != Kind::File {
            return Ok(entry);
        }
        if sparse {
            self.set_data(size);
            let (fragments, real_size) = sparse::from_header(block, || self.sparse_block())?;
            (size, entry.fragments) = (real_size, Some(fragments));
        } else if let Some(description) = pax.sparse {
            self.set_data(size);
            if let Some(name) = description.name.clone() {
                entry.path = name;
            }
            let (fragments, real_size) = match description.map.clone() {
                Some(map) => sparse::from_pairs(map, description.real_size)?,
                None => self.sparse_map_in_data(description.real_size)?,
            };
            (size, entry.fragments) = (real_size, Some(fragments));
        } else {
            self.set_data(size);
        }
        if let Some(fragments) = &entry.fragments
            && fragments.iter().map(|fragment| fragment.bytes).sum::<u64>() != self.data
        {
            return Err(ImageError::layer(&entry.path, "the sparse map does not fit the data"));
        }
        entry.size = size;
        Ok(entry)
    }

    /// A block of more fragments, between the header and the data; not counted in the entry's size.
    fn sparse_block(&mut self) -> Result<[u8; BLOCK_BYTES], ImageError> {
        let mut block = [0; BLOCK_BYTES];
        if !self.fill_or_end(&mut block)? {
            return Err(ImageError::Stream(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(block)
    }

    /// PAX sparse format 1.0: the map stands at the head of the data, in whole blocks.
    fn sparse_map_in_data(&mut self, real_size: u64) -> Result<(Vec<Fragment>, u64), ImageError> {
        let mut numbers = sparse::Numbers::default();
        while !numbers.complete() {
            let mut block = [0; BLOCK_BYTES];
            let mut filled = 0;
            while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match self.read_data(rest)? {
                    0 => return Err(malformed("the sparse map is cut off")),
                    count => filled += count,
                }
            }
            numbers.add(&block)?;
        }
        sparse::from_pairs(numbers.into_pairs(), real_size)
    }
}

fn retry_interrupted(mut read: impl FnMut() -> io::Result<usize>) -> Result<usize, ImageError> {
    loop {
        match read() {
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(crate::unpack::stream_error(error)),
        }
    }
}
