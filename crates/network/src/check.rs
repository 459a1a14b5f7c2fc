//! What the kernel offers, tried for real in a namespace that is gone afterwards. For `roadstead doctor`.

use std::error::Error;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use base::{Ipv4Cidr, MacAddress};

use crate::error::NetworkError;
use crate::links::{Links, VethPair};
use crate::nftables::NftablesSocket;
use crate::rules::{self, Content};
use crate::{firewall, namespace, sysctl};

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, such as `nftables`.
    pub name: &'static str,
    /// Whether it works.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// How to mend it, where it does not work.
    pub mend: Option<String>,
}

impl Finding {
    fn of(name: &'static str, tried: Result<String, NetworkError>, mend: &str) -> Self {
        match tried {
            Ok(detail) => Self { name, ok: true, detail, mend: None },
            Err(error) => Self { name, ok: false, detail: chain(&error), mend: Some(mend.to_owned()) },
        }
    }
}

/// Tries everything that a network needs. Changes nothing that outlives the call; takes tens of milliseconds, for which
/// it blocks.
pub fn check() -> Vec<Finding> {
    // A thread of its own, for the caller's may be driving a runtime already.
    let thread = std::thread::Builder::new().name("network-check".to_owned()).spawn(|| {
        let mut findings = vec![forwarding(), pinning()];
        findings.extend(in_a_scratch_namespace());
        findings.push(other_firewalls());
        findings
    });
    let findings = thread.map(std::thread::JoinHandle::join);
    findings.ok().and_then(Result::ok).unwrap_or_else(|| {
        let detail = "the check itself failed".to_owned();
        vec![Finding { name: "network", ok: false, detail, mend: Some("see the output above".to_owned()) }]
    })
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Writing the value that is there already proves that it can be written.
fn forwarding() -> Finding {
    let tried = sysctl::get(sysctl::FORWARDING).and_then(|value| {
        sysctl::set(sysctl::FORWARDING, &value)?;
        Ok(if value == "1" { "on".to_owned() } else { "off now; switched on while `up` runs".to_owned() })
    });
    Finding::of("ip forwarding", tried, "run as root, with /proc/sys writable (in a container: --privileged)")
}

fn pinning() -> Finding {
    let path = std::env::temp_dir().join(format!("roadstead-check-{}", std::process::id()));
    let tried = on_a_runtime(move || async move {
        let made = namespace::create(path.clone()).await.map(drop);
        let removed = namespace::remove(&path);
        made.and(removed).map(|()| "made, mounted on a file, and removed".to_owned())
    });
    Finding::of(
        "network namespaces",
        tried,
        "run as root, with the kernel's CONFIG_NET_NS and the right to mount",
    )
}

fn in_a_scratch_namespace() -> Vec<Finding> {
    let tried = namespace::inside_a_scratch_namespace(|| {
        vec![
            Finding::of(
                "bridge and veth links",
                on_a_runtime(links),
                "load the kernel modules bridge and veth; Linux 5.18 or newer is needed",
            ),
            Finding::of(
                "nftables",
                nftables(),
                "load the kernel modules nf_tables, nft_chain_nat, nft_masq and nft_ct; Linux 5.2 or newer is needed",
            ),
        ]
    });
    tried.unwrap_or_else(|source| {
        let error = NetworkError::Namespace { doing: "cannot make a network namespace", source };
        vec![Finding::of("links and nftables", Err(error), "run as root")]
    })
}

/// Everything that an attachment does with links.
async fn links() -> Result<String, NetworkError> {
    const MAC: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 1]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 1);
    let links = Links::open()?;
    let bridge = links.bridge("rs-check", MAC, 1500).await?;
    sysctl::set("net/ipv4/conf/rs-check/proxy_arp_pvlan", "1")?;
    links.add_address(bridge, ADDRESS, 20).await?;
    links.up(bridge).await?;
    let here = PathBuf::from("/proc/thread-self/ns/net");
    let peer_namespace =
        File::open(&here).map_err(|source| NetworkError::file("cannot open", here, source))?;
    let pair = VethPair {
        name: "rs-check-a",
        bridge: Some(bridge),
        peer_name: "rs-check-b",
        peer_mac: MacAddress([0x02, 0, 0, 0, 0, 2]),
        peer_namespace: &peer_namespace,
        mtu: 1500,
    };
    links.add_veth(&pair).await?;
    Ok("a bridge with an isolated, locked port".to_owned())
}

/// The whole table, as an instance has it.
fn nftables() -> Result<String, NetworkError> {
    let mut socket = NftablesSocket::open()?;
    let cidr = Ipv4Cidr::containing(Ipv4Addr::new(172, 31, 0, 0), 16);
    let vpcs: Vec<_> = cidr.map(|cidr| ("rs-check-0".to_owned(), cidr)).into_iter().collect();
    let content = Content {
        container_network: None,
        containers: &[],
        published: &[],
        unpublished: &[],
        vpcs: &vpcs,
        attached: &[(MacAddress([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(172, 31, 0, 9))],
        public: &[],
        vpcs6: &[],
        attached6: &[],
        metadata_host: Ipv4Addr::new(169, 254, 171, 1),
        metadata: Some(std::net::SocketAddrV4::new(Ipv4Addr::new(169, 254, 171, 1), 80)),
        resolver: Some(std::net::SocketAddrV4::new(Ipv4Addr::new(169, 254, 171, 1), 53)),
        resolver6: (None, None),
    };
    socket.send(&rules::write("check", &content))?;
    socket.send(&rules::remove("check"))?;
    Ok("sets, filter rules and address translation".to_owned())
}

fn other_firewalls() -> Finding {
    const NAME: &str = "other firewalls";
    let tried = NftablesSocket::open().and_then(|mut socket| firewall::blocking_chains(&mut socket));
    match tried {
        Ok(chains) if chains.is_empty() => {
            let detail = "none that drops what tasks forward".to_owned();
            Finding { name: NAME, ok: true, detail, mend: None }
        }
        Ok(chains) => {
            let chains = chains.join(", ");
            Finding {
                name: NAME,
                ok: false,
                detail: format!("forwarded packets are dropped by default in the nftables chain {chains}"),
                mend: Some("accept there what comes from and goes to interfaces named rs-*".to_owned()),
            }
        }
        Err(error) => Finding::of(NAME, Err(error.into()), "see nftables"),
    }
}

/// Runs asynchronous work on the calling thread, and so in its namespace.
fn on_a_runtime<T, F: Future<Output = Result<T, NetworkError>>>(
    work: impl FnOnce() -> F,
) -> Result<T, NetworkError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let failed = |source| NetworkError::Namespace { doing: "cannot start a runtime", source };
    runtime.map_err(failed)?.block_on(work())
}
