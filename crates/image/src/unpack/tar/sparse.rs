//! Maps of sparse files: GNU tar's old format in the header, its PAX formats 0.1 and 1.0.

use crate::error::ImageError;
use crate::unpack::tar::header::number;
use crate::unpack::tar::{BLOCK_BYTES, malformed};

/// Fragments of one file; each is at least a block of a real file, so more is an attack on memory.
const MAXIMUM_FRAGMENTS: usize = 65_536;

/// A stretch of a sparse file that has data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// The map in a header of type `S` and the blocks after it, and the file's size.
pub(super) fn from_header(
    block: &[u8; BLOCK_BYTES],
    mut more: impl FnMut() -> Result<[u8; BLOCK_BYTES], ImageError>,
) -> Result<(Vec<Fragment>, u64), ImageError> {
    let real_size = number(block.get(483..495).unwrap_or_default())?;
    let mut pairs = Vec::new();
    collect(block.get(386..482).unwrap_or_default(), &mut pairs)?;
    let mut extended = block.get(482) == Some(&1);
    while extended {
        let block = more()?;
        collect(block.get(..504).unwrap_or_default(), &mut pairs)?;
        extended = block.get(504) == Some(&1);
    }
    from_pairs(pairs, u64::try_from(real_size).map_err(|_| malformed("negative size"))?)
}

/// Adds the offsets and lengths of 24 bytes each, up to the first empty one.
fn collect(fields: &[u8], pairs: &mut Vec<u64>) -> Result<(), ImageError> {
    for field in fields.chunks_exact(24) {
        if field.first() == Some(&0) {
            break;
        }
        if pairs.len() / 2 >= MAXIMUM_FRAGMENTS {
            return Err(ImageError::Limit {
                what: "fragments of a sparse file",
                maximum: MAXIMUM_FRAGMENTS as u64,
            });
        }
        let (offset, bytes) = field.split_at(12);
        for field in [offset, bytes] {
            pairs.push(u64::try_from(number(field)?).map_err(|_| malformed("negative offset"))?);
        }
    }
    Ok(())
}

/// Checks that the fragments are in order, apart and within the file.
pub(super) fn from_pairs(pairs: Vec<u64>, real_size: u64) -> Result<(Vec<Fragment>, u64), ImageError> {
    let mut fragments = Vec::new();
    let mut end = 0u64;
    for pair in pairs.chunks(2) {
        let &[offset, bytes] = pair else { return Err(malformed("a sparse map of an odd length")) };
        let next = offset.checked_add(bytes).filter(|next| *next <= real_size && offset >= end);
        end = next.ok_or_else(|| malformed("fragments of a sparse file overlap or exceed it"))?;
        fragments.push(Fragment { offset, bytes });
    }
    Ok((fragments, real_size))
}

/// Reads the map of PAX format 1.0: the number of fragments, then offsets and lengths, a decimal a line.
#[derive(Default)]
pub(super) struct Numbers {
    count: Option<usize>,
    pairs: Vec<u64>,
    digits: Vec<u8>,
}

impl Numbers {
    pub(super) fn complete(&self) -> bool {
        self.count.is_some_and(|count| self.pairs.len() == count * 2)
    }

    pub(super) fn add(&mut self, block: &[u8]) -> Result<(), ImageError> {
        for byte in block {
            if self.complete() {
                break;
            }
            if *byte != b'\n' {
                self.digits.push(*byte);
                // 20 digits hold every number of 64 bits.
                if self.digits.len() > 20 {
                    return Err(malformed("malformed sparse map"));
                }
                continue;
            }
            let value = super::pax::decimal(&self.digits)?;
            self.digits.clear();
            match self.count {
                Some(_) => self.pairs.push(value),
                None if value > MAXIMUM_FRAGMENTS as u64 => {
                    let maximum = MAXIMUM_FRAGMENTS as u64;
                    return Err(ImageError::Limit { what: "fragments of a sparse file", maximum });
                }
                None => self.count = Some(value as usize),
            }
        }
        Ok(())
    }

    pub(super) fn into_pairs(self) -> Vec<u64> {
        self.pairs
    }
}
