//! Sizes and the errors of log options, as Docker's drivers write them.

/// A log option that the driver refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// The driver has no such option.
    #[error("unknown log opt '{option}' for {driver} log driver")]
    Unknown {
        /// The option's name.
        option: String,
        /// The driver's name.
        driver: &'static str,
    },
    /// The option's value makes no sense.
    #[error("log opt '{option}': {reason}")]
    Invalid {
        /// The option's name.
        option: String,
        /// What is wrong, with the value where it helps.
        reason: String,
    },
    /// An option that the driver cannot do without.
    #[error("must specify a value for log opt '{option}'")]
    Missing {
        /// The option's name.
        option: &'static str,
    },
}

impl OptionError {
    /// [`OptionError::Invalid`] for `option`.
    pub fn invalid(option: &str, reason: impl Into<String>) -> Self {
        Self::Invalid { option: option.to_owned(), reason: reason.into() }
    }
}

/// Reads a size in Docker's form: a number (a fraction is allowed) and a unit of `b`, `k`, `m`, `g` or `t`, with or
/// without `b` or `ib` behind it, in powers of 1024 and in either case. The answer is in bytes.
pub fn parse_size(option: &str, text: &str) -> Result<u64, OptionError> {
    let refuse = || OptionError::invalid(option, format!("invalid size: '{text}'"));
    if text.len() > 32 {
        return Err(OptionError::invalid(option, "invalid size: longer than 32 characters"));
    }
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(refuse()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(refuse);
    }
    let fraction: f64 = number.parse().map_err(|_| refuse())?;
    let bytes = fraction * (1_u64 << shift) as f64;
    if bytes.is_finite() && bytes < 9.0e18 { Ok(bytes as u64) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_does() {
        for (text, bytes) in [
            ("4k", 4096),
            ("1m", 1 << 20),
            ("25MB", 25 << 20),
            ("1.5g", 3 << 29),
            ("77", 77),
            ("2 KiB", 2048),
            ("0", 0),
        ] {
            assert_eq!(parse_size("max-buffer-size", text), Ok(bytes), "{text}");
        }
        for bad in ["", "k", "-1", "1x", "1..2m", "99999999999999999999", "20000000t", "1 m b", "٣k", "."] {
            let error = parse_size("max-buffer-size", bad).unwrap_err();
            assert!(error.to_string().contains("max-buffer-size"), "{bad}: {error}");
        }
    }
}
