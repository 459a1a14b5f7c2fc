//! `roadstead doctor`: what the kernel and machine offer and lack, and how to mend each lack.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::DataDirectory;
use crate::data_dir::DataDir;
use crate::terminal::line;

/// One thing that was looked at.
pub struct Finding {
    /// What.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// Whether `up` works without it.
    pub required: bool,
    /// What was seen.
    pub detail: String,
    /// How to mend it.
    pub mend: String,
}

/// Bytes that the data directory's file system should have free: one realistic image, and room to write.
const FREE_BYTES_MINIMUM: u64 = 512 * 1024 * 1024;

/// Looks at everything. `up` and `agent` call it too, and refuse to start where something required is missing.
pub fn check(data_dir: &Path) -> Vec<Finding> {
    let mut findings: Vec<Finding> = engine::doctor::check(data_dir)
        .into_iter()
        .map(|finding| Finding {
            name: finding.name.to_owned(),
            ok: finding.ok,
            required: finding.required,
            detail: finding.detail,
            mend: finding.mend,
        })
        .collect();
    // Without root each of the network's checks would only say so again.
    if nix::unistd::geteuid().is_root() {
        findings.extend(network::check().into_iter().map(|finding| Finding {
            name: finding.name.to_owned(),
            ok: finding.ok,
            required: true,
            detail: finding.detail,
            mend: finding.mend.unwrap_or_default(),
        }));
    }
    findings.push(disk_space(data_dir));
    findings
}

fn disk_space(data_dir: &Path) -> Finding {
    let existing = data_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let free = nix::sys::statvfs::statvfs(existing)
        .map(|status| status.blocks_available() * status.fragment_size())
        .unwrap_or_default();
    Finding {
        name: "disk space".to_owned(),
        ok: free >= FREE_BYTES_MINIMUM,
        required: true,
        detail: format!("{} free at {}", crate::terminal::bytes(free), existing.display()),
        mend: format!(
            "free some: at least {} are needed for images and state, or name another --data-dir",
            crate::terminal::bytes(FREE_BYTES_MINIMUM)
        ),
    }
}

/// Prints the findings; exit code 1 if `up` would not work.
pub fn run(arguments: &DataDirectory) -> ExitCode {
    let findings = check(&arguments.data_dir);
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
    for finding in &findings {
        let verdict = match (finding.ok, finding.required) {
            (true, _) => "ok     ",
            (false, true) => "MISSING",
            (false, false) => "lacks  ",
        };
        line(&format!("{verdict}  {:<width$}  {}", finding.name, finding.detail));
        if !finding.ok && !finding.mend.is_empty() {
            line(&format!("         {:<width$}  mend: {}", "", finding.mend));
        }
    }
    say_names(&arguments.data_dir);
    if findings.iter().all(|finding| finding.ok || !finding.required) {
        line("`roadstead up` will work here.");
        ExitCode::SUCCESS
    } else {
        line("`roadstead up` would not work here: mend what is MISSING.");
        ExitCode::FAILURE
    }
}

/// Where the Roadstead of this data directory answers names, and how the host comes to ask it.
fn say_names(data_dir: &Path) {
    if !data_dir.is_dir() {
        return;
    }
    let Ok(running) = DataDir::open(data_dir).and_then(|dir| dir.running()) else { return };
    for address in running.dns {
        line(&format!(
            "names    are answered on {address}: dig @{} -p {} NAME",
            address.ip(),
            address.port()
        ));
        if address.port() == 53 && !address.ip().is_loopback() {
            line(&format!(
                "         to have this machine ask there, with systemd-resolved (LINK: `ip -o -4 address show to {0}`):\n         \
                 resolvectl dns LINK {0}; resolvectl domain LINK '~elb.amazonaws.com' '~ec2.internal' '~YOUR.ZONE'; \
                 without it, put `nameserver {0}` first in /etc/resolv.conf",
                address.ip()
            ));
        }
    }
}

/// What is required and missing, in one text; `None` where nothing is.
pub fn obstacles(data_dir: &Path) -> Option<String> {
    let missing: Vec<String> = check(data_dir)
        .into_iter()
        .filter(|finding| !finding.ok && finding.required)
        .map(|finding| format!("  {}: {}\n    mend: {}", finding.name, finding.detail, finding.mend))
        .collect();
    (!missing.is_empty()).then(|| format!("this machine lacks what tasks need:\n{}", missing.join("\n")))
}
