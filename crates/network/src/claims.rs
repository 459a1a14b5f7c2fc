//! Which instance on a machine makes its VPCs in which networks. Routes alone do not tell: a bridge is made when its
//! first task comes, and two instances could by then have promised the same addresses.

use std::io;
use std::path::PathBuf;

use base::Ipv4Cidr;

use crate::choose::usable_vpc_cidrs;
use crate::error::NetworkError;
use crate::links::Links;
use crate::net::{host_networks, metadata_link};
use crate::sysctl::Shared;

/// Networks that one instance claims: as many (account, region) pairs can have a default VPC. Eight instances find as many.
const CLAIMED: usize = 32;
/// Bytes of a claim that are read: it is written by us, but anyone who is root can write there.
const CLAIM_BYTES_MAXIMUM: u64 = 64 * 1024;

/// Claims networks for the VPCs of the instance `name` until its [`crate::Network`] is shut down, and gives them: those in
/// `used` first, then others that neither this machine routes elsewhere nor another running instance has claimed.
///
/// Call it once the network is started: a claim without a started network counts for nothing.
pub async fn claim_vpc_cidrs(name: &str, used: &[Ipv4Cidr]) -> Result<Vec<Ipv4Cidr>, NetworkError> {
    let shared = Shared::of_this_namespace()?;
    let links = Links::open()?.list().await?;
    let is_alive = |other: &str| links.iter().any(|link| link.name == metadata_link(other));
    let mut taken = host_networks(name).await?;
    let _lock = shared.lock()?;
    for (other, path) in shared.files("claim-")? {
        if other == name {
            continue;
        }
        if is_alive(&other) {
            taken.extend(read(path)?);
        } else {
            std::fs::remove_file(&path)
                .map_err(|source| NetworkError::file("cannot remove", path, source))?;
        }
    }
    let mut claimed = used.to_vec();
    let free = usable_vpc_cidrs(&taken);
    claimed
        .extend(free.into_iter().filter(|free| !used.iter().any(|used| used.overlaps(free))).take(CLAIMED));
    shared.write(&format!("claim-{name}"), &serde_json::to_string(&claimed).unwrap_or_default())?;
    Ok(claimed)
}

fn read(path: PathBuf) -> Result<Vec<Ipv4Cidr>, NetworkError> {
    use std::io::Read as _;
    let failed = |source: io::Error| NetworkError::file("cannot read", &path, source);
    let mut text = Vec::new();
    let file = std::fs::File::open(&path).map_err(failed)?;
    file.take(CLAIM_BYTES_MAXIMUM).read_to_end(&mut text).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|error| failed(io::Error::other(error)))
}
