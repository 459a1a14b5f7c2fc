//! Filters of listings: name, condition, values.

use wire::Fault;

use crate::faults;

/// How a filter compares.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The one value is the thing's.
    Eq,
    /// One of the values is.
    In,
    /// The thing's lies between the two values.
    Between,
    /// The thing's begins with the one value.
    BeginsWith,
}

/// A filter, checked.
pub(crate) struct Filter {
    /// AWS's name of it.
    pub(crate) name: String,
    condition: Condition,
    values: Vec<String>,
}

impl Filter {
    /// Reads a filter; `allowed` are the conditions that its name can have. Source: "NamespaceFilter", "ServiceFilter" and
    /// "OperationFilter" data types.
    pub(crate) fn parse(
        name: Option<String>,
        condition: Option<&str>,
        values: Option<Vec<String>>,
        allowed: impl Fn(&str) -> &'static [Condition],
    ) -> Result<Self, Fault> {
        let name = name.unwrap_or_default();
        let values = values.unwrap_or_default();
        let condition = match condition {
            None | Some("EQ") => Condition::Eq,
            Some("IN") => Condition::In,
            Some("BETWEEN") => Condition::Between,
            Some(_) => Condition::BeginsWith,
        };
        if !allowed(&name).contains(&condition) {
            return Err(faults::invalid(format!("The condition is not supported for the filter {name}.")));
        }
        let fits = match condition {
            Condition::Eq | Condition::BeginsWith => values.len() == 1,
            Condition::In => !values.is_empty(),
            Condition::Between => {
                values.len() == 2 && values.iter().all(|value| value.parse::<i64>().is_ok())
            }
        };
        if !fits {
            return Err(faults::invalid(format!(
                "The values of the filter {name} do not fit its condition."
            )));
        }
        Ok(Self { name, condition, values })
    }

    /// Whether something with this value passes.
    pub(crate) fn passes(&self, value: &str) -> bool {
        match self.condition {
            Condition::Eq | Condition::In => self.values.iter().any(|wanted| wanted == value),
            Condition::BeginsWith => self.values.iter().any(|wanted| value.starts_with(wanted.as_str())),
            Condition::Between => false,
        }
    }

    /// Whether something of this second passes (BETWEEN).
    pub(crate) fn passes_time(&self, second: i64) -> bool {
        let mut bounds = self.values.iter().filter_map(|value| value.parse::<i64>().ok());
        let (Some(from), Some(to)) = (bounds.next(), bounds.next()) else { return false };
        (from..=to).contains(&second)
    }

    /// Whether what is this account's own passes a filter RESOURCE_OWNER: everything here is.
    pub(crate) fn passes_owner(&self) -> bool {
        self.passes("SELF")
    }

    /// What page tokens of the filtered listing are for.
    pub(crate) fn listing(operation: &str, filters: &[Self]) -> String {
        let mut listing = operation.to_owned();
        for filter in filters {
            listing.push('/');
            listing.push_str(&filter.name);
            for value in &filter.values {
                listing.push('=');
                listing.push_str(value);
            }
        }
        listing
    }
}
