//! Names of the model as Rust spells them.

/// `taskDefinitionArn` and `TaskDefinitionARN` become `task_definition_arn`.
pub fn snake(name: &str) -> String {
    let name = name.replace("IPv4", "Ipv4").replace("IPv6", "Ipv6").replace("IPs", "Ips");
    let chars: Vec<char> = name.chars().collect();
    let mut output = String::new();
    for (index, &char) in chars.iter().enumerate() {
        if !char.is_ascii_alphanumeric() {
            if !output.ends_with('_') && !output.is_empty() {
                output.push('_');
            }
            continue;
        }
        let before = index.checked_sub(1).and_then(|index| chars.get(index));
        let after = chars.get(index + 1);
        let starts_word = char.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || (before.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase))
            });
        if starts_word && !output.ends_with('_') {
            output.push('_');
        }
        output.push(char.to_ascii_lowercase());
    }
    output
}

/// The name of a struct field or function: snake case, a trailing underscore where Rust keeps the word for itself.
pub fn field(name: &str) -> String {
    let snake = snake(name);
    if RESERVED.contains(&snake.as_str()) { snake + "_" } else { snake }
}

/// The name of a static.
pub fn screaming(name: &str) -> String {
    snake(name).to_ascii_uppercase()
}

/// The name of a struct: the model's own unless it would shadow a type that the generated code uses.
pub fn structure(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map_or('_', |first| first.to_ascii_uppercase());
    let name = format!("{first}{}", chars.as_str());
    if SHADOWING.contains(&name.as_str()) { name + "_" } else { name }
}

const SHADOWING: &[&str] = &[
    "Option",
    "Vec",
    "String",
    "Box",
    "BTreeMap",
    "Timestamp",
    "Blob",
    "Value",
    "Arc",
    "Fault",
    "Self",
    "Result",
];

const RESERVED: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual",
    "where", "while", "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_snake_case() {
        for (model, rust) in [
            ("taskDefinitionArn", "task_definition_arn"),
            ("TaskDefinitionARN", "task_definition_arn"),
            ("ec2InstanceId", "ec2_instance_id"),
            ("enableIPv6", "enable_ipv6"),
            ("CidrBlockIPv6Set", "cidr_block_ipv6_set"),
            ("vCpus", "v_cpus"),
            ("AZName", "az_name"),
            ("type", "type_"),
            ("x-amz-thing", "x_amz_thing"),
        ] {
            assert_eq!(field(model), rust);
        }
    }
}
