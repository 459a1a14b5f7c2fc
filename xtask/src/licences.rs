//! The licences of what we depend on: permissive ones only, so that whoever has the binary owes nobody its source.
//!
//! Of a choice (`MIT OR GPL-2.0`) one permissive licence is enough; of a sum (`MIT AND MPL-2.0`) all must be.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Licences, by SPDX name, that ask for no more than their text and a notice.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Crates that are used though the list above does not have their licence. What is no longer used must go from here.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "pathrs",
        "MPL-2.0 or LGPL-3.0; libcontainer needs it and no feature turns it off. MPL-2.0 asks for the source of this \
         crate's own files only, which are published and unchanged",
    ),
    ("rust-criu", "its manifest names a file instead of a licence: that file is MIT's text"),
];

/// Says which crates of the dependency graph (every feature, build and test included) have another licence.
pub fn check(root: &Path, problems: &mut Vec<String>) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
            "--filter-platform",
            &platform,
        ])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let metadata =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    problems.extend(problems_of(&metadata, EXCEPTIONS));
    Ok(())
}

fn problems_of(metadata: &Value, exceptions: &[(&str, &str)]) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    // Other platforms' crates are listed as packages, but not resolved.
    let used: BTreeSet<String> =
        list(&metadata["resolve"]["nodes"]).iter().map(|node| text(&node["id"])).collect();
    let mut unused: BTreeSet<&str> = exceptions.iter().map(|(name, _)| *name).collect();
    let mut problems = Vec::new();
    for package in list(&metadata["packages"]) {
        let licence = text(&package["license"]);
        if !used.contains(&text(&package["id"])) || is_permissive(&licence) {
            continue;
        }
        let name = text(&package["name"]);
        if !unused.remove(name.as_str()) {
            let version = text(&package["version"]);
            let licence = if licence.is_empty() { "no licence" } else { &licence };
            problems.push(format!(
                "{name} {version}: {licence}: not one of the permissive licences in xtask/src/licences.rs"
            ));
        }
    }
    let stale = unused.into_iter();
    problems
        .extend(stale.map(|name| format!("xtask/src/licences.rs: the exception for {name} is not needed")));
    problems
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Whether an SPDX expression can be met with permissive licences alone. `/` is an older way to write OR.
fn is_permissive(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_ascii_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest) == Some(true) && rest.is_empty()
}

/// Alternatives. AND binds closer than OR.
fn any(words: &mut &[&str]) -> Option<bool> {
    let mut met = all(words)?;
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        met |= all(words)?;
    }
    Some(met)
}

fn all(words: &mut &[&str]) -> Option<bool> {
    let mut met = one(words)?;
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        met &= one(words)?;
    }
    Some(met)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    if *first == "(" {
        let met = any(words)?;
        *words = words.strip_prefix(&[")"])?;
        return Some(met);
    }
    // An exception (`Apache-2.0 WITH LLVM-exception`) only allows more.
    if let ["WITH", _, rest @ ..] = *words {
        *words = rest;
    }
    Some(PERMISSIVE.contains(first))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions_are_met_by_permissive_licences_alone() {
        for met in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-2.0 OR MIT",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(is_permissive(met), "{met}");
        }
        for unmet in [
            "",
            "MPL-2.0+",
            "MIT AND MPL-2.0",
            "MIT OR",
            "(MIT",
            "MIT)",
            "GPL-3.0 OR MIT AND AGPL-3.0",
            "MIT MIT",
        ] {
            assert!(!is_permissive(unmet), "{unmet}");
        }
    }

    #[test]
    fn a_copyleft_crate_is_found_and_a_stale_exception_too() {
        let metadata = json!({
            "packages": [
                {"id": "1", "name": "ours", "version": "1.0.0", "license": "MIT"},
                {"id": "2", "name": "theirs", "version": "2.0.0", "license": "GPL-3.0"},
                {"id": "3", "name": "nameless", "version": "3.0.0", "license": null},
                {"id": "4", "name": "elsewhere", "version": "4.0.0", "license": "GPL-3.0"},
            ],
            "resolve": {"nodes": [{"id": "1"}, {"id": "2"}, {"id": "3"}]},
        });
        let found = problems_of(&metadata, &[("nameless", "a reason"), ("gone", "a reason")]);
        let in_list = "not one of the permissive licences in xtask/src/licences.rs";
        assert_eq!(
            found,
            [
                format!("theirs 2.0.0: GPL-3.0: {in_list}"),
                "xtask/src/licences.rs: the exception for gone is not needed".to_owned()
            ]
        );
    }
}
