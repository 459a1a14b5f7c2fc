//! Who a container's process is: the image's `User` resolved in the image's own /etc/passwd and /etc/group.

use std::io;
use std::path::Path;

use crate::beneath::Root;

/// The most that is read of /etc/passwd or /etc/group.
const FILE_MAXIMUM_BYTES: u64 = 4 * 1024 * 1024;
/// The largest id that setresuid(2) takes; -1 means "leave as it is" there.
const ID_MAXIMUM: u32 = u32::MAX - 1;

/// A user as the kernel knows one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// Home directory; `/` when the user has none.
    pub(crate) home: String,
}

/// Resolves `""`, `uid`, `uid:gid`, `name`, `name:group` and mixtures. A name that is not in the file is an error; an id need not be.
pub(crate) fn resolve(root: &Root, user: &str) -> Result<ResolvedUser, String> {
    let read = |path: &str| match root.read(Path::new(path), FILE_MAXIMUM_BYTES) {
        Ok(content) => Ok(String::from_utf8_lossy(&content.unwrap_or_default()).into_owned()),
        // An image whose /etc is no directory has no users to look up; numbers still work.
        Err(error) if error.raw_os_error() == Some(libc::ENOTDIR) => Ok(String::new()),
        Err(error) => Err(read_error(path, &error)),
    };
    resolve_in(&read("/etc/passwd")?, &read("/etc/group")?, user)
}

fn read_error(path: &str, error: &io::Error) -> String {
    format!("cannot read the image's {path}: {error}")
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn passwd_entries(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or_default();
        Some(PasswdEntry { name, uid, gid, home })
    })
}

/// (name, id, members).
fn group_entries(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let id = fields.nth(1)?.parse().ok()?;
        Some((name, id, fields.next().unwrap_or_default()))
    })
}

fn resolve_in(passwd: &str, group: &str, user: &str) -> Result<ResolvedUser, String> {
    let (user_part, group_part) = match user.split_once(':') {
        Some((user, group)) => (user, group),
        None => (user, ""),
    };
    let user_part = if user_part.is_empty() { "0" } else { user_part };
    let number = user_part.parse::<u32>().ok();
    // A name made of digits wins over the number, as with Docker.
    let entry = passwd_entries(passwd)
        .find(|entry| entry.name == user_part)
        .or_else(|| passwd_entries(passwd).find(|entry| Some(entry.uid) == number));
    let (uid, mut gid, home) = match (&entry, number) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home),
        (None, Some(number)) => (number, 0, ""),
        (None, None) => {
            return Err(format!("unable to find user {user_part}: no matching entries in passwd file"));
        }
    };
    let mut groups = Vec::new();
    if !group_part.is_empty() {
        gid = group_entries(group)
            .find(|(name, _, _)| *name == group_part)
            .map(|(_, id, _)| id)
            .or_else(|| group_part.parse().ok())
            .ok_or_else(|| format!("unable to find group {group_part}: no matching entries in group file"))?;
    } else if let Some(entry) = &entry {
        groups = group_entries(group)
            .filter(|(_, _, members)| members.split(',').any(|member| member == entry.name))
            .map(|(_, id, _)| id)
            .collect();
    }
    if uid > ID_MAXIMUM || gid > ID_MAXIMUM || groups.iter().any(|id| *id > ID_MAXIMUM) {
        return Err(format!("user {user}: an id is out of range"));
    }
    let home = if home.starts_with('/') { home.to_owned() } else { "/".to_owned() };
    Ok(ResolvedUser { uid, gid, groups, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnginx:x:101:102:nginx:/var/cache/nginx:/sbin/nologin\nbroken\n7:x:8:9::/seven:\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:nginx,root\nnginx:x:102:\ntty:x:5:nginx\n";

    #[test]
    fn users_are_resolved_as_docker_does() {
        let as_tuple = |user: &str| {
            let user = resolve_in(PASSWD, GROUP, user).unwrap();
            (user.uid, user.gid, user.groups, user.home)
        };
        assert_eq!(as_tuple(""), (0, 0, vec![4], "/root".into()));
        assert_eq!(as_tuple("nginx"), (101, 102, vec![4, 5], "/var/cache/nginx".into()));
        assert_eq!(as_tuple("101"), (101, 102, vec![4, 5], "/var/cache/nginx".into()));
        assert_eq!(as_tuple("nginx:tty"), (101, 5, vec![], "/var/cache/nginx".into()));
        assert_eq!(as_tuple("1000"), (1000, 0, vec![], "/".into()));
        assert_eq!(as_tuple("1000:2000"), (1000, 2000, vec![], "/".into()));
        assert_eq!(as_tuple("7"), (8, 9, vec![], "/seven".into()));
        assert!(resolve_in(PASSWD, GROUP, "nobody").is_err());
        assert!(resolve_in(PASSWD, GROUP, "nginx:none").is_err());
        assert!(resolve_in(PASSWD, GROUP, "4294967295").is_err());
        assert!(resolve_in(PASSWD, GROUP, "-1").is_err());
    }
}
