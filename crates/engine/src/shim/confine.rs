//! Taking power away from a process that is about to become a container's program: the seccomp filter, then the capabilities.
//!
//! libcontainer could do both, but it would compile the filter anew for every container, which is most of a start's time. This runs
//! where it would: after everything that needs the power, and before the container waits for its start.
#![allow(unsafe_code)]

use std::io;
use std::path::Path;

use libcontainer::capabilities::{drop_privileges, reset_effective};
use libcontainer::syscall::syscall::create_syscall;
use oci_spec::runtime::LinuxCapabilities;
use serde_json::json;

use super::create::chain;
use crate::layout;
use crate::specification::{ContainerSpec, SeccompProfile};

/// Bytes of one BPF instruction (linux/filter.h, struct sock_filter).
const INSTRUCTION_BYTES: usize = 8;

/// What is left to a container's processes.
#[derive(Clone)]
pub(super) struct Confinement {
    /// The compiled seccomp filter. None: no filter.
    filter: Option<Vec<u8>>,
    capabilities: Vec<&'static str>,
}

impl Confinement {
    /// For the container in `directory`. The engine has put the filter there.
    pub(super) fn of(
        directory: &Path,
        spec: &ContainerSpec,
        capabilities: Vec<&'static str>,
    ) -> Result<Self, String> {
        let filtered = !spec.privileged && spec.seccomp == SeccompProfile::Default;
        let filter = filtered
            .then(|| std::fs::read(directory.join(layout::FILTER)))
            .transpose()
            .map_err(|error| format!("cannot read the seccomp filter: {error}"))?;
        if filter.as_ref().is_some_and(|program| program.is_empty() || program.len() % INSTRUCTION_BYTES != 0)
        {
            return Err("the seccomp filter is damaged".to_owned());
        }
        Ok(Self { filter, capabilities })
    }

    /// Gives the container's user its stdio: an image's log file is often a link to /dev/stdout, and a pipe that belongs to root cannot be
    /// opened by another. /dev/null stays as it is.
    fn give_stdio(uid: u32) {
        for file in 0..3 {
            let kind = nix::sys::stat::fstat(file)
                .map(|stat| (stat.st_mode & libc::S_IFMT, libc::major(stat.st_rdev)));
            // Pipes, and pseudo terminals (majors 136 to 143).
            if matches!(kind, Ok((libc::S_IFIFO, _) | (libc::S_IFCHR, 136..=143))) {
                let _ = nix::unistd::fchown(file, Some(nix::unistd::Uid::from_raw(uid)), None);
            }
        }
    }

    /// Confines this process, whose user is `uid` by now and which still has all capabilities.
    pub(super) fn apply(&self, uid: u32) -> Result<(), String> {
        Self::give_stdio(uid);
        if let Some(program) = &self.filter {
            load(program).map_err(|error| format!("cannot load the seccomp filter: {error}"))?;
        }
        let names: Vec<String> = self.capabilities.iter().map(|name| format!("CAP_{name}")).collect();
        // Root holds its capabilities; another user has them as bounds only, so that a setuid program can still get them.
        let held = if uid == 0 { names.clone() } else { Vec::new() };
        let sets = json!({"bounding": names, "effective": held, "permitted": held, "inheritable": [], "ambient": []});
        let sets: LinuxCapabilities = serde_json::from_value(sets).map_err(|error| error.to_string())?;
        let syscall = create_syscall();
        reset_effective(syscall.as_ref()).map_err(|error| chain(&error))?;
        drop_privileges(&sets, syscall.as_ref()).map_err(|error| chain(&error))
    }
}

/// Loads a compiled filter into this thread (seccomp(2)).
fn load(program: &[u8]) -> io::Result<()> {
    let instructions: Vec<libc::sock_filter> = program
        .chunks_exact(INSTRUCTION_BYTES)
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let length =
        u16::try_from(instructions.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut instructions = instructions;
    let program = libc::sock_fprog { len: length, filter: instructions.as_mut_ptr() };
    // SAFETY: `program` points to `len` instructions that live through the call.
    let answer =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
