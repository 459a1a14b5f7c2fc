//! One layer from its bytes to a verified directory.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use crate::digest::{Digest, HashingReader};
use crate::error::ImageError;
use crate::limits::Limits;
use crate::store::{ImageStore, Staged};
use crate::unpack::{stream_error, unpack};

/// Bytes of a stream's head that tell how it is compressed.
const MAGIC_BYTES: usize = 6;

/// What the bytes must be.
pub(crate) struct Expected {
    /// Digest and size of the bytes as they come, when a manifest gives them.
    pub(crate) blob: Option<(Digest, u64)>,
    /// Digest of the archive within.
    pub(crate) diff_id: Digest,
}

/// How a stream is compressed, by its first bytes: media types are often wrong, and docker goes by these too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    pub(crate) fn of(head: &[u8]) -> Result<Self, ImageError> {
        let unsupported = |name: &str| {
            Err(ImageError::Stream(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{name} is not supported"),
            )))
        };
        match head {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Self::Zstd),
            // Frames that decoders skip may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', ..] => unsupported("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => unsupported("xz"),
            _ => Ok(Self::None),
        }
    }

    pub(crate) fn decoder<'a>(self, reader: impl Read + 'a) -> Result<Box<dyn Read + 'a>, ImageError> {
        Ok(match self {
            Self::None => Box::new(reader),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(reader)),
            // The library's own limit on memory (a window of 128 MiB) holds.
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(reader).map_err(ImageError::Stream)?),
        })
    }
}

/// Unpacks a layer into a fresh directory of the store, checking its digests on the way. Whatever fails, the
/// directory is gone.
pub(crate) fn unpack_layer(
    store: &ImageStore,
    mut source: impl Read,
    expected: &Expected,
) -> Result<Staged, ImageError> {
    let limits = store.limits();
    let mut staged = store.stage_layer()?;
    let mut compressed = HashingReader::new(&mut source);
    let head = peek(&mut compressed)?;
    let compression = Compression::of(&head)?;
    let compressed_bytes = compressed.counter();
    let (unpacked, diff_id) = {
        let buffered = BufReader::with_capacity(64 << 10, (&head[..]).chain(&mut compressed));
        let bounded = Bounded { inner: compression.decoder(buffered)?, compressed_bytes, bytes: 0, limits };
        let (unpacked, archive) = unpack(HashingReader::new(bounded), &staged.diff(), limits)?;
        (unpacked, archive.digest())
    };
    // Bytes after the end of the compressed stream belong to the blob.
    io::copy(&mut compressed, &mut io::sink()).map_err(stream_error)?;
    if let Some((digest, size)) = expected.blob {
        check_size("layer", size, compressed.bytes_read())?;
        check_digest("layer", digest, compressed.digest())?;
    }
    check_digest("unpacked layer", expected.diff_id, diff_id)?;
    staged.unpacked = unpacked;
    Ok(staged)
}

pub(crate) fn check_digest(what: &'static str, expected: Digest, actual: Digest) -> Result<(), ImageError> {
    if expected == actual { Ok(()) } else { Err(ImageError::DigestMismatch { what, expected, actual }) }
}

pub(crate) fn check_size(what: &'static str, expected: u64, actual: u64) -> Result<(), ImageError> {
    if expected == actual { Ok(()) } else { Err(ImageError::SizeMismatch { what, expected, actual }) }
}

/// The first bytes, fewer when the stream is shorter.
pub(crate) fn peek(reader: &mut impl Read) -> Result<Vec<u8>, ImageError> {
    let mut head = Vec::with_capacity(MAGIC_BYTES);
    reader.take(MAGIC_BYTES as u64).read_to_end(&mut head).map_err(stream_error)?;
    Ok(head)
}

/// Ends a layer that unpacks to too much, before the disk is full.
struct Bounded<'a, R> {
    inner: R,
    compressed_bytes: Rc<Cell<u64>>,
    bytes: u64,
    limits: &'a Limits,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        let limits = self.limits;
        if self.bytes > limits.layer_bytes {
            let error = ImageError::Limit { what: "bytes of a layer", maximum: limits.layer_bytes };
            return Err(io::Error::other(error));
        }
        let by_ratio = self.compressed_bytes.get().saturating_mul(limits.compression_ratio);
        if self.bytes > by_ratio.max(limits.compression_ratio_from_bytes) {
            let error =
                ImageError::Limit { what: "compression ratio of a layer", maximum: limits.compression_ratio };
            return Err(io::Error::other(error));
        }
        Ok(count)
    }
}
