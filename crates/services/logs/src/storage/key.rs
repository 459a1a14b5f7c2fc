//! [`EventKey`]: where an event stands among all events, and its public form, the event id.

use std::fmt;
use std::str::FromStr;

/// Bits below the timestamp in an event id, as in AWS's own: an id divided by 2^144 is the event's timestamp.
const BITS_BELOW_TIMESTAMP: u32 = 144;
const ID_DIGITS: usize = 56;
const LIMBS: usize = 6;

/// The order of events: by timestamp, then by the put that brought them, then by their place in it. Unique in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    /// Milliseconds since the Unix epoch; never negative. Source: InputLogEvent.
    pub timestamp: i64,
    /// The number of the put, ascending in the order of ingestion.
    pub put: u64,
    /// The event's place in the put.
    pub index: u16,
}

impl EventKey {
    /// Behind every event.
    pub const MAXIMUM: Self = Self { timestamp: i64::MAX, put: u64::MAX, index: u16::MAX };

    /// Before every event of this millisecond.
    pub const fn first_at(timestamp: i64) -> Self {
        Self { timestamp, put: 0, index: 0 }
    }

    /// The next key.
    pub fn successor(self) -> Self {
        let (index, carry) = self.index.overflowing_add(1);
        let (put, carry) = self.put.overflowing_add(u64::from(carry));
        Self { index, put, timestamp: self.timestamp.saturating_add(i64::from(carry)) }
    }

    /// The key before this one.
    pub fn predecessor(self) -> Self {
        let (index, borrow) = self.index.overflowing_sub(1);
        let (put, borrow) = self.put.overflowing_sub(u64::from(borrow));
        Self { index, put, timestamp: self.timestamp.saturating_sub(i64::from(borrow)) }
    }
}

/// 192 bits, least significant limb first: `timestamp << 144 | put << 80 | index << 64`.
fn limbs(key: EventKey) -> [u32; LIMBS] {
    let high = u128::from(key.timestamp.unsigned_abs()) << (BITS_BELOW_TIMESTAMP - 64);
    let above_64 = high | (u128::from(key.put) << 16) | u128::from(key.index);
    [0, 0, above_64 as u32, (above_64 >> 32) as u32, (above_64 >> 64) as u32, (above_64 >> 96) as u32]
}

impl fmt::Display for EventKey {
    /// 56 decimal digits, as in AWS's event ids and page tokens. Timestamps behind the year 2527 would lose their top bits;
    /// the service takes none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = limbs(*self);
        let mut digits = [b'0'; ID_DIGITS];
        for digit in digits.iter_mut().rev() {
            let mut remainder = 0_u64;
            for limb in number.iter_mut().rev() {
                let value = (remainder << 32) | u64::from(*limb);
                *limb = (value / 10) as u32;
                remainder = value % 10;
            }
            *digit = b'0' + remainder as u8;
        }
        f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

/// The text is no event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventKeyError;

impl FromStr for EventKey {
    type Err = EventKeyError;
    fn from_str(text: &str) -> Result<Self, EventKeyError> {
        if text.len() != ID_DIGITS {
            return Err(EventKeyError);
        }
        let mut number = [0_u32; LIMBS];
        for byte in text.bytes() {
            if !byte.is_ascii_digit() {
                return Err(EventKeyError);
            }
            let mut carry = u64::from(byte - b'0');
            for limb in &mut number {
                let value = u64::from(*limb) * 10 + carry;
                *limb = value as u32;
                carry = value >> 32;
            }
            if carry > 0 {
                return Err(EventKeyError);
            }
        }
        let [_, _, a, b, c, d] = number.map(u128::from);
        let above_64 = a | b << 32 | c << 64 | d << 96;
        let timestamp = i64::try_from(above_64 >> 80).map_err(|_| EventKeyError)?;
        Ok(Self { timestamp, put: (above_64 >> 16) as u64, index: above_64 as u16 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_look_like_awss_and_hold_the_time() {
        let key = EventKey { timestamp: 1_396_035_378_988, put: 0, index: 0 };
        assert!(key.to_string().starts_with("31132629"), "{key}");
        for bad in
            ["", "1", "x".repeat(56).as_str(), "1".repeat(57).as_str(), &format!("-{}", "1".repeat(55))]
        {
            assert!(bad.parse::<EventKey>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn ids_are_read_back_and_order_as_keys_do(
            left in (0..1_i64 << 40, any::<u64>(), any::<u16>()),
            right in (0..1_i64 << 40, any::<u64>(), any::<u16>()),
        ) {
            let key = |(timestamp, put, index)| EventKey { timestamp, put, index };
            let (left, right) = (key(left), key(right));
            prop_assert_eq!(left.to_string().parse(), Ok(left));
            prop_assert_eq!(left.cmp(&right), left.to_string().cmp(&right.to_string()));
            prop_assert!(left < left.successor());
            prop_assert_eq!(left.successor().predecessor(), left);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-f]{0,60}") {
            let _ = text.parse::<EventKey>();
        }
    }
}
