//! What can go wrong.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use base::{Ipv4Cidr, MacAddress};

use crate::host_ports::Protocol;
use crate::nftables::NftablesError;

/// Why the network could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The instance's name is not usable in interface names.
    #[error("{0:?} cannot name a network: it needs 1 to 8 lower-case letters and digits")]
    Name(String),
    /// An attachment's id is not usable in file names.
    #[error("{0:?} cannot name an attachment: it needs 1 to 64 letters, digits and hyphens")]
    AttachmentId(String),
    /// The id is in use with other values.
    #[error("attachment {0} exists already with other values")]
    AttachmentExists(String),
    /// The attachment is being made or removed by another call.
    #[error("attachment {0} is being changed by another call")]
    AttachmentBusy(String),
    /// The address is another attachment's.
    #[error("{address} is in use by attachment {id}")]
    AddressInUse {
        /// The address.
        address: IpAddr,
        /// Whose it is.
        id: String,
    },
    /// The hardware address is another attachment's.
    #[error("hardware address {mac} is in use by attachment {id}")]
    MacInUse {
        /// The hardware address.
        mac: MacAddress,
        /// Whose it is.
        id: String,
    },
    /// A unicast hardware address is needed.
    #[error("{0} is not a unicast hardware address")]
    MacInvalid(MacAddress),
    /// Neither network, gateway nor broadcast address, and of a known subnet.
    #[error(
        "{address} with gateway {gateway} and prefix length {prefix_length} fits no subnet of this network's VPCs"
    )]
    NoSubnet {
        /// The address asked for.
        address: Ipv4Addr,
        /// The gateway named.
        gateway: Ipv4Addr,
        /// The prefix length named.
        prefix_length: u8,
    },
    /// The VPC's networks contradict each other or another VPC's.
    #[error("{cidr} of {id} cannot be used: {why}")]
    VpcRefused {
        /// The VPC or subnet.
        id: String,
        /// Its addresses.
        cidr: Ipv4Cidr,
        /// What is wrong with it.
        why: String,
    },
    /// The VPC still has attachments.
    #[error("VPC {0} is in use by attachments")]
    VpcInUse(String),
    /// No container is attached under this id.
    #[error("no container is attached as {0}")]
    NotAttached(String),
    /// All addresses of the containers' bridge are taken.
    #[error("no address is free on the containers' bridge")]
    NoFreeAddress,
    /// All networks that a bridge could have are taken.
    #[error("no private network is free for the containers' bridge")]
    NoNetwork,
    /// Another container is published there. Docker's words.
    #[error("Bind for 0.0.0.0:{0} failed: port is already allocated")]
    PortAllocated(u16),
    /// A program of the host has the port. Docker's words.
    #[error("listen {protocol}4 0.0.0.0:{port}: bind: address already in use")]
    PortInUse {
        /// The protocol.
        protocol: Protocol,
        /// The port.
        port: u16,
    },
    /// The port cannot be had for another reason.
    #[error("port {port} cannot be held")]
    Port {
        /// The port.
        port: u16,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The whole range is taken.
    #[error("no port of the host's ephemeral range is free")]
    NoFreePort,
    /// The network was shut down.
    #[error("the network has been shut down")]
    ShutDown,
    /// A request over rtnetlink failed.
    #[error("{doing}")]
    Link {
        /// What was tried.
        doing: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A request over nfnetlink failed.
    #[error(transparent)]
    Nftables(#[from] NftablesError),
    /// A file could not be read, written or mounted.
    #[error("{doing} {path}", path = path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A namespace could not be made.
    #[error("{doing}")]
    Namespace {
        /// What was tried.
        doing: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl NetworkError {
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::File { doing, path: path.into(), source: source.into() }
    }
}
