//! The server's bounds.

use std::time::Duration;

/// Bytes of a datagram that is sent at most, whatever the asker offers: what passes every network unfragmented. Source: DNS
/// flag day 2020.
pub const DATAGRAM_BYTES_MAXIMUM: u16 = 1232;
/// Bytes of a datagram to an asker that offers nothing. Source: RFC 1035, section 4.2.1.
pub const DATAGRAM_BYTES_PLAIN: u16 = 512;
/// Packets a second from one interface; more are dropped. Source: "DNS attributes for your VPC", Amazon VPC user guide.
pub const PACKETS_PER_SECOND: u32 = 1024;
/// Interfaces whose packets are counted in one second: more than the default VPC's subnets have addresses.
pub const SOURCES_COUNTED: usize = 16_384;
/// TCP connections at once. Ours.
pub const CONNECTIONS_MAXIMUM: usize = 512;
/// TCP connections of one asker at once. Ours: a resolver library opens one.
pub const CONNECTIONS_OF_ONE: usize = 16;
/// How long a TCP connection may be silent. Source: RFC 7766, section 6.2.3 ("a few seconds").
pub const CONNECTION_IDLE: Duration = Duration::from_secs(10);
/// Questions that wait for upstream at once; more are answered SERVFAIL.
pub const WAITING_MAXIMUM: usize = 1024;
/// How many names lead to one another in an answer. Ours: resolvers follow 8 to 16.
pub const CHAIN_MAXIMUM: usize = 8;
/// How long upstream is asked altogether: shorter than the 5 seconds after which askers ask again.
pub const UPSTREAM_PATIENCE: Duration = Duration::from_millis(4500);
/// How long one name server is waited for before the next is asked.
pub const UPSTREAM_TRY: Duration = Duration::from_millis(1500);
/// Name servers of /etc/resolv.conf that are asked. Source: resolv.conf(5), MAXNS.
pub const UPSTREAM_SERVERS: usize = 3;
/// Answers from upstream that are kept.
pub const CACHED_ANSWERS: usize = 16_384;
/// Seconds for which an answer is kept at most.
pub const CACHED_SECONDS_MAXIMUM: u32 = 86_400;
/// Seconds for which "no such name" is kept at most. Source: RFC 2308, section 5 (one to three hours).
pub const CACHED_NEGATIVE_SECONDS_MAXIMUM: u32 = 3600;
/// Seconds for which an answer past its time is given where upstream is away. Source: RFC 8767, section 5.
pub const STALE_SECONDS_MAXIMUM: u32 = 86_400;
/// Seconds for which such an answer may be kept by who gets it. Source: RFC 8767, section 5.
pub const STALE_TTL_SECONDS: u32 = 30;
/// Records of one multivalue answer. Source: "Multivalue answer routing", Amazon Route 53 developer guide.
pub const MULTIVALUE_MAXIMUM: usize = 8;
/// How many aliases lead to one another. Ours.
pub const ALIASES_MAXIMUM: usize = 4;
/// Seconds for which a node gives again what the control plane said without asking: a change is in force on every machine
/// by then. Ours.
pub const TOLD_SECONDS_MAXIMUM: u32 = 5;
/// How long a node waits for the control plane: what is left of [`UPSTREAM_PATIENCE`] is upstream's.
pub const CONTROL_PLANE_PATIENCE: Duration = Duration::from_millis(1500);
/// How long a control plane that did not answer is not asked again, in milliseconds: names outside should not wait for it each time.
pub const CONTROL_PLANE_PAUSE: i64 = 5000;
