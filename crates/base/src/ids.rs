//! Where new identifiers come from: [`Ids`].

use std::fmt::Write as _;
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A source of unguessable identifiers. One per process; [`SeededIds`] in tests and simulations.
pub trait Ids: Send + Sync + 'static {
    /// Fills `bytes` with fresh random bytes.
    fn fill(&self, bytes: &mut [u8]);

    /// `digits` lowercase hexadecimal digits. ECS task and container instance ids have 32, EC2 ids 17.
    fn hex(&self, digits: usize) -> String {
        let mut bytes = vec![0; digits.div_ceil(2)];
        self.fill(&mut bytes);
        let mut text = hex::encode(bytes);
        text.truncate(digits);
        text
    }

    /// A random (version 4) UUID in its usual text form, RFC 9562.
    fn uuid(&self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let mut text = String::with_capacity(36);
        for (index, byte) in bytes.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// `digits` decimal digits, the first of them not 0. Ids of service revisions and task sets have 19.
    fn digits(&self, digits: usize) -> String {
        let mut text = String::with_capacity(digits);
        let mut bytes = vec![0; digits * 2];
        self.fill(&mut bytes);
        for pair in bytes.chunks_exact(2) {
            let number = u16::from_le_bytes([pair[0], pair[1]]);
            let digit = if text.is_empty() { number % 9 + 1 } else { number % 10 };
            text.push(char::from(b'0' + u8::try_from(digit).unwrap_or_default()));
        }
        text
    }

    /// `characters` letters, digits, hyphens and underscores. Ids of service deployments have 21.
    fn word(&self, characters: usize) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut bytes = vec![0; characters];
        self.fill(&mut bytes);
        bytes.into_iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
    }
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// A repeatable source: the same seed gives the same identifiers in the same order.
#[derive(Debug)]
pub struct SeededIds(Mutex<StdRng>);

impl SeededIds {
    /// A source that starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Ids for SeededIds {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_forms() {
        let ids = SeededIds::new(1);
        assert_eq!(ids.hex(17).len(), 17);
        let uuid = ids.uuid();
        assert_eq!(uuid.len(), 36);
        assert_eq!(&uuid[14..15], "4");
        let digits = ids.digits(19);
        assert!(digits.len() == 19 && !digits.starts_with('0') && digits.parse::<u64>().is_ok(), "{digits}");
        assert_eq!(ids.word(21).len(), 21);
        assert_eq!(SeededIds::new(7).hex(32), SeededIds::new(7).hex(32));
        assert_ne!(RandomIds.hex(32), RandomIds.hex(32));
    }
}
