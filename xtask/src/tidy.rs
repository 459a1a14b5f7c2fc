//! What no compiler checks: the floors, the size of files, one operation in one file, the licences.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::licences;

/// The floor of every crate. A crate depends only on crates of lower floors.
const FLOORS: &[(&str, u8)] = &[
    ("base", 0),
    ("log-spool", 1),
    ("wire", 1),
    ("api", 2),
    ("agent-protocol", 2),
    ("client", 3),
    ("domain", 3),
    ("scheduler", 4),
    ("store", 4),
    ("image", 4),
    ("network", 4),
    ("balancer", 4),
    ("service-connect", 5),
    ("log-driver", 4),
    ("ecs", 5),
    ("ec2", 5),
    ("logs", 5),
    ("sts", 5),
    ("elasticloadbalancing", 5),
    ("servicediscovery", 5),
    ("acm", 5),
    ("engine", 5),
    ("dns", 5),
    ("route53", 6),
    ("control", 6),
    ("agent", 6),
    ("server", 7),
    ("sim", 7),
    ("xtask", 8),
];

/// Hand-written lines after which a file must be split.
const FILE_LINES_MAXIMUM: usize = 900;

/// Runs every check; the error lists what is wrong.
pub fn run(root: &Path) -> Result<(), String> {
    let problems = problems(root)?;
    if problems.is_empty() {
        println!("tidy: nothing to mend");
        Ok(())
    } else {
        Err(format!("tidy found {} things to mend:\n{}", problems.len(), problems.join("\n")))
    }
}

/// What the continuous integration runs, step by step.
pub fn ci(root: &Path) -> Result<(), String> {
    run(root)?;
    for arguments in [
        &["run", "-q", "-p", "xtask", "--", "codegen", "--check"][..],
        &["fmt", "--all", "--check"],
        &["clippy", "--workspace", "--all-targets", "-q", "--", "-D", "warnings"],
        &["clippy", "-p", "xtask", "--features", "bench", "-q", "--", "-D", "warnings"],
        &["test", "--workspace", "-q"],
    ] {
        println!("cargo {}", arguments.join(" "));
        let status = Command::new(env!("CARGO")).args(arguments).current_dir(root).status();
        if !status.map_err(|error| error.to_string())?.success() {
            return Err(format!("cargo {} failed", arguments.join(" ")));
        }
    }
    Ok(())
}

fn problems(root: &Path) -> Result<Vec<String>, String> {
    let mut problems = Vec::new();
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    for manifest in manifests(root)? {
        check_floors(&manifest, &floors, &mut problems)?;
    }
    for file in rust_files(&root.join("crates"))?.into_iter().chain(rust_files(&root.join("xtask"))?) {
        check_file(root, &file, &mut problems)?;
    }
    check_operations(root, &mut problems)?;
    check_decisions(root, &mut problems)?;
    licences::check(root, &mut problems)?;
    Ok(problems)
}

fn manifests(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for folder in [root.join("crates"), root.join("crates/services"), root.to_path_buf()] {
        for entry in read_dir(&folder)? {
            let manifest = entry.join("Cargo.toml");
            if manifest.is_file() && entry.file_name().is_some_and(|name| name != "fuzz") {
                found.push(manifest);
            }
        }
    }
    Ok(found)
}

/// Names in `[dependencies]` that are crates of ours must stand on lower floors.
fn check_floors(
    manifest: &Path,
    floors: &BTreeMap<&str, u8>,
    problems: &mut Vec<String>,
) -> Result<(), String> {
    let text = read(manifest)?;
    let Some(name) = text.lines().find_map(|line| line.strip_prefix("name = ")) else { return Ok(()) };
    let name = name.trim_matches('"');
    let Some(floor) = floors.get(name) else {
        problems.push(format!("{}: crate {name} has no floor in xtask/src/tidy.rs", manifest.display()));
        return Ok(());
    };
    let mut in_dependencies = false;
    for line in text.lines() {
        if line.starts_with('[') {
            in_dependencies = line == "[dependencies]" || line.starts_with("[target.");
            continue;
        }
        let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if let (true, Some(below)) = (in_dependencies, floors.get(dependency))
            && below >= floor
        {
            problems.push(format!("{name} (floor {floor}) depends on {dependency} (floor {below})"));
        }
    }
    Ok(())
}

fn check_file(root: &Path, file: &Path, problems: &mut Vec<String>) -> Result<(), String> {
    let shown = file.strip_prefix(root).unwrap_or(file).display().to_string();
    if shown.starts_with("crates/api/") || shown.contains("/tests/") {
        return Ok(());
    }
    let text = read(file)?;
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    if lines > FILE_LINES_MAXIMUM {
        problems.push(format!("{shown}: {lines} lines before its tests (at most {FILE_LINES_MAXIMUM})"));
    }
    if !text.starts_with("//!") && !text.starts_with("#!") {
        problems.push(format!("{shown}: does not say in its first line what it is"));
    }
    Ok(())
}

/// Every listed operation of a service with a crate has a file of its own, named after it.
fn check_operations(root: &Path, problems: &mut Vec<String>) -> Result<(), String> {
    for list in read_dir(&root.join("models"))? {
        let Some(aws_service) =
            list.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".operations"))
        else {
            continue;
        };
        let folder = root.join("crates/services").join(aws_service).join("src/operations");
        for operation in read(&list)?.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let file = folder.join(format!("{}.rs", snake_case(operation)));
            if !file.is_file() {
                problems.push(format!(
                    "models/{aws_service}.operations lists {operation}, but {} is not there",
                    file.strip_prefix(root).unwrap_or(&file).display()
                ));
            }
        }
    }
    Ok(())
}

/// No number of a decision is used twice. Numbers are given out before pages are written, so there may be gaps.
fn check_decisions(root: &Path, problems: &mut Vec<String>) -> Result<(), String> {
    let mut numbers: Vec<u32> = read_dir(&root.join("decisions"))?
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.get(..4)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    for pair in numbers.windows(2) {
        if pair[0] == pair[1] {
            problems.push(format!("decisions/: number {:04} is used twice", pair[0]));
        }
    }
    Ok(())
}

/// `RunTask` to `run_task`, `DescribeVpcs` to `describe_vpcs`.
pub fn snake_case(name: &str) -> String {
    let mut out = String::new();
    let characters: Vec<char> = name.chars().collect();
    for (index, character) in characters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| characters.get(index));
        let after = characters.get(index + 1);
        let starts_word = character.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase()
                    || before.is_numeric()
                    || after.is_some_and(|after| after.is_lowercase())
            });
        if starts_word {
            out.push('_');
        }
        out.extend(character.to_lowercase());
    }
    out
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in read_dir(&folder)? {
            if entry.is_dir() {
                if entry.file_name().is_some_and(|name| name != "target") {
                    folders.push(entry);
                }
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                files.push(entry);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn read_dir(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    Ok(paths)
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_follow_names_of_operations() {
        assert_eq!(snake_case("RunTask"), "run_task");
        assert_eq!(snake_case("ListTagsLogGroup"), "list_tags_log_group");
        assert_eq!(snake_case("DescribeDBInstances"), "describe_db_instances");
    }

    #[test]
    fn an_edge_upward_is_found() {
        let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
        let folder = std::env::temp_dir().join(format!("roadstead-tidy-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let manifest = folder.join("Cargo.toml");
        fs::write(&manifest, "[package]\nname = \"base\"\n[dependencies]\nserver.workspace = true\n")
            .unwrap();
        let mut problems = Vec::new();
        check_floors(&manifest, &floors, &mut problems).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(problems, ["base (floor 0) depends on server (floor 7)"]);
    }

    #[test]
    fn the_tree_is_tidy() {
        let problems = problems(&crate::root()).unwrap();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
