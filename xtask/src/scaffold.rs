//! New operations and new services, laid out as all the others are.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::tidy::snake_case;

/// Lists `name` in `models/SERVICE.operations`, regenerates, and writes the operation's file and its `mod` line.
pub fn new_operation(root: &Path, aws_service: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(format!("{name:?} is no operation's name"));
    }
    let list = root.join("models").join(format!("{aws_service}.operations"));
    let listed = read(&list)?;
    if listed.lines().any(|line| line == name) {
        return Err(format!("{name} is listed in {} already", list.display()));
    }
    let mut names: Vec<&str> = listed.lines().filter(|line| !line.is_empty()).chain([name]).collect();
    names.sort_unstable();
    write(&list, &format!("{}\n", names.join("\n")))?;
    let regenerated = Command::new(env!("CARGO"))
        .args(["run", "-q", "-p", "xtask", "--", "codegen"])
        .current_dir(root)
        .status();
    if !regenerated.map_err(|error| error.to_string())?.success() {
        write(&list, &listed)?;
        return Err(format!("the model of {aws_service} has no operation {name}, or could not be read"));
    }
    let module = snake_case(name);
    let folder = root.join("crates/services").join(aws_service).join("src/operations");
    let file = folder.join(format!("{module}.rs"));
    if !file.exists() {
        write(&file, &operation_text(aws_service, name))?;
        let hub = folder.join("mod.rs");
        let mut lines: Vec<String> = read(&hub)?.lines().map(str::to_owned).collect();
        let line = format!("mod {module};");
        let at = lines.iter().position(|other| other.starts_with("mod ") && *other > line);
        lines.insert(at.unwrap_or(lines.len()), line);
        write(&hub, &format!("{}\n", lines.join("\n")))?;
    }
    println!("{}: write its permissions and its handle", file.display());
    Ok(())
}

fn operation_text(aws_service: &str, name: &str) -> String {
    let type_name = type_name(aws_service);
    format!(
        "//! {name}: say in one sentence what it does. Source: AWS API reference, \"{name}\".\n\
         //!\n\
         //! Differs from AWS: nothing known.\n\n\
         use api::{aws_service}::operations::{name};\n\
         use wire::{{Call, Fault, Operation, OperationType, Permission}};\n\n\
         use crate::{type_name};\n\n\
         impl Operation<{name}> for {type_name} {{\n    \
             fn permissions(&self, _call: &Call, _input: &<{name} as OperationType>::Input) -> Vec<Permission> {{\n        \
                 compile_error!(\"name the action and the resources\")\n    }}\n\n    \
             async fn handle(&self, _call: &Call, _input: <{name} as OperationType>::Input)\n        \
                 -> Result<<{name} as OperationType>::Output, Fault> {{\n        \
                 compile_error!(\"parse, look up, change, answer\")\n    }}\n}}\n"
    )
}

/// Lays out `crates/services/NAME`. The model must be taken first.
pub fn new_service(root: &Path, name: &str) -> Result<(), String> {
    let list = root.join("models").join(format!("{name}.operations"));
    if !root.join("models").join(format!("{name}.json")).is_file() {
        return Err(format!("take the model of {name} first: models/{name}.json is not there"));
    }
    let crate_folder = root.join("crates/services").join(name);
    if crate_folder.exists() {
        return Err(format!("{} is there already", crate_folder.display()));
    }
    for folder in ["src/operations", "src/resources"] {
        fs::create_dir_all(crate_folder.join(folder)).map_err(|error| error.to_string())?;
    }
    if !list.exists() {
        write(&list, "")?;
    }
    let manifest =
        read(&root.join("crates/services/sts/Cargo.toml"))?.replacen("\"sts\"", &format!("\"{name}\""), 1);
    write(&crate_folder.join("Cargo.toml"), &manifest)?;
    let type_name = type_name(name);
    write(
        &crate_folder.join("src/lib.rs"),
        &format!(
            "//! The AWS service {name}.\n\nmod operations;\nmod resources;\n\n\
             /// The service: implements every listed operation.\n#[derive(Debug)]\npub struct {type_name};\n"
        ),
    )?;
    write(&crate_folder.join("src/operations/mod.rs"), "//! One file an operation.\n")?;
    write(
        &crate_folder.join("src/resources/mod.rs"),
        "//! One file a noun: its rows, its ARN, what it looks like.\n",
    )?;
    println!(
        "{}: now add it to xtask/src/tidy.rs (FLOORS), to Cargo.toml and to crates/server",
        crate_folder.display()
    );
    Ok(())
}

fn type_name(aws_service: &str) -> String {
    let mut characters = aws_service.chars();
    characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect()
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}
