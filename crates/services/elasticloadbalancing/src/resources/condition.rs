//! Conditions of rules. Source: "Condition types for listener rules", "RuleCondition" data type.

use std::net::IpAddr;

use api::elasticloadbalancing::{
    HostHeaderConditionConfig, HttpHeaderConditionConfig, HttpRequestMethodConditionConfig,
    PathPatternConditionConfig, QueryStringConditionConfig, QueryStringKeyValuePair, SourceIpConditionConfig,
};
use domain::{RuleCondition, RuleValues};
use wire::Fault;

use crate::faults::{unsupported, validation};
use crate::quotas;

/// Characters of a value. Source: as above.
const VALUE_CHARACTERS: usize = 128;
/// Characters of a header's name, and of a method. Source: as above.
const NAME_CHARACTERS: usize = 40;
/// The fields, in the order of AWS's message.
const FIELDS: [&str; 6] =
    ["path-pattern", "host-header", "http-header", "http-request-method", "query-string", "source-ip"];

/// The conditions of a rule.
pub(crate) fn parse(
    conditions: Vec<api::elasticloadbalancing::RuleCondition>,
) -> Result<Vec<RuleCondition>, Fault> {
    if conditions.is_empty() {
        return Err(validation("A rule must have at least one condition"));
    }
    let conditions: Vec<_> = conditions.into_iter().map(parse_one).collect::<Result<_, _>>()?;
    for field in ["host-header", "path-pattern", "http-request-method", "source-ip"] {
        if conditions.iter().filter(|condition| field_of(condition) == field).count() > 1 {
            return Err(validation(format!("A rule can only have one '{field}' condition")));
        }
    }
    if conditions.iter().map(count_values).sum::<usize>() > quotas::CONDITION_VALUES_PER_RULE {
        let maximum = quotas::CONDITION_VALUES_PER_RULE;
        return Err(validation(format!("A rule can only have '{maximum}' condition values")));
    }
    if conditions.iter().map(count_wildcards).sum::<usize>() > quotas::CONDITION_WILDCARDS_PER_RULE {
        let maximum = quotas::CONDITION_WILDCARDS_PER_RULE;
        return Err(validation(format!("A rule can only have '{maximum}' condition wildcards")));
    }
    Ok(conditions)
}

fn parse_one(condition: api::elasticloadbalancing::RuleCondition) -> Result<RuleCondition, Fault> {
    let field = condition.field.clone().unwrap_or_else(|| inferred_field(&condition).to_owned());
    check_configurations(&field, &condition)?;
    let plain = (condition.values, condition.regex_values);
    match field.as_str() {
        "host-header" => {
            let given = condition.host_header_config.map(|config| (config.values, config.regex_values));
            let values = values(&field, plain, given)?;
            each(&values, check_host)?;
            Ok(RuleCondition::HostHeader(values))
        }
        "path-pattern" => {
            let given = condition.path_pattern_config.map(|config| (config.values, config.regex_values));
            let values = values(&field, plain, given)?;
            each(&values, check_path)?;
            Ok(RuleCondition::PathPattern(values))
        }
        "http-header" => {
            let config = condition.http_header_config.unwrap_or_default();
            let name = config.http_header_name.unwrap_or_default();
            check_header_name(&name)?;
            let values = values(&field, plain, Some((config.values, config.regex_values)))?;
            each(&values, |text| check_printable(&field, text))?;
            Ok(RuleCondition::HttpHeader(name, values))
        }
        "http-request-method" => {
            let given = condition.http_request_method_config.map(|config| (config.values, None));
            let values = values(&field, plain, given)?;
            each(&values, check_method)?;
            Ok(RuleCondition::HttpRequestMethod(values.texts().to_vec()))
        }
        "query-string" => parse_query(condition.query_string_config, plain.0),
        "source-ip" => {
            let config = condition.source_ip_config.unwrap_or_default();
            if config.ip_address_type.is_some() {
                return Err(unsupported("IpAddressType of a source-ip condition"));
            }
            let values = values(&field, plain, Some((config.values, None)))?;
            each(&values, check_network)?;
            Ok(RuleCondition::SourceIp(values.texts().to_vec()))
        }
        other => {
            Err(validation(format!("Condition field '{other}' must be one of '[{}]'", FIELDS.join(", "))))
        }
    }
}

/// The field of a condition that has a configuration only, which AWS takes too.
fn inferred_field(condition: &api::elasticloadbalancing::RuleCondition) -> &'static str {
    let present = configurations(condition);
    present.into_iter().find(|(_, is_there)| *is_there).map_or("null", |(field, _)| field)
}

fn configurations(condition: &api::elasticloadbalancing::RuleCondition) -> [(&'static str, bool); 6] {
    [
        ("path-pattern", condition.path_pattern_config.is_some()),
        ("host-header", condition.host_header_config.is_some()),
        ("http-header", condition.http_header_config.is_some()),
        ("http-request-method", condition.http_request_method_config.is_some()),
        ("query-string", condition.query_string_config.is_some()),
        ("source-ip", condition.source_ip_config.is_some()),
    ]
}

fn check_configurations(
    field: &str,
    condition: &api::elasticloadbalancing::RuleCondition,
) -> Result<(), Fault> {
    let other = configurations(condition).into_iter().find(|(name, is_there)| *is_there && *name != field);
    match other {
        Some((name, _)) => Err(validation(format!(
            "The configuration of a '{name}' condition cannot be specified for a '{field}' condition"
        ))),
        None => Ok(()),
    }
}

type Given = (Option<Vec<String>>, Option<Vec<String>>);

/// The values of a condition, which stand beside its field or in its configuration.
fn values(field: &str, plain: Given, given: Option<Given>) -> Result<RuleValues, Fault> {
    let (values, regexes) = given.unwrap_or_default();
    if regexes.is_some() || plain.1.is_some() {
        return Err(unsupported("RegexValues of a rule condition"));
    }
    let values = match (plain.0, values) {
        (Some(plain), Some(values)) if plain != values => {
            return Err(validation(format!(
                "Values of a '{field}' condition cannot be specified in two places with a difference"
            )));
        }
        (Some(values), _) | (None, Some(values)) => values,
        (None, None) => Vec::new(),
    };
    if values.is_empty() {
        return Err(validation("A condition value must be specified"));
    }
    for value in &values {
        if value.is_empty() {
            return Err(validation("Condition value cannot be empty"));
        }
        if value.chars().count() > VALUE_CHARACTERS {
            let message =
                format!("Condition value '{value}' contains more than '{VALUE_CHARACTERS}' characters");
            return Err(validation(message));
        }
    }
    Ok(RuleValues::Wildcards(values))
}

fn each(values: &RuleValues, check: impl Fn(&str) -> Result<(), Fault>) -> Result<(), Fault> {
    values.texts().iter().try_for_each(|text| check(text))
}

fn invalid_character(field: &str, text: &str) -> Fault {
    validation(format!(
        "Condition value '{text}' of a '{field}' condition contains a character that is not valid"
    ))
}

fn check_host(text: &str) -> Result<(), Fault> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-.*?".contains(&byte);
    if !text.bytes().all(is_good) {
        return Err(invalid_character("host-header", text));
    }
    let last = text.rsplit_once('.').map(|(_, last)| last);
    if last.is_some_and(|last| !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_alphabetic())) {
        return Ok(());
    }
    Err(validation(format!(
        "Condition value '{text}' must have at least one '.' character, and only alphabetical characters after the \
         final '.' character"
    )))
}

fn check_path(text: &str) -> Result<(), Fault> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.$/~\"'@:+&*?".contains(&byte);
    if text.bytes().all(is_good) { Ok(()) } else { Err(invalid_character("path-pattern", text)) }
}

fn check_header_name(name: &str) -> Result<(), Fault> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > NAME_CHARACTERS || !name.bytes().all(is_token) {
        return Err(validation(format!("HTTP header name '{name}' is not valid")));
    }
    if name.eq_ignore_ascii_case("host") {
        return Err(validation("The 'host' header must be specified with a 'host-header' condition"));
    }
    Ok(())
}

fn check_printable(field: &str, text: &str) -> Result<(), Fault> {
    if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(invalid_character(field, text))
}

fn check_method(text: &str) -> Result<(), Fault> {
    let is_good = |byte: u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    if text.len() <= NAME_CHARACTERS && text.bytes().all(is_good) {
        return Ok(());
    }
    Err(validation(format!("HTTP request method '{text}' is not valid")))
}

fn check_network(text: &str) -> Result<(), Fault> {
    let is_network = text.split_once('/').is_some_and(|(address, length)| {
        let longest = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        length.bytes().all(|byte| byte.is_ascii_digit()) && length.parse().is_ok_and(|l: u8| l <= longest)
    });
    if is_network {
        return Ok(());
    }
    Err(validation(format!("Condition value '{text}' must be a valid CIDR block")))
}

fn parse_query(
    config: Option<QueryStringConditionConfig>,
    plain: Option<Vec<String>>,
) -> Result<RuleCondition, Fault> {
    if plain.is_some() {
        return Err(validation("The values of a 'query-string' condition must be in its configuration"));
    }
    let pairs = config.and_then(|config| config.values).unwrap_or_default();
    if pairs.is_empty() {
        return Err(validation("A condition value must be specified"));
    }
    let check = |text: &str| {
        if text.is_empty() || text.chars().count() > VALUE_CHARACTERS {
            let message =
                format!("Query string keys and values must have 1 to '{VALUE_CHARACTERS}' characters");
            return Err(validation(message));
        }
        check_printable("query-string", text)
    };
    let mut values = Vec::new();
    for pair in pairs {
        let value = pair.value.ok_or_else(|| validation("A query string value must be specified"))?;
        check(&value)?;
        pair.key.as_deref().map(check).transpose()?;
        values.push((pair.key, value));
    }
    Ok(RuleCondition::QueryString(values))
}

fn field_of(condition: &RuleCondition) -> &'static str {
    match condition {
        RuleCondition::HostHeader(_) => "host-header",
        RuleCondition::PathPattern(_) => "path-pattern",
        RuleCondition::HttpHeader(..) => "http-header",
        RuleCondition::HttpRequestMethod(_) => "http-request-method",
        RuleCondition::QueryString(_) => "query-string",
        RuleCondition::SourceIp(_) => "source-ip",
    }
}

fn count_values(condition: &RuleCondition) -> usize {
    match condition {
        RuleCondition::HostHeader(values)
        | RuleCondition::PathPattern(values)
        | RuleCondition::HttpHeader(_, values) => values.texts().len(),
        RuleCondition::HttpRequestMethod(values) | RuleCondition::SourceIp(values) => values.len(),
        RuleCondition::QueryString(values) => values.len(),
    }
}

fn count_wildcards(condition: &RuleCondition) -> usize {
    let count = |text: &String| text.matches(['*', '?']).count();
    match condition {
        RuleCondition::HostHeader(RuleValues::Wildcards(values))
        | RuleCondition::PathPattern(RuleValues::Wildcards(values))
        | RuleCondition::HttpHeader(_, RuleValues::Wildcards(values)) => values.iter().map(count).sum(),
        RuleCondition::QueryString(values) => {
            values.iter().map(|(key, value)| key.as_ref().map_or(0, count) + count(value)).sum()
        }
        _ => 0,
    }
}

/// The wire form.
pub(crate) fn describe(condition: &RuleCondition) -> api::elasticloadbalancing::RuleCondition {
    let split = |values: &RuleValues| match values {
        RuleValues::Wildcards(texts) => (Some(texts.clone()), None),
        RuleValues::Regexes(texts) => (None, Some(texts.clone())),
    };
    let mut told = api::elasticloadbalancing::RuleCondition {
        field: Some(field_of(condition).to_owned()),
        ..Default::default()
    };
    match condition {
        RuleCondition::HostHeader(texts) => {
            let (values, regex_values) = split(texts);
            (told.values, told.regex_values) = (values.clone(), regex_values.clone());
            told.host_header_config = Some(HostHeaderConditionConfig { regex_values, values });
        }
        RuleCondition::PathPattern(texts) => {
            let (values, regex_values) = split(texts);
            (told.values, told.regex_values) = (values.clone(), regex_values.clone());
            told.path_pattern_config = Some(PathPatternConditionConfig { regex_values, values });
        }
        RuleCondition::HttpHeader(name, texts) => {
            let (values, regex_values) = split(texts);
            let http_header_name = Some(name.clone());
            told.http_header_config =
                Some(HttpHeaderConditionConfig { http_header_name, regex_values, values });
        }
        RuleCondition::HttpRequestMethod(values) => {
            told.http_request_method_config =
                Some(HttpRequestMethodConditionConfig { values: Some(values.clone()) });
        }
        RuleCondition::QueryString(values) => {
            let pair = |(key, value): &(Option<String>, String)| QueryStringKeyValuePair {
                key: key.clone(),
                value: Some(value.clone()),
            };
            let values = Some(values.iter().map(pair).collect());
            told.query_string_config = Some(QueryStringConditionConfig { values });
        }
        RuleCondition::SourceIp(values) => {
            told.source_ip_config =
                Some(SourceIpConditionConfig { values: Some(values.clone()), ..Default::default() });
        }
    }
    told
}
