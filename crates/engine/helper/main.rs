//! The tests' second process: the shim, an agent that is killed, and programs that try forbidden things.

use std::io::Write;
use std::process::ExitCode;

use engine::{ContainerSpec, Engine, EngineConfig, ShimCommand};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().and_then(|mode| mode.into_string().ok()).as_deref() {
        Some("internal-shim") => engine::shim_main(arguments),
        Some("agent") => {
            let arguments: Vec<String> =
                arguments.filter_map(|argument| argument.into_string().ok()).collect();
            agent(&arguments)
        }
        _ => ExitCode::FAILURE,
    }
}

/// `agent ROOT CGROUP SPEC.json`: creates and starts the container, says so, and waits to be killed.
fn agent(arguments: &[String]) -> ExitCode {
    let [root, cgroup, spec] = arguments else { return ExitCode::FAILURE };
    let spec: ContainerSpec = serde_json::from_slice(&std::fs::read(spec).unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let config = EngineConfig {
            root: root.into(),
            shim: ShimCommand::current_executable(),
            cgroup_root: cgroup.clone(),
        };
        let engine = Engine::open(config).unwrap();
        let id = spec.id.clone();
        engine.create(spec).await.unwrap();
        engine.start(&id).await.unwrap();
        writeln!(std::io::stdout(), "started").unwrap();
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}
