//! Netlink attributes: length, type, value, padded to four bytes.

/// The bit that marks an attribute whose value is attributes again (linux/netlink.h, NLA_F_NESTED).
const NESTED: u16 = 1 << 15;

/// Writes attributes, one behind another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes(pub(super) Vec<u8>);

impl Attributes {
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let start = self.open(kind);
        self.0.extend_from_slice(value);
        self.close(start);
        self
    }

    /// A text with its closing zero byte.
    pub(super) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let start = self.open(kind);
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(0);
        self.close(start);
        self
    }

    /// nf_tables takes its integers in network order.
    pub(super) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Attributes that were read elsewhere, as they stand.
    pub(crate) fn nested_bytes(&mut self, kind: u16, attributes: &[u8]) -> &mut Self {
        self.bytes(kind | NESTED, attributes)
    }

    pub(super) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.open(kind | NESTED);
        fill(self);
        self.close(start);
        self
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.0.len();
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    /// Panics on a value above 64 KiB: callers bound what they nest (see `Batch::add_elements`).
    fn close(&mut self, start: usize) {
        let length = u16::try_from(self.0.len() - start).expect("an attribute holds less than 64 KiB");
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// One attribute that was read: its type without flags, and its value.
pub(crate) fn read_attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut attributes = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_ne_bytes(*length));
        let Some((kind, _)) = rest.split_first_chunk::<2>() else { break };
        let Some(value) = bytes.get(4..length) else { break };
        attributes.push((u16::from_ne_bytes(*kind) & 0x3fff, value));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_read_back() {
        let mut attributes = Attributes::default();
        attributes.text(1, "ab").u32(2, 7).nested(3, |inner| {
            inner.bytes(4, &[1, 2, 3, 4, 5]);
        });
        assert_eq!(attributes.0.len() % 4, 0);
        let read = read_attributes(&attributes.0);
        assert_eq!(read[0], (1, &b"ab\0"[..]));
        assert_eq!(read[1], (2, &[0, 0, 0, 7][..]));
        assert_eq!(read_attributes(read[2].1), vec![(4, &[1, 2, 3, 4, 5][..])]);
    }

    #[test]
    fn torn_attributes_end_the_reading() {
        for bytes in [&[4][..], &[4, 0, 1], &[9, 0, 1, 0, 5], &[0, 0, 0, 0, 0, 0], &[3, 0, 1, 0]] {
            assert!(read_attributes(bytes).is_empty(), "{bytes:?}");
        }
    }
}
