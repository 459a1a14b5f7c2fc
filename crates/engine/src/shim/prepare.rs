//! Everything before libcontainer: root file system, files, user, cgroup, configuration.

use std::fs;
use std::io;
use std::path::{Component, Path};

use nix::mount::MsFlags;
use nix::sched::CloneFlags;

use super::confine::Confinement;
use crate::beneath::Root;
use crate::cgroup::Cgroup;
use crate::layout;
use crate::oci::{self, user::ResolvedUser};
use crate::overlay;
use crate::specification::{ContainerSpec, NetworkNamespace};

/// The most that is read of the host's /etc/resolv.conf.
const RESOLV_CONF_MAXIMUM_BYTES: usize = 64 * 1024;
/// Of the shim's memory file system: the configuration is the largest thing in it.
const PRIVATE_OPTIONS: &str = "mode=700,size=16m,nr_inodes=1k";
/// The longest host name (HOST_NAME_MAX).
const HOSTNAME_MAXIMUM: usize = 64;

/// What later steps need.
pub(super) struct Prepared {
    pub(super) cgroup: Cgroup,
    pub(super) user: ResolvedUser,
    pub(super) hostname: String,
    pub(super) confinement: Confinement,
}

/// Prepares `directory` for libcontainer. The error is in words.
pub(super) fn prepare(directory: &Path, spec: &ContainerSpec, cgroup: Cgroup) -> Result<Prepared, String> {
    private_mounts(directory).map_err(|error| format!("cannot make a mount namespace: {error}"))?;
    let root =
        mount_root(directory, spec).map_err(|error| format!("cannot mount the root file system: {error}"))?;
    let user = oci::user::resolve(&root, &spec.user)?;
    let hostname = hostname(spec)?;
    write_files(directory, spec, &hostname)
        .map_err(|error| format!("cannot write the container's files: {error}"))?;
    for name in ["etc/resolv.conf", "etc/hostname", "etc/hosts"] {
        root.make_file(Path::new(name))
            .map_err(|error| format!("cannot make /{name} in the image: {error}"))?;
    }
    let mounted = super::volumes::resolve(&directory.join(layout::PRIVATE), &root, spec)?;
    make_working_directory(&root, spec)?;
    let capabilities =
        oci::capabilities::effective(&spec.capabilities_add, &spec.capabilities_drop, spec.privileged)?;
    let confinement = Confinement::of(directory, spec, capabilities)?;
    let (nodes, rules) = oci::devices::resolve(&spec.devices, spec.privileged)?;

    make_cgroup(&cgroup, spec, &rules).map_err(|error| format!("cannot make the cgroup: {error}"))?;

    let configuration = oci::configuration(&oci::Resolved {
        spec: &mounted,
        user: &user,
        nodes: &nodes,
        hostname: &hostname,
        cgroup: &cgroup,
        directory: &directory.join(layout::PRIVATE),
    })?;
    let bundle = directory.join(layout::PRIVATE).join("bundle");
    layout::make_private_directory(&bundle)
        .and_then(|()| layout::write_json(&bundle.join("config.json"), &configuration, false))
        .map_err(|error| format!("cannot write the configuration: {error}"))?;
    Ok(Prepared { cgroup, user, hostname, confinement })
}

/// Mounts made from here on are this shim's alone and go away with it and the container. Unmounting on the host still reaches us, so
/// that we keep no device of the host busy.
///
/// What the container needs to be made goes into a small memory file system here: it is faster than a disk, and goes away with
/// the shim.
fn private_mounts(directory: &Path) -> io::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
    nix::mount::mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)?;
    let private = directory.join(layout::PRIVATE);
    layout::make_private_directory(&private)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    nix::mount::mount(Some("shim"), &private, Some("tmpfs"), flags, Some(PRIVATE_OPTIONS))?;
    Ok(())
}

fn mount_root(directory: &Path, spec: &ContainerSpec) -> io::Result<Root> {
    let writable = layout::writable_directory(directory, spec);
    fs::create_dir_all(&writable)?;
    let [upper, work] = [layout::UPPER, layout::WORK].map(|name| writable.join(name));
    let root = directory.join(layout::PRIVATE).join("root");
    for path in [&root, &work] {
        fs::create_dir(path)?;
    }
    match fs::create_dir(&upper) {
        Ok(()) => {
            // The upper directory's mode and owner are those of the container's /.
            if let Some(top) = spec.root.lower_directories.first() {
                let metadata = fs::metadata(top)?;
                fs::set_permissions(&upper, metadata.permissions())?;
            }
        }
        // A container that is made again: this is what it has written.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    overlay::mount(&spec.root.lower_directories, &upper, &work, &root)?;
    Root::open(&root)
}

fn hostname(spec: &ContainerSpec) -> Result<String, String> {
    let name = match (&spec.hostname, &spec.namespaces.network) {
        (Some(name), _) => name.clone(),
        (None, NetworkNamespace::Host) => {
            nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
        (None, _) => spec.id.as_str().chars().take(12).collect(),
    };
    if name.len() > HOSTNAME_MAXIMUM || !oci::files::is_one_word(&name) {
        return Err(format!("the host name {name:?} is not 1 to {HOSTNAME_MAXIMUM} printable characters"));
    }
    Ok(name)
}

fn write_files(directory: &Path, spec: &ContainerSpec, hostname: &str) -> io::Result<()> {
    let files = directory.join(layout::PRIVATE).join("files");
    fs::create_dir(&files)?;
    let mut host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    host.truncate(host.floor_char_boundary(RESOLV_CONF_MAXIMUM_BYTES));
    let own_network = spec.namespaces.network != NetworkNamespace::Host;
    fs::write(files.join("resolv.conf"), oci::files::resolv_conf(&spec.dns, &host, own_network))?;
    fs::write(files.join("hostname"), format!("{hostname}\n"))?;
    let hosts = oci::files::hosts(hostname, spec.domainname.as_deref(), &spec.addresses, &spec.extra_hosts);
    fs::write(files.join("hosts"), hosts)
}

/// Docker makes a missing working directory. It may lie in a volume: then it is made in the volume, if that can be written.
fn make_working_directory(root: &Root, spec: &ContainerSpec) -> Result<(), String> {
    let path = oci::working_directory(spec);
    let refused = |what: &str| format!("working directory {}: {what}", path.display());
    if !path.is_absolute() {
        return Err(refused("it must be absolute"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(refused("it must not contain \"..\""));
    }
    // What these hold is not the image's: a directory made there would be hidden by the mount, and the kernel decides (CVE-2024-21626).
    if ["/proc", "/sys", "/dev"].iter().any(|own| path.starts_with(own)) {
        return Ok(());
    }
    let volume = spec
        .mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.destination))
        .max_by_key(|mount| mount.destination.components().count());
    let made = match volume {
        Some(volume) if volume.readonly || !volume.source.is_dir() => return Ok(()),
        Some(volume) => {
            let inner = path.strip_prefix(&volume.destination).unwrap_or(Path::new(""));
            Root::open(&volume.source).and_then(|root| root.make_directories(inner))
        }
        None => root.make_directories(path),
    };
    made.map(drop).map_err(|error| refused(&error.to_string()))
}

fn make_cgroup(cgroup: &Cgroup, spec: &ContainerSpec, rules: &[crate::cgroup::DeviceRule]) -> io::Result<()> {
    cgroup.create()?;
    cgroup.apply(&spec.resources)?;
    cgroup.restrict_devices(rules)
}
