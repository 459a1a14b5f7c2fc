//! Capacity providers: `FARGATE` and `FARGATE_SPOT`, and the strategies that name them.

use api::ecs as wire_shapes;
use base::{Arn, Scope};
use domain::CapacityProviderStrategyItem;
use wire::Fault;

use crate::faults::invalid;

/// The providers that there are.
pub const PROVIDERS: &[&str] = &["FARGATE", "FARGATE_SPOT"];
/// Capacity providers in one strategy. Source: RunTask, `capacityProviderStrategy`.
const PER_STRATEGY: usize = 20;

/// The provider on the wire.
pub fn describe(scope: &Scope, name: &str) -> wire_shapes::CapacityProvider {
    wire_shapes::CapacityProvider {
        capacity_provider_arn: Some(Arn::new("ecs", scope, format!("capacity-provider/{name}")).to_string()),
        name: Some(name.to_owned()),
        status: Some("ACTIVE".to_owned()),
        tags: Some(Vec::new()),
        type_: Some(name.to_owned()),
        ..Default::default()
    }
}

/// Reads and checks the capacity providers of a cluster.
pub fn parse_names(names: Vec<String>) -> Result<Vec<String>, Fault> {
    let mut parsed: Vec<String> = Vec::new();
    for name in names {
        if !PROVIDERS.contains(&name.as_str()) {
            return Err(invalid(
                "The specified capacity provider was not found. Specify a valid name or ARN and try again.",
            ));
        }
        if parsed.contains(&name) {
            return Err(invalid("A capacity provider can only be specified once."));
        }
        parsed.push(name);
    }
    Ok(parsed)
}

/// Reads and checks a strategy against the providers of its cluster.
pub fn parse_strategy(
    items: Vec<wire_shapes::CapacityProviderStrategyItem>,
    of_cluster: &[String],
) -> Result<Vec<CapacityProviderStrategyItem>, Fault> {
    if items.len() > PER_STRATEGY {
        return Err(invalid("A capacity provider strategy can contain a maximum of 20 capacity providers."));
    }
    let mut parsed: Vec<CapacityProviderStrategyItem> = Vec::new();
    for item in items {
        let capacity_provider = item.capacity_provider.unwrap_or_default();
        let (weight, base) = (item.weight.unwrap_or(0), item.base.unwrap_or(0));
        if !of_cluster.contains(&capacity_provider) {
            return Err(invalid(format!(
                "The specified capacity provider strategy contains a capacity provider that is not associated with \
                 the cluster: {capacity_provider}. Associate the capacity provider with the cluster and try again.",
            )));
        }
        if !(0..=1000).contains(&weight) {
            return Err(invalid("Capacity provider strategy weight should be between 0 and 1000."));
        }
        if !(0..=100_000).contains(&base) {
            return Err(invalid("Capacity provider strategy base should be between 0 and 100000."));
        }
        if parsed.iter().any(|there| there.capacity_provider == capacity_provider) {
            return Err(invalid("A capacity provider can only be specified once in a strategy."));
        }
        parsed.push(CapacityProviderStrategyItem { capacity_provider, weight, base });
    }
    if parsed.iter().filter(|item| item.base > 0).count() > 1 {
        return Err(invalid(
            "Only one capacity provider in a capacity provider strategy can have a base defined.",
        ));
    }
    if !parsed.is_empty() && parsed.iter().all(|item| item.weight == 0) {
        return Err(invalid(
            "A capacity provider strategy should contain at least one capacity provider with a weight greater than 0.",
        ));
    }
    Ok(parsed)
}

/// Splits `count` tasks over the providers of a strategy: the base first, then by weight (largest remainder, earlier
/// items first). Source: "Amazon ECS capacity providers", base and weight.
pub fn split(strategy: &[CapacityProviderStrategyItem], count: usize, already: &[usize]) -> Vec<usize> {
    let mut shares = vec![0_usize; strategy.len()];
    let of = |shares: &[usize], index: usize| shares[index] + already.get(index).copied().unwrap_or(0);
    for _ in 0..count {
        let below_base = strategy
            .iter()
            .enumerate()
            .find(|(index, item)| of(&shares, *index) < usize::try_from(item.base).unwrap_or(0))
            .map(|(index, _)| index);
        // The provider whose share above its base is furthest below its weight: least (share + 1) / weight.
        let by_weight = || {
            (0..strategy.len()).filter(|&index| strategy[index].weight > 0).min_by(|&a, &b| {
                let above = |index: usize| {
                    let base = usize::try_from(strategy[index].base).unwrap_or(0);
                    (of(&shares, index).saturating_sub(base) + 1) as u64
                };
                let weight = |index: usize| strategy[index].weight as u64;
                (above(a) * weight(b)).cmp(&(above(b) * weight(a))).then(a.cmp(&b))
            })
        };
        if let Some(index) = below_base.or_else(by_weight) {
            shares[index] += 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(capacity_provider: &str, base: i32, weight: i32) -> CapacityProviderStrategyItem {
        CapacityProviderStrategyItem { capacity_provider: capacity_provider.into(), weight, base }
    }

    #[test]
    fn base_first_then_weight() {
        let strategy = [item("FARGATE", 2, 1), item("FARGATE_SPOT", 0, 4)];
        assert_eq!(split(&strategy, 1, &[]), [1, 0]);
        assert_eq!(split(&strategy, 2, &[]), [2, 0]);
        assert_eq!(split(&strategy, 7, &[]), [3, 4]);
        assert_eq!(split(&[item("FARGATE", 0, 1), item("FARGATE_SPOT", 0, 1)], 10, &[]), [5, 5]);
        assert_eq!(split(&[item("FARGATE", 0, 0), item("FARGATE_SPOT", 0, 1)], 3, &[]), [0, 3]);
        assert_eq!(split(&strategy, 1, &[2, 0]), [0, 1]);
    }
}
