//! Which instance on a machine makes its VPCs in which networks. Routes alone do not tell: a bridge is made when its
//! first task comes, and two instances could by then have promised the same addresses.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use base::Ipv4Cidr;

use crate::choose::usable_vpc_cidrs;
use crate::error::NetworkError;
use crate::links::{Link, Links};
use crate::net::{host_networks, metadata_link};
use crate::sysctl::Shared;

/// Networks that one instance claims: as many (account, region) pairs can have a default VPC. Eight instances find as many.
const CLAIMED: usize = 32;
/// How the files of claims to public addresses are called.
pub(crate) const PUBLIC_CLAIM: &str = "public-";
/// Bytes of a claim that are read: it is written by us, but anyone who is root can write there.
const CLAIM_BYTES_MAXIMUM: u64 = 64 * 1024;

/// Claims networks for the VPCs of the instance `name` until its [`crate::Network`] is shut down, and gives them: those in
/// `used` first, then others that neither this machine routes elsewhere nor another running instance has claimed.
///
/// Call it once the network is started: a claim without a started network counts for nothing.
pub async fn claim_vpc_cidrs(name: &str, used: &[Ipv4Cidr]) -> Result<Vec<Ipv4Cidr>, NetworkError> {
    let shared = Shared::of_this_namespace()?;
    let (host, links) = (host_networks(name).await?, Links::open()?.list().await?);
    let _lock = shared.lock()?;
    let taken = taken(name, &shared, &links, host)?;
    let mut claimed = used.to_vec();
    let free = usable_vpc_cidrs(&taken);
    claimed
        .extend(free.into_iter().filter(|free| !used.iter().any(|used| used.overlaps(free))).take(CLAIMED));
    shared.write(&format!("claim-{name}"), &serde_json::to_string(&claimed).unwrap_or_default())?;
    Ok(claimed)
}

/// Claims `new` for a VPC of the instance `name`, and goes on claiming `kept`, which is everything that it claimed before and
/// needs on. Gives the network that `new` overlaps where the machine routes it elsewhere or another running instance has claimed
/// it; nothing changes then.
pub async fn change_vpc_claims(
    name: &str,
    kept: &[Ipv4Cidr],
    new: Option<Ipv4Cidr>,
) -> Result<Option<Ipv4Cidr>, NetworkError> {
    let shared = Shared::of_this_namespace()?;
    let (host, links) = (host_networks(name).await?, Links::open()?.list().await?);
    let _lock = shared.lock()?;
    let taken = taken(name, &shared, &links, host)?;
    let overlaps = |taken: &Ipv4Cidr| taken.prefix_length() > 0 && new.is_some_and(|new| new.overlaps(taken));
    if let Some(taken) = taken.into_iter().find(overlaps) {
        return Ok(Some(taken));
    }
    let claimed: BTreeSet<Ipv4Cidr> = kept.iter().copied().chain(new).collect();
    shared.write(&format!("claim-{name}"), &serde_json::to_string(&claimed).unwrap_or_default())?;
    Ok(None)
}

/// What others have, with the lock held. Claims of instances that are gone are removed.
fn taken(
    name: &str,
    shared: &Shared,
    links: &[Link],
    host: Vec<Ipv4Cidr>,
) -> Result<Vec<Ipv4Cidr>, NetworkError> {
    let is_alive = |other: &str| links.iter().any(|link| link.name == metadata_link(other));
    let mut taken = host;
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
    Ok(taken)
}

/// Claims public addresses for the instance `name` until its network is shut down: as many as `wanted` has, from where it stands
/// on in the addresses for tests of network equipment (198.18.0.0/15, RFC 2544), the first that no other running instance has.
/// Where all are taken, `wanted`.
pub async fn claim_public_addresses(name: &str, wanted: Ipv4Cidr) -> Result<Ipv4Cidr, NetworkError> {
    let shared = Shared::of_this_namespace()?;
    let links = Links::open()?.list().await?;
    let is_alive = |other: &str| links.iter().any(|link| link.name == metadata_link(other));
    let _lock = shared.lock()?;
    let mut taken = Vec::new();
    for (other, path) in shared.files(PUBLIC_CLAIM)? {
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
    let is_free = |cidr: &Ipv4Cidr| !taken.iter().any(|taken| taken.overlaps(cidr));
    let chosen = candidates(wanted).find(is_free).unwrap_or(wanted);
    shared.write(&format!("{PUBLIC_CLAIM}{name}"), &serde_json::to_string(&[chosen]).unwrap_or_default())?;
    Ok(chosen)
}

/// `wanted`, then the networks of its size behind it, and then those before.
fn candidates(wanted: Ipv4Cidr) -> impl Iterator<Item = Ipv4Cidr> {
    let size = u32::try_from(wanted.size()).unwrap_or(u32::MAX).max(1);
    let all = Ipv4Cidr::containing(wanted.base(), 15).unwrap_or(wanted);
    let count = u32::try_from(all.size()).unwrap_or(u32::MAX) / size;
    let first = (u32::from(wanted.base()) - u32::from(all.base())) / size;
    (0..count).filter_map(move |step| {
        let base = all.nth((first + step) % count * size)?;
        Ipv4Cidr::containing(base, wanted.prefix_length())
    })
}

fn read(path: PathBuf) -> Result<Vec<Ipv4Cidr>, NetworkError> {
    use std::io::Read as _;
    let failed = |source: io::Error| NetworkError::file("cannot read", &path, source);
    let mut text = Vec::new();
    let file = std::fs::File::open(&path).map_err(failed)?;
    file.take(CLAIM_BYTES_MAXIMUM).read_to_end(&mut text).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|error| failed(io::Error::other(error)))
}
