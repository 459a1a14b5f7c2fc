//! A transaction in the making.

use super::attribute::Attributes;
use super::expression::Expression;
use super::set::{Element, Set};

/// Elements in one message: an attribute holds 64 KiB, and an element with a long key and a verdict stays below 400 bytes.
const ELEMENTS_PER_MESSAGE: usize = 150;

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet = 1,
    /// IPv4.
    Ipv4 = 2,
}

/// Where in the packet's path a base chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before routing.
    Prerouting = 0,
    /// Towards the host itself.
    Input = 1,
    /// Through the host.
    Forward = 2,
    /// From the host itself.
    Output = 3,
    /// After routing.
    Postrouting = 4,
}

/// What a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Accept and drop.
    Filter,
    /// Translate addresses; sees the first packet of a connection only.
    Nat,
}

/// What becomes of packets that no rule of a base chain decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They go on.
    Accept,
    /// They are gone.
    Drop,
}

/// A chain: a base chain where `hook` is given, else one to jump to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain<'a> {
    /// Its name, unique in the table.
    pub name: &'a str,
    /// Kind, hook, priority (lower is earlier) and policy.
    pub hook: Option<(ChainKind, Hook, i32, Policy)>,
}

#[derive(Clone, Copy)]
enum Message {
    NewTable = 0,
    DeleteTable = 2,
    NewChain = 3,
    DeleteChain = 5,
    NewRule = 6,
    DeleteRule = 8,
    NewSet = 9,
    DeleteSet = 11,
    NewElement = 12,
    DeleteElement = 14,
}

/// Changes that the kernel makes together or not at all, in the order of the calls. All are about one table.
#[derive(Clone, Debug)]
pub struct Batch {
    family: Family,
    table: String,
    /// Messages without their sequence numbers, which the socket gives.
    pub(super) messages: Vec<Vec<u8>>,
    sets: u32,
}

impl Batch {
    /// An empty batch about `table`.
    pub fn new(family: Family, table: &str) -> Self {
        Self { family, table: table.to_owned(), messages: Vec::new(), sets: 0 }
    }

    /// Adds the table; nothing happens where it exists.
    pub fn add_table(&mut self) -> &mut Self {
        let table = self.table.clone();
        self.message(Message::NewTable, libc::NLM_F_CREATE, |attributes| {
            attributes.text(1, &table).u32(2, 0);
        })
    }

    /// Deletes the table with all in it; the batch fails where it does not exist (so add it first).
    pub fn delete_table(&mut self) -> &mut Self {
        let table = self.table.clone();
        self.message(Message::DeleteTable, 0, |attributes| {
            attributes.text(1, &table);
        })
    }

    /// Adds a chain; nothing happens where it exists alike.
    pub fn add_chain(&mut self, chain: &Chain) -> &mut Self {
        let table = self.table.clone();
        self.message(Message::NewChain, libc::NLM_F_CREATE, |attributes| {
            attributes.text(1, &table).text(3, chain.name);
            if let Some((kind, hook, priority, policy)) = chain.hook {
                attributes.nested(4, |attributes| {
                    attributes.u32(1, hook as u32).u32(2, priority as u32);
                });
                let policy = if policy == Policy::Drop { libc::NF_DROP } else { libc::NF_ACCEPT };
                attributes.u32(5, policy as u32);
                attributes.text(7, if kind == ChainKind::Nat { "nat" } else { "filter" });
            }
        })
    }

    /// Adds a rule at the end of `chain`.
    pub fn add_rule(&mut self, chain: &str, expressions: &[Expression]) -> &mut Self {
        self.rule(chain, libc::NLM_F_CREATE | libc::NLM_F_APPEND, expressions, None)
    }

    /// Adds a rule at the head of `chain` with a comment, by which
    /// [`commented_rules`](super::NftablesSocket::commented_rules) finds it again.
    pub fn insert_commented_rule(
        &mut self,
        chain: &str,
        expressions: &[Expression],
        comment: &str,
    ) -> &mut Self {
        self.rule(chain, libc::NLM_F_CREATE, expressions, Some(comment))
    }

    fn rule(
        &mut self,
        chain: &str,
        flags: i32,
        expressions: &[Expression],
        comment: Option<&str>,
    ) -> &mut Self {
        let table = self.table.clone();
        self.message(Message::NewRule, flags, |attributes| {
            attributes.text(1, &table).text(2, chain);
            attributes.nested(4, |list| expressions.iter().for_each(|expression| expression.encode(list)));
            if let Some(comment) = comment {
                attributes.bytes(7, &comment_bytes(comment));
            }
        })
    }

    /// Deletes every rule of `chain`.
    pub fn flush_chain(&mut self, chain: &str) -> &mut Self {
        let table = self.table.clone();
        self.message(Message::DeleteRule, 0, |attributes| {
            attributes.text(1, &table).text(2, chain);
        })
    }

    /// Deletes the rule of `chain` that has this handle.
    pub fn delete_rule(&mut self, chain: &str, handle: u64) -> &mut Self {
        let table = self.table.clone();
        self.message(Message::DeleteRule, 0, |attributes| {
            attributes.text(1, &table).text(2, chain).bytes(3, &handle.to_be_bytes());
        })
    }

    /// Deletes a chain without rules; the batch fails where something names it.
    pub fn delete_chain(&mut self, chain: &str) -> &mut Self {
        let table = self.table.clone();
        self.message(Message::DeleteChain, 0, |attributes| {
            attributes.text(1, &table).text(3, chain);
        })
    }

    /// Deletes a set or map with its elements; the batch fails where a rule names it.
    pub fn delete_set(&mut self, set: &str) -> &mut Self {
        let table = self.table.clone();
        self.message(Message::DeleteSet, 0, |attributes| {
            attributes.text(1, &table).text(2, set);
        })
    }

    /// Adds a set or map.
    pub fn add_set(&mut self, set: &Set) -> &mut Self {
        self.sets += 1;
        let (table, id) = (self.table.clone(), self.sets);
        self.message(Message::NewSet, libc::NLM_F_CREATE, |attributes| set.encode(&table, id, attributes))
    }

    /// Adds elements; those that are there already stay.
    pub fn add_elements(&mut self, set: &str, elements: &[Element]) -> &mut Self {
        self.elements(Message::NewElement, libc::NLM_F_CREATE, set, elements)
    }

    /// Deletes elements; the batch fails where one is missing.
    pub fn delete_elements(&mut self, set: &str, elements: &[Element]) -> &mut Self {
        self.elements(Message::DeleteElement, 0, set, elements)
    }

    /// Whether nothing was asked for yet.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn elements(&mut self, message: Message, flags: i32, set: &str, elements: &[Element]) -> &mut Self {
        let table = self.table.clone();
        for elements in elements.chunks(ELEMENTS_PER_MESSAGE) {
            self.message(message, flags, |attributes| {
                attributes.text(1, &table).text(2, set);
                attributes.nested(3, |list| elements.iter().for_each(|element| element.encode(list)));
            });
        }
        self
    }

    fn message(&mut self, message: Message, flags: i32, fill: impl FnOnce(&mut Attributes)) -> &mut Self {
        let kind = (libc::NFNL_SUBSYS_NFTABLES as u16) << 8 | message as u16;
        self.messages.push(encode_message(kind, flags as u16, self.family as u8, 0, fill));
        self
    }
}

/// A rule's user data with a comment in it, as nft(8) writes it: type, length, text with a closing zero byte.
pub(super) fn comment_bytes(comment: &str) -> Vec<u8> {
    const COMMENT: u8 = 0;
    const COMMENT_BYTES_MAXIMUM: usize = 128;
    let text = &comment.as_bytes()[..comment.len().min(COMMENT_BYTES_MAXIMUM - 1)];
    let mut bytes = vec![COMMENT, text.len() as u8 + 1];
    bytes.extend_from_slice(text);
    bytes.push(0);
    bytes
}

/// A netlink message with the netfilter header: `struct nlmsghdr`, `struct nfgenmsg`, attributes.
pub(super) fn encode_message(
    kind: u16,
    flags: u16,
    family: u8,
    resource: u16,
    fill: impl FnOnce(&mut Attributes),
) -> Vec<u8> {
    let mut message = Attributes::default();
    message.0.extend_from_slice(&[0; 4]);
    message.0.extend_from_slice(&kind.to_ne_bytes());
    message.0.extend_from_slice(&(flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
    message.0.extend_from_slice(&[0; 8]);
    message.0.extend_from_slice(&[family, 0]);
    message.0.extend_from_slice(&resource.to_be_bytes());
    fill(&mut message);
    let length = message.0.len() as u32;
    message.0[..4].copy_from_slice(&length.to_ne_bytes());
    message.0
}
