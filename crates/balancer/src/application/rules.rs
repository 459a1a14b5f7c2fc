//! Which rule a request meets.

use std::net::IpAddr;

use http::request::Parts;

use crate::configuration::{Condition, Rule};

/// What of a request the rules look at.
pub struct Facts<'a> {
    /// Host without port, in lower case.
    pub host: &'a str,
    /// The head.
    pub head: &'a Parts,
    /// Where the connection comes from.
    pub client: IpAddr,
}

/// The first rule whose conditions all hold. The default rule has none, so there is one where the listener has it.
pub fn find<'a>(rules: &'a [Rule], facts: &Facts<'_>) -> Option<&'a Rule> {
    rules.iter().find(|rule| rule.conditions.iter().all(|condition| holds(condition, facts)))
}

fn holds(condition: &Condition, facts: &Facts<'_>) -> bool {
    match condition {
        Condition::HostHeader(patterns) => patterns.iter().any(|pattern| pattern.matches(facts.host)),
        Condition::PathPattern(patterns) => {
            let path = facts.head.uri.path();
            patterns.iter().any(|pattern| pattern.matches(path))
        }
        Condition::HttpHeader { name, values } => facts
            .head
            .headers
            .get_all(name.as_str())
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| values.iter().any(|pattern| pattern.matches(value))),
        Condition::HttpRequestMethod(methods) => {
            methods.iter().any(|method| method == facts.head.method.as_str())
        }
        Condition::QueryString(wanted) => {
            let query = facts.head.uri.query().unwrap_or_default();
            query.split('&').any(|part| {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                wanted.iter().any(|(wanted_key, wanted_value)| {
                    wanted_key.as_ref().is_none_or(|pattern| pattern.matches(key))
                        && wanted_value.matches(value)
                })
            })
        }
        Condition::SourceIp(networks) => {
            networks.iter().any(|(network, prefix)| contains(*network, *prefix, facts.client))
        }
    }
}

/// Whether `address` lies in `network/prefix`. An IPv4 address in IPv6 clothing counts as IPv4.
pub fn contains(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    match (network, address.to_canonical()) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            u32::from(network) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            u128::from(network) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Action;
    use crate::pattern::Pattern;

    fn rule(arn: &str, conditions: Vec<Condition>) -> Rule {
        let action = Action::FixedResponse { status: 200, content_type: None, body: String::new() };
        Rule { arn: arn.into(), priority: None, conditions, action }
    }

    fn met(rules: &[Rule], uri: &str, host: &str, headers: &[(&str, &str)]) -> String {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let facts = Facts { host, head: &head, client: "10.0.3.7".parse().unwrap() };
        find(rules, &facts).map(|rule| rule.arn.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_first_rule_whose_conditions_all_hold() {
        let rules = [
            rule(
                "both",
                vec![
                    Condition::HostHeader(vec![Pattern::ignoring_case("api.example.com")]),
                    Condition::PathPattern(vec![Pattern::new("/v1/*"), Pattern::new("/v2/*")]),
                ],
            ),
            rule(
                "header",
                vec![Condition::HttpHeader {
                    name: "x-kind".into(),
                    values: vec![Pattern::ignoring_case("*Beta*")],
                }],
            ),
            rule(
                "query",
                vec![Condition::QueryString(vec![
                    (Some(Pattern::ignoring_case("version")), Pattern::ignoring_case("v1")),
                    (None, Pattern::ignoring_case("*example*")),
                ])],
            ),
            rule(
                "near",
                vec![
                    Condition::SourceIp(vec![("10.0.0.0".parse().unwrap(), 16)]),
                    Condition::PathPattern(vec![Pattern::new("/near")]),
                ],
            ),
            rule("default", Vec::new()),
        ];
        assert_eq!(met(&rules, "/v2/x", "api.example.com", &[]), "both");
        assert_eq!(met(&rules, "/v3/x", "api.example.com", &[]), "default");
        assert_eq!(met(&rules, "/", "a", &[("X-Kind", "a beta b")]), "header");
        assert_eq!(met(&rules, "/?a=b&VERSION=V1", "a", &[]), "query");
        assert_eq!(met(&rules, "/?q=an+example+it+is", "a", &[]), "query");
        assert_eq!(met(&rules, "/near", "a", &[]), "near");
    }

    #[test]
    fn networks() {
        let inside = |network: &str, prefix, address: &str| {
            contains(network.parse().unwrap(), prefix, address.parse().unwrap())
        };
        assert!(inside("0.0.0.0", 0, "1.2.3.4") && inside("10.1.0.0", 16, "::ffff:10.1.2.3"));
        assert!(!inside("10.1.0.0", 16, "10.2.0.1") && !inside("0.0.0.0", 0, "::1"));
        assert!(inside("fd00::", 8, "fd12::1") && !inside("fd00::", 8, "fe80::1"));
    }
}
