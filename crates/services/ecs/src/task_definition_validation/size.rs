//! Task sizes as callers write them: `256`, `.25 vCPU`, `1 vcpu`, `512`, `0.5GB`, `2 GB`.

use wire::Fault;

use crate::faults::client;

/// Ephemeral storage of a Fargate task in GiB where none is asked for. Source: EphemeralStorage.
pub const DEFAULT_EPHEMERAL_STORAGE_GIB: i32 = 20;
/// Most CPU units of a task: 192 vCPU. Source: RegisterTaskDefinition, `cpu`, for EC2.
const MOST_CPU_UNITS: f64 = 196_608.0;

/// CPU units of `text`.
pub fn cpu_units(text: &str) -> Result<i32, Fault> {
    let trimmed = text.trim();
    let refused = || {
        client(
            "Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon ECS \
             Developer Guide.",
        )
    };
    let lower = trimmed.to_ascii_lowercase();
    let units = match lower.strip_suffix("vcpu") {
        Some(number) => decimal(number).ok_or_else(refused)? * 1024.0,
        None => f64::from(whole(&lower).ok_or_else(refused)?),
    };
    if units.fract() == 0.0 && (128.0..=MOST_CPU_UNITS).contains(&units) {
        Ok(units as i32)
    } else {
        Err(refused())
    }
}

/// MiB of `text`.
pub fn memory_mib(text: &str) -> Result<i32, Fault> {
    let trimmed = text.trim();
    let refused = || {
        client(
            "Invalid 'memory' setting for task. For more information, see the Troubleshooting section of the Amazon ECS \
             Developer Guide.",
        )
    };
    let lower = trimmed.to_ascii_lowercase();
    let mib = match lower.strip_suffix("gb") {
        Some(number) => decimal(number).ok_or_else(refused)? * 1024.0,
        None => f64::from(whole(&lower).ok_or_else(refused)?),
    };
    if mib.fract() == 0.0 && (4.0..=f64::from(i32::MAX)).contains(&mib) {
        Ok(mib as i32)
    } else {
        Err(refused())
    }
}

/// Ephemeral storage of a Fargate task in GiB. Source: EphemeralStorage.
pub fn ephemeral_storage_gib(size: i32) -> Result<i32, Fault> {
    if (21..=200).contains(&size) {
        Ok(size)
    } else {
        Err(client("Ephemeral storage 'sizeInGiB' must be between 21 and 200."))
    }
}

fn whole(text: &str) -> Option<i32> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn decimal(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (!text.is_empty() && plain && text.len() <= 16).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_every_form() {
        for (text, units) in
            [("256", 256), (".25 vCPU", 256), ("1vcpu", 1024), (" 0.5 VCPU ", 512), ("16384", 16384)]
        {
            assert_eq!(cpu_units(text).unwrap(), units, "{text}");
        }
        for (text, mib) in [("512", 512), ("0.5GB", 512), ("2 gb", 2048), ("30 GB", 30720)] {
            assert_eq!(memory_mib(text).unwrap(), mib, "{text}");
        }
        for bad in ["", "abc", "-1", "1.5", "0", "1e3", "99999999999", "0.0001 vCPU", "+256", "vcpu", "١٢٨"]
        {
            assert!(cpu_units(bad).is_err(), "{bad}");
        }
        for bad in ["", "GB", "1.5", "-512", "NaN GB", "inf gb", "1..5 GB"] {
            assert!(memory_mib(bad).is_err(), "{bad}");
        }
    }
}
