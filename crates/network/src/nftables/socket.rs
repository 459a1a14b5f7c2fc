//! The socket to the kernel.

use std::io;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::attribute::read_attributes;
use super::batch::{Batch, Family, comment_bytes, encode_message};

/// Bytes of the biggest answer: what netlink(7) advises, doubled.
const ANSWER_BYTES: usize = 32 * 1024;
/// Answers to one request that are read before giving up: dumps of a big ruleset have thousands of chains at most.
const ANSWERS_MAXIMUM: usize = 100_000;
/// Seconds to wait for the kernel's answer.
const ANSWER_SECONDS: i64 = 10;
/// Bytes that one transaction may have: the kernel copies it whole.
const BATCH_BYTES_MAXIMUM: usize = 4 * 1024 * 1024;
/// How often a transaction is sent again when someone else's came between (EINTR, EAGAIN of nfnetlink).
const TRIES: usize = 5;

/// Why nftables did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NftablesError {
    /// The socket could not be opened.
    #[error("cannot open a netlink socket to nftables (is the kernel module nf_tables there?)")]
    Open(#[source] io::Error),
    /// The socket failed.
    #[error("the netlink socket to nftables failed")]
    Socket(#[source] io::Error),
    /// The kernel refused the transaction; nothing of it was applied.
    #[error("nftables refused change {message} of {messages}")]
    Refused {
        /// Which message, from 1; 0 for the transaction as a whole.
        message: usize,
        /// Of how many.
        messages: usize,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// More than this crate sends.
    #[error("a transaction of {0} bytes is too big")]
    TooBig(usize),
    /// The kernel's answer makes no sense.
    #[error("nftables gave an answer that cannot be read")]
    Answer,
}

impl NftablesError {
    /// The kernel's error number, where it refused.
    pub fn kernel_error(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// A chain of any table, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSummary {
    /// The number of its family.
    pub family: u8,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// The hook's number, for a base chain.
    pub hook: Option<u32>,
    /// Whether its policy is to drop.
    pub drops: bool,
}

/// One persistent socket. Not for use by two at once: keep it under a lock.
#[derive(Debug)]
pub struct NftablesSocket {
    socket: Socket,
    sequence: u32,
}

impl NftablesSocket {
    /// Opens the socket in the network namespace of the calling thread, for good.
    pub fn open() -> Result<Self, NftablesError> {
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(NftablesError::Open)?;
        socket.bind_auto().map_err(NftablesError::Open)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(NftablesError::Open)?;
        // Errors then come without the request's bytes, so that a long one cannot overrun the receive buffer.
        socket.set_cap_ack(true).map_err(NftablesError::Open)?;
        // The kernel answers while it takes the request; the bound is for a kernel that does not.
        let patience = nix::sys::time::TimeVal::new(ANSWER_SECONDS, 0);
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::ReceiveTimeout, &patience)
            .map_err(|error| NftablesError::Open(error.into()))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Applies the batch; on an error nothing of it was applied. Takes microseconds for an element or two.
    pub fn send(&mut self, batch: &Batch) -> Result<(), NftablesError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut result = Ok(());
        for _ in 0..TRIES {
            result = self.send_once(batch);
            match result.as_ref().err().and_then(NftablesError::kernel_error) {
                Some(libc::EINTR | libc::EAGAIN) => {}
                _ => break,
            }
        }
        result
    }

    fn send_once(&mut self, batch: &Batch) -> Result<(), NftablesError> {
        let frame = |kind| encode_message(kind, 0, 0, libc::NFNL_SUBSYS_NFTABLES as u16, |_| {});
        let first = self.sequence.wrapping_add(1);
        let last = first.wrapping_add(batch.messages.len() as u32);
        self.sequence = last.wrapping_add(1);

        let mut bytes = frame(libc::NFNL_MSG_BATCH_BEGIN as u16);
        number(&mut bytes, first);
        for (message, sequence) in batch.messages.iter().zip(1_u32..) {
            let start = bytes.len();
            bytes.extend_from_slice(message);
            let sequence = first.wrapping_add(sequence);
            number(&mut bytes[start..], sequence);
            if sequence == last {
                // Only the last one is to be confirmed: errors are told for all, and one answer always fits the buffer.
                bytes[start + 6] |= libc::NLM_F_ACK as u8;
            }
        }
        let mut end = frame(libc::NFNL_MSG_BATCH_END as u16);
        number(&mut end, self.sequence);
        bytes.extend_from_slice(&end);
        if bytes.len() > BATCH_BYTES_MAXIMUM {
            return Err(NftablesError::TooBig(bytes.len()));
        }
        self.transmit(&bytes)?;
        self.confirm(first, last, batch.messages.len())
    }

    /// Reads until the last message is answered for. An error about the transaction as a whole comes under the number of
    /// its first frame and before all others.
    fn confirm(&mut self, first: u32, last: u32, messages: usize) -> Result<(), NftablesError> {
        let mut refusal = None;
        for _ in 0..ANSWERS_MAXIMUM {
            for (header, payload) in split(&self.receive()?) {
                let index = header.sequence.wrapping_sub(first) as usize;
                if header.kind != libc::NLMSG_ERROR as u16 || index > messages {
                    continue;
                }
                let code = i32::from_ne_bytes(*payload.first_chunk().ok_or(NftablesError::Answer)?);
                if code != 0 && refusal.is_none() {
                    let source = io::Error::from_raw_os_error(code.wrapping_neg());
                    refusal = Some(NftablesError::Refused { message: index, messages, source });
                }
                if header.sequence == last || header.sequence == first {
                    return refusal.map_or(Ok(()), Err);
                }
            }
        }
        Err(NftablesError::Answer)
    }

    /// All chains of all tables.
    pub fn chains(&mut self) -> Result<Vec<ChainSummary>, NftablesError> {
        const GET_CHAIN: u16 = 4;
        let answers = self.dump(GET_CHAIN, 0, |_| {})?;
        Ok(answers.iter().map(|(family, payload)| chain_summary(*family, payload)).collect())
    }

    /// Whether the table is there.
    pub fn has_table(&mut self, family: Family, table: &str) -> Result<bool, NftablesError> {
        const GET_TABLE: u16 = 1;
        let answers = self.dump(GET_TABLE, family as u8, |_| {})?;
        Ok(answers.iter().any(|(_, payload)| text_of(payload, 1) == table))
    }

    /// Handles of the rules of a chain that have this comment.
    pub fn commented_rules(
        &mut self,
        family: Family,
        table: &str,
        chain: &str,
        comment: &str,
    ) -> Result<Vec<u64>, NftablesError> {
        const GET_RULE: u16 = 7;
        let answers = self.dump(GET_RULE, family as u8, |attributes| {
            attributes.text(1, table).text(2, chain);
        })?;
        let mark = comment_bytes(comment);
        let handle_of = |payload: &[u8]| {
            let attributes = read_attributes(payload);
            let value = |kind| attributes.iter().find(|(found, _)| *found == kind).map(|(_, value)| *value);
            if value(7) != Some(mark.as_slice())
                || text_of(payload, 1) != table
                || text_of(payload, 2) != chain
            {
                return None;
            }
            Some(u64::from_be_bytes(value(3)?.try_into().ok()?))
        };
        Ok(answers.iter().filter_map(|(_, payload)| handle_of(payload)).collect())
    }

    fn dump(
        &mut self,
        kind: u16,
        family: u8,
        fill: impl FnOnce(&mut super::attribute::Attributes),
    ) -> Result<Vec<(u8, Vec<u8>)>, NftablesError> {
        self.dump_of(libc::NFNL_SUBSYS_NFTABLES as u16, kind, family, fill)
    }

    /// Asks a subsystem of netfilter for a change, outside of any transaction.
    pub(crate) fn ask(
        &mut self,
        subsystem: u16,
        kind: u16,
        family: u8,
        fill: impl FnOnce(&mut super::attribute::Attributes),
    ) -> Result<(), NftablesError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = encode_message(subsystem << 8 | kind, libc::NLM_F_ACK as u16, family, 0, fill);
        number(&mut request, self.sequence);
        self.transmit(&request)?;
        for _ in 0..ANSWERS_MAXIMUM {
            for (header, payload) in split(&self.receive()?) {
                if header.sequence != self.sequence || header.kind != libc::NLMSG_ERROR as u16 {
                    continue;
                }
                let code = i32::from_ne_bytes(*payload.first_chunk().ok_or(NftablesError::Answer)?);
                if code == 0 {
                    return Ok(());
                }
                let source = io::Error::from_raw_os_error(code.wrapping_neg());
                return Err(NftablesError::Refused { message: 1, messages: 1, source });
            }
        }
        Err(NftablesError::Answer)
    }

    /// Everything of a kind that a subsystem of netfilter knows: family and attributes of each.
    pub(crate) fn dump_of(
        &mut self,
        subsystem: u16,
        kind: u16,
        family: u8,
        fill: impl FnOnce(&mut super::attribute::Attributes),
    ) -> Result<Vec<(u8, Vec<u8>)>, NftablesError> {
        let mut answers = Vec::new();
        let request = encode_message(subsystem << 8 | kind, libc::NLM_F_DUMP as u16, family, 0, fill);
        self.read_dump(request, |family, attributes| answers.push((family, attributes.to_vec())))?;
        Ok(answers)
    }

    /// The same where most of it is of no interest: `each` sees family and attributes, and nothing is kept.
    pub(crate) fn dump_each(
        &mut self,
        subsystem: u16,
        kind: u16,
        family: u8,
        each: impl FnMut(u8, &[u8]),
    ) -> Result<(), NftablesError> {
        self.read_dump(
            encode_message(subsystem << 8 | kind, libc::NLM_F_DUMP as u16, family, 0, |_| {}),
            each,
        )
    }

    fn read_dump(
        &mut self,
        mut request: Vec<u8>,
        mut each: impl FnMut(u8, &[u8]),
    ) -> Result<(), NftablesError> {
        self.sequence = self.sequence.wrapping_add(1);
        number(&mut request, self.sequence);
        self.transmit(&request)?;
        for _ in 0..ANSWERS_MAXIMUM {
            for (header, payload) in split(&self.receive()?) {
                if header.sequence != self.sequence {
                    continue;
                }
                match i32::from(header.kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => {
                        let code = i32::from_ne_bytes(*payload.first_chunk().ok_or(NftablesError::Answer)?);
                        let source = io::Error::from_raw_os_error(code.wrapping_neg());
                        return Err(NftablesError::Refused { message: 0, messages: 0, source });
                    }
                    _ => {
                        let (netfilter, attributes) =
                            payload.split_first_chunk::<4>().ok_or(NftablesError::Answer)?;
                        each(netfilter[0], attributes);
                    }
                }
            }
        }
        Err(NftablesError::Answer)
    }

    fn transmit(&mut self, bytes: &[u8]) -> Result<(), NftablesError> {
        // A transaction bigger than the send buffer is refused with ENOBUFS or EMSGSIZE, so the buffer grows first.
        if bytes.len() > 64 * 1024 {
            let size = i32::try_from(bytes.len() * 2).map_err(|_| NftablesError::TooBig(bytes.len()))?;
            nix::sys::socket::setsockopt(
                &self.socket,
                nix::sys::socket::sockopt::SndBufForce,
                &(size as usize),
            )
            .map_err(|error| NftablesError::Socket(error.into()))?;
        }
        self.socket.send(bytes, 0).map_err(NftablesError::Socket)?;
        Ok(())
    }

    fn receive(&self) -> Result<Vec<u8>, NftablesError> {
        let mut buffer = Vec::with_capacity(ANSWER_BYTES);
        loop {
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => return Ok(buffer),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(NftablesError::Socket(error)),
            }
        }
    }
}

struct Header {
    kind: u16,
    sequence: u32,
}

/// The messages of one answer: header and payload.
fn split(mut bytes: &[u8]) -> Vec<(Header, &[u8])> {
    const HEADER_BYTES: usize = 16;
    let mut messages = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let [length @ .., _, _, _, _, _, _, _, _, _, _, _, _] = *header;
        let [_, _, _, _, kind @ .., _, _, _, _, _, _, _, _, _, _] = *header;
        let [_, _, _, _, _, _, _, _, sequence @ .., _, _, _, _] = *header;
        let Some(payload) = bytes.get(HEADER_BYTES..u32::from_ne_bytes(length) as usize) else { break };
        let header = Header { kind: u16::from_ne_bytes(kind), sequence: u32::from_ne_bytes(sequence) };
        messages.push((header, payload));
        bytes = bytes.get((HEADER_BYTES + payload.len()).next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

fn number(message: &mut [u8], sequence: u32) {
    message[8..12].copy_from_slice(&sequence.to_ne_bytes());
}

fn text_of(payload: &[u8], kind: u16) -> String {
    let attributes = read_attributes(payload);
    let value = attributes.iter().find(|(found, _)| *found == kind).map_or(&[][..], |(_, value)| *value);
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

fn chain_summary(family: u8, payload: &[u8]) -> ChainSummary {
    let attributes = read_attributes(payload);
    let value = |kind| attributes.iter().find(|(found, _)| *found == kind).map(|(_, value)| *value);
    let number = |value: &[u8]| value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let hook = value(4).and_then(|hook| {
        read_attributes(hook).iter().find(|(kind, _)| *kind == 1).and_then(|(_, value)| number(value))
    });
    ChainSummary {
        family,
        table: text_of(payload, 1),
        name: text_of(payload, 3),
        hook,
        drops: hook.is_some() && value(5).and_then(number) == Some(libc::NF_DROP as u32),
    }
}
