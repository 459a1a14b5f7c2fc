//! Capability sets by Docker's rules (capabilities(7)).

use std::fs;

/// Docker's default set.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// All that Linux has, by number.
const ALL: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The capabilities (without `CAP_`) of a container. Errors name an unknown capability.
pub(crate) fn effective(
    add: &[String],
    drop: &[String],
    privileged: bool,
) -> Result<Vec<&'static str>, String> {
    let add = normalize(add)?;
    let drop = normalize(drop)?;
    let all = available();
    if privileged {
        return Ok(all);
    }
    let without_dropped = |names: &[&'static str]| -> Vec<&'static str> {
        names.iter().copied().filter(|name| all.contains(name) && !drop.contains(name)).collect()
    };
    let mut set = if add.contains(&"ALL") {
        return Ok(without_dropped(&all));
    } else if drop.contains(&"ALL") {
        Vec::new()
    } else {
        without_dropped(&DEFAULT)
    };
    for name in add {
        if !all.contains(&name) {
            return Err(format!("this machine does not have the capability {name}"));
        }
        if !set.contains(&name) {
            set.push(name);
        }
    }
    Ok(set)
}

fn normalize(names: &[String]) -> Result<Vec<&'static str>, String> {
    names
        .iter()
        .map(|name| {
            let upper = name.to_ascii_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            if bare == "ALL" {
                return Ok("ALL");
            }
            ALL.iter()
                .copied()
                .find(|known| *known == bare)
                .ok_or_else(|| format!("unknown capability: {name:?}"))
        })
        .collect()
}

/// Those that this kernel knows and this process may pass on: its bounding set, which a virtual machine or an outer container may
/// have cut down.
fn available() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .unwrap_or(u64::MAX);
    ALL.iter().enumerate().filter(|(number, _)| bounding >> number & 1 == 1).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &str) -> Vec<String> {
        words.split_ascii_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn sets_follow_docker() {
        let set = |add: &str, drop: &str| effective(&names(add), &names(drop), false).unwrap();
        assert_eq!(set("", ""), DEFAULT);
        assert!(!set("", "cap_net_raw").contains(&"NET_RAW"));
        assert_eq!(set("NET_ADMIN", "ALL"), ["NET_ADMIN"]);
        assert!(set("", "ALL").is_empty());
        let all_but_one = set("ALL", "SYS_ADMIN");
        assert!(all_but_one.contains(&"NET_ADMIN") && !all_but_one.contains(&"SYS_ADMIN"));
        assert_eq!(set("CHOWN", "").len(), DEFAULT.len());
        assert!(effective(&names("FLY"), &[], false).is_err());
        assert!(effective(&[], &names("ALL"), true).unwrap().contains(&"SYS_ADMIN"));
    }
}
