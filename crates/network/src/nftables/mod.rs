//! nftables over nfnetlink: just what this crate needs, encoded by hand.
//!
//! One [`Batch`] is one transaction: the kernel applies all of it or nothing. [`NftablesSocket`] sends it and reads the
//! answer; a change of one set element takes a few microseconds at any set size. Sources: linux/netfilter/nf_tables.h,
//! linux/netfilter/nfnetlink.h, nft(8).

mod attribute;
mod batch;
mod expression;
mod set;
mod socket;

pub(crate) use attribute::read_attributes;
pub use batch::{Batch, Chain, ChainKind, Family, Hook, Policy};
pub use expression::{
    Comparison, Connection, Expression, Meta, PayloadBase, Verdict, interface_name, nat_flags, register,
};
pub use set::{Element, KeyType, Set, SetData, interval, interval_ipv6};
pub use socket::{ChainSummary, NftablesError, NftablesSocket};
