//! What an insurance costs: pure, so that every task of the backend gives the same answer.

use serde::{Deserialize, Serialize};

/// What can be insured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// A car.
    Car,
    /// A home.
    Home,
    /// A journey.
    Travel,
}

impl Product {
    /// All of them, in the order of the page.
    pub const ALL: [Self; 3] = [Self::Car, Self::Home, Self::Travel];

    /// The word that requests use.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Car => "car",
            Self::Home => "home",
            Self::Travel => "travel",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|product| product.word() == word)
    }

    /// Yearly premium in cents for each 10,000 of the sum insured.
    const fn rate_cents(self) -> u64 {
        match self {
            Self::Car => 21_900,
            Self::Home => 1_450,
            Self::Travel => 6_100,
        }
    }
}

/// What a customer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is insured.
    pub product: Product,
    /// The customer's age in years, 18 to 99.
    pub age: u64,
    /// The sum insured in whole units, 1,000 to 2,000,000.
    pub sum: u64,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl Question {
    /// Reads `product=car&age=30&sum=20000`.
    pub fn parse(query: &str) -> Result<Self, Refused> {
        let value = |key: &str| {
            query
                .split('&')
                .find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == key))
                .map(|(_, value)| value)
        };
        let product = value("product").and_then(Product::parse);
        let product = product.ok_or_else(|| Refused("product is car, home or travel".to_owned()))?;
        let number = |key: &str, least: u64, most: u64| {
            let given = value(key).and_then(|text| text.parse().ok());
            given
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| Refused(format!("{key} is a number from {least} to {most}")))
        };
        Ok(Self { product, age: number("age", 18, 99)?, sum: number("sum", 1_000, 2_000_000)? })
    }

    /// The yearly premium in cents: the product's rate for the sum, and more for those under 25 and over 70.
    pub const fn premium_cents(&self) -> u64 {
        let percent = match self.age {
            18..=24 => 160,
            25..=70 => 100,
            _ => 130,
        };
        self.product.rate_cents() * self.sum / 10_000 * percent / 100
    }
}

/// A quote, as the backend answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// What is insured.
    pub product: Product,
    /// Yearly premium in cents.
    pub premium_cents: u64,
    /// The task that answered.
    pub served_by: String,
    /// The backend's version.
    pub version: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn premiums() {
        let ask = |query: &str| Question::parse(query).map(|question| question.premium_cents());
        assert_eq!(ask("product=car&age=30&sum=20000"), Ok(43_800));
        assert_eq!(ask("sum=20000&age=20&product=car"), Ok(70_080));
        assert_eq!(ask("product=home&age=80&sum=400000"), Ok(75_400));
        for (query, why) in [
            ("product=boat&age=30&sum=20000", "product is"),
            ("product=car&age=17&sum=20000", "age is"),
            ("product=car&age=30&sum=9999999", "sum is"),
            ("", "product is"),
        ] {
            assert!(ask(query).unwrap_err().0.starts_with(why), "{query}");
        }
    }
}
