//! Rules of public addresses, in the instance's table: one to one, before anything else is translated.
//!
//! | map | leads |
//! | --- | --- |
//! | `public` | a public address to the private one that it is for |
//! | `public_out` | a private address to the public one that the outside sees it by |

use std::net::Ipv4Addr;

use crate::nftables::{
    Batch, Chain, ChainKind, Element, Expression, Hook, KeyType, PayloadBase, Policy, Set, SetData, register,
};
use crate::rules::{accept, ipv4, is_translated, outward, rule, to_tasks};

/// Where a public address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) public: Ipv4Addr,
    pub(crate) private: Ipv4Addr,
    /// Whether the outside sees the private address by the public one.
    pub(crate) is_routed: bool,
}

/// The maps.
pub(crate) fn add_maps(batch: &mut Batch) {
    for name in ["public", "public_out"] {
        batch.add_set(&Set {
            name: name.to_owned(),
            key: vec![KeyType::Ipv4Address],
            interval: false,
            data: SetData::Address,
        });
    }
}

/// Leads a public address to its private one.
pub(crate) fn add(batch: &mut Batch, mapping: &Mapping) {
    let (inward, outward) = elements(mapping);
    batch.add_elements("public", &[inward]);
    if mapping.is_routed {
        batch.add_elements("public_out", &[outward]);
    }
}

/// Leads it nowhere.
pub(crate) fn remove(batch: &mut Batch, mapping: &Mapping) {
    let (inward, outward) = elements(mapping);
    batch.delete_elements("public", &[inward]);
    if mapping.is_routed {
        batch.delete_elements("public_out", &[outward]);
    }
}

fn elements(mapping: &Mapping) -> (Element, Element) {
    let (public, private) = (mapping.public, mapping.private);
    let lead = |from: Ipv4Addr, to| Element::new(&[&from.octets()]).leading_to_address(to);
    (lead(public, private), lead(private, public))
}

/// The chains that translate.
pub(crate) fn add_translation(batch: &mut Batch) {
    /// Before published ports and the metadata endpoint, which take what is meant for the host.
    const DESTINATION: i32 = -110;
    /// Before what is hidden behind the host's own address.
    const SOURCE: i32 = 90;
    let address =
        |offset| Expression::Payload { base: PayloadBase::Network, offset, length: 4, to: register::FIRST };
    let lookup =
        |map: &str| Expression::Map { map: map.to_owned(), from: register::FIRST, to: register::FIRST };
    let translate = |is_source| Expression::NatAddress { is_source, address: register::FIRST };
    for (name, hook) in [("public_prerouting", Hook::Prerouting), ("public_output", Hook::Output)] {
        batch.add_chain(&Chain { name, hook: Some((ChainKind::Nat, hook, DESTINATION, Policy::Accept)) });
        batch.add_rule(name, &rule(&[ipv4(), vec![address(16), lookup("public"), translate(false)]]));
    }
    let name = "public_postrouting";
    batch.add_chain(&Chain { name, hook: Some((ChainKind::Nat, Hook::Postrouting, SOURCE, Policy::Accept)) });
    let seen_by = vec![address(12), lookup("public_out"), translate(true)];
    batch.add_rule(name, &rule(&[ipv4(), outward(), seen_by]));
}

/// What is meant for a public address passes, whoever sends it, as far as security groups let it. Comes before what keeps
/// networks apart.
pub(crate) fn add_forward(batch: &mut Batch) {
    batch.add_rule("forward", &rule(&[to_tasks(), is_translated(), accept()]));
}
