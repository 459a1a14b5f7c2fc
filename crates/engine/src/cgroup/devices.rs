//! Which devices the processes of a cgroup may open and make.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use super::{Cgroup, Hierarchy, device_filter, named};

/// Character or block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DeviceKind {
    Character,
    Block,
}

/// One permission. Absent numbers mean any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceRule {
    pub(crate) kind: DeviceKind,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) make: bool,
}

impl DeviceRule {
    const fn new(kind: DeviceKind, major: Option<u32>, minor: Option<u32>, open: bool) -> Self {
        Self { kind, major, minor, read: open, write: open, make: true }
    }

    /// What every container may use: null, zero, full, random, urandom, tty, ptmx, the pseudo terminals; and make any node
    /// (which cannot be opened). Docker and runc allow the same.
    pub(crate) fn defaults() -> Vec<Self> {
        use DeviceKind::{Block, Character};
        let mut rules = vec![Self::new(Character, None, None, false), Self::new(Block, None, None, false)];
        for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)] {
            rules.push(Self::new(Character, Some(major), Some(minor), true));
        }
        rules.push(Self::new(Character, Some(136), None, true));
        rules
    }

    fn v1_text(&self) -> String {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let kind = match self.kind {
            DeviceKind::Character => 'c',
            DeviceKind::Block => 'b',
        };
        let mut text = format!("{kind} {}:{} ", number(self.major), number(self.minor));
        for (allowed, letter) in [(self.read, 'r'), (self.write, 'w'), (self.make, 'm')] {
            if allowed {
                text.push(letter);
            }
        }
        text
    }
}

impl Cgroup {
    /// Allows `rules` and nothing else.
    pub(crate) fn restrict_devices(&self, rules: &[DeviceRule]) -> io::Result<()> {
        match &self.hierarchy {
            Hierarchy::V1(_) => {
                let Some(directory) = self.directory("devices") else {
                    return Err(io::Error::new(
                        io::ErrorKind::NotFound,
                        "no cgroup v1 devices controller is mounted",
                    ));
                };
                let deny = directory.join("devices.deny");
                named(&deny, fs::write(&deny, "a"))?;
                let allow = directory.join("devices.allow");
                for rule in rules {
                    named(&allow, fs::write(&allow, rule.v1_text()))?;
                }
                Ok(())
            }
            Hierarchy::V2(mount_point) => device_filter::attach(&mount_point.join(&self.path), rules),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_the_kernel_reads_them() {
        let text: Vec<String> = DeviceRule::defaults().iter().map(DeviceRule::v1_text).collect();
        assert_eq!(text[0], "c *:* m");
        assert_eq!(text[1], "b *:* m");
        assert_eq!(text[2], "c 1:3 rwm");
        assert_eq!(text.last().unwrap(), "c 136:* rwm");
    }
}
