//! Scenarios: scripts that people read, each with the transcript that it must give, in one file.
//!
//! A line that begins with `$ ` is a command, one that begins with `#` is a comment, and the lines below a command are what
//! happened meanwhile. `cargo xtask sim --scenarios` runs them all and compares; `--bless` writes what happened instead.
//!
//! | command | does |
//! | --- | --- |
//! | `instance COUNT zone Z [cpu N] [memory N]` | adds machines `i-1`, `i-2` … in the zone |
//! | `register FAMILY image IMAGE [check\|port\|awsvpc]` | registers a task definition; images are `app…`, `crash…`, `sick…`, `nopull…`, `job…` |
//! | `create-service NAME DEFINITION COUNT [JSON]`, `update-service NAME JSON`, `delete-service NAME` | as they say |
//! | `run DEFINITION [COUNT]`, `stop TASK` | RunTask, StopTask |
//! | `continue SERVICE` | lets the hook pass that holds the service's deployment |
//! | `call OPERATION JSON` | any call of the API; names such as `task-1`, `i-1`, `deployment-1` stand for ARNs |
//! | `advance 30s` (or `5m`, `2h`) | lets time pass |
//! | `rest 10m` | lets time pass until desired is what is, at most so long |
//! | `crash TASK`, `sicken TASK`, `cure TASK` | its container ends with 1; its health check fails, passes |
//! | `cut-off I`, `mend I`, `kill-agent I`, `start-agent I`, `power-off I`, `power-on I` | faults of machines, and their ends |
//! | `kill-control`, `start-control` | the control plane's death and next life |
//! | `show` | services, deployments and tasks as the API tells them |
//! | `verbose` | from now on with what machines do |

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::{HookStatus, ServiceDeployment};
use serde_json::{Value, json};
use store::Prefix;
use tokio::time::Instant;

use crate::chaos::{definition, in_world};
use crate::link::Way;
use crate::machine::{Machine, Size};
use crate::world::{Stages, World};

/// How often `rest` looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where the scenarios of this workspace lie.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios")
}

/// Runs every scenario of a directory. With `bless` it writes what happened; else the error shows where that is not what
/// should.
pub fn run_all(directory: &Path, bless: bool) -> Result<usize, String> {
    let read = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .map_err(read)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let mut wrong = String::new();
    for file in &files {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let found = run(&text);
        if found == text {
            continue;
        }
        if bless {
            std::fs::write(file, &found).map_err(|error| format!("{}: {error}", file.display()))?;
        } else {
            let _ =
                writeln!(wrong, "{} is not what happened:\n{}", file.display(), difference(&text, &found));
        }
    }
    if wrong.is_empty() { Ok(files.len()) } else { Err(wrong) }
}

/// The first place where the two differ.
fn difference(wanted: &str, found: &str) -> String {
    let (wanted, found): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), found.lines().collect());
    let same = wanted.iter().zip(&found).take_while(|(wanted, found)| wanted == found).count();
    let show = |lines: &[&str]| {
        lines.iter().skip(same).take(8).fold(String::new(), |text, line| text + "    " + line + "\n")
    };
    format!("  from line {}, wanted:\n{}  found:\n{}", same + 1, show(&wanted), show(&found))
}

/// Runs a scenario and gives it with what happened.
pub fn run(text: &str) -> String {
    let script: Vec<String> = text
        .lines()
        .filter(|line| line.is_empty() || line.starts_with('#') || line.starts_with("$ "))
        .map(str::to_owned)
        .collect();
    let output = Arc::new(std::sync::Mutex::new(String::new()));
    let written = Arc::clone(&output);
    in_world(1, Stages::STEADY, |world| async move {
        let mut stage = Stage { world, shown: 0, verbose: false };
        for line in script {
            let mut text = format!("{line}\n");
            if let Some(command) = line.strip_prefix("$ ") {
                if let Err(error) = stage.act(command).await {
                    let _ = writeln!(text, "error: {error}");
                }
                // What the command's last moment brings about still belongs to it.
                tokio::time::sleep(Duration::from_millis(1)).await;
                stage.tell(&mut text);
                if command == "show" {
                    text.push_str(&stage.show().await);
                }
            }
            written.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push_str(&text);
        }
    });
    let output = output.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    output.clone()
}

struct Stage {
    world: Arc<World>,
    /// Lines of the transcript that were told.
    shown: u64,
    verbose: bool,
}

impl Stage {
    fn tell(&mut self, text: &mut String) {
        let transcript = self.world.transcript();
        let (count, _) = transcript.fingerprint();
        let new = usize::try_from(count - self.shown).unwrap_or_default();
        let kept = transcript.lines().count();
        for line in transcript.lines().skip(kept.saturating_sub(new)) {
            let of_machine = line.get(12..15).is_some_and(|start| start == "   ");
            if self.verbose || !of_machine {
                let _ = writeln!(text, "{line}");
            }
        }
        self.shown = count;
    }

    async fn act(&mut self, command: &str) -> Result<(), String> {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        match verb {
            "verbose" => self.verbose = true,
            "show" => {}
            "instance" => self.add_machines(&words).await?,
            "register" => self.register(&words).await?,
            "create-service" => self.create_service(rest).await?,
            "update-service" | "delete-service" => {
                let (name, json) = rest.split_once(' ').unwrap_or((rest, "{}"));
                let mut body = self.json(json)?;
                body["service"] = json!(name);
                if verb == "update-service" {
                    self.call("UpdateService", body).await?;
                } else {
                    body["force"] = json!(true);
                    self.call("DeleteService", body).await?;
                }
            }
            "run" => {
                let count: i64 = words.get(1).and_then(|count| count.parse().ok()).unwrap_or(1);
                let body = json!({"taskDefinition": words.first().ok_or("which one?")?, "count": count});
                self.call("RunTask", body).await?;
            }
            "stop" => {
                let body = self.json(&format!("{{\"task\": \"{rest}\"}}"))?;
                self.call("StopTask", body).await?;
            }
            "continue" => self.continue_deployment(rest).await?,
            "call" => {
                let (operation, json) = rest.split_once(' ').unwrap_or((rest, "{}"));
                let body = self.json(json)?;
                self.call(operation, body).await?;
            }
            "advance" => self.world.advance(time(rest)?).await,
            "rest" => self.rest(time(rest)?).await,
            "kill-control" => self.world.kill_control_plane().await,
            "start-control" => self.world.start_control_plane(),
            _ => self.fault(verb, rest).await?,
        }
        Ok(())
    }

    async fn fault(&self, verb: &str, name: &str) -> Result<(), String> {
        if let "crash" | "sicken" | "cure" = verb {
            let task = self.world.watcher.task_called(name).ok_or("there is no such task")?;
            let arn = task.arn().to_string();
            let place = self.world.runs_on(&arn).ok_or("it does not run")?;
            let machine = self.world.machine(&place).ok_or("its machine is gone")?;
            match verb {
                "crash" => machine.crash_task(&arn, 1),
                _ => machine.set_health(&arn, verb == "cure"),
            }
            return Ok(());
        }
        let machine = self.world.machine(name).ok_or_else(|| format!("{verb} {name}: what is that?"))?;
        match verb {
            "cut-off" => machine.link.set(Way::CUT, Way::CUT),
            "mend" => machine.link.mend(),
            "kill-agent" => machine.kill_agent(&self.world).await,
            "start-agent" | "power-on" => machine.start_agent(&self.world),
            "power-off" => machine.cut_power(&self.world).await,
            _ => return Err(format!("{verb} is no command")),
        }
        Ok(())
    }

    async fn add_machines(&self, words: &[&str]) -> Result<(), String> {
        let count: usize = words.first().and_then(|count| count.parse().ok()).ok_or("how many?")?;
        let after = |key: &str| {
            words.iter().position(|word| *word == key).and_then(|index| words.get(index + 1)).copied()
        };
        let number = |key: &str, otherwise: i64| {
            after(key).map_or(Ok(otherwise), |text| text.parse().map_err(|_| format!("{key} {text}?")))
        };
        let size = Size {
            cpu_units: number("cpu", 2048)?,
            memory_mib: number("memory", 4096)?,
            gpu_ids: Vec::new(),
        };
        for _ in 0..count {
            let name = format!("i-{}", self.world.machines().len() + 1);
            let zone = after("zone").unwrap_or("a");
            self.world.add_machine(Machine::new(self.world.seed, &name, zone, size.clone()));
        }
        self.world.advance(Duration::from_secs(1)).await;
        Ok(())
    }

    async fn register(&self, words: &[&str]) -> Result<(), String> {
        let [family, "image", image, more @ ..] = words else {
            return Err("register FAMILY image IMAGE".to_owned());
        };
        let special = more.first().copied().unwrap_or_default();
        self.call("RegisterTaskDefinition", definition(family, image, special)).await
    }

    async fn create_service(&self, rest: &str) -> Result<(), String> {
        let (plain, json) = match rest.find('{') {
            Some(at) => rest.split_at(at),
            None => (rest, "{}"),
        };
        let words: Vec<&str> = plain.split_whitespace().collect();
        let [name, definition, count] = words.as_slice() else {
            return Err("create-service NAME DEFINITION COUNT".to_owned());
        };
        let mut body = self.json(json)?;
        body["serviceName"] = json!(name);
        body["taskDefinition"] = json!(definition);
        if *count != "-" {
            body["desiredCount"] = json!(count.parse::<i64>().map_err(|_| "how many?")?);
        }
        self.call("CreateService", body).await
    }

    /// Lets the hook pass that holds the service's deployment.
    async fn continue_deployment(&self, service: &str) -> Result<(), String> {
        let waiting = {
            let snapshot = self.world.store.snapshot();
            let mut all = snapshot.scan::<ServiceDeployment>(Prefix::everything(), None);
            all.find_map(|row| {
                let mut hooks = row.hooks.iter();
                let hook = hooks.find(|hook| hook.status == HookStatus::AwaitingAction)?;
                (row.service == service).then(|| (row.arn().to_string(), hook.id.clone()))
            })
        };
        let (arn, hook) = waiting.ok_or("no deployment waits")?;
        let body = json!({"serviceDeploymentArn": arn, "hookId": hook, "action": "CONTINUE"});
        self.call("ContinueServiceDeployment", body).await
    }

    /// A call; a refusal is told.
    async fn call(&self, operation: &str, body: Value) -> Result<(), String> {
        match self.world.call(operation, body).await {
            Some((200, _)) => Ok(()),
            Some((status, answer)) => {
                let code = answer["__type"].as_str().unwrap_or_default();
                let message = answer["message"].as_str().or(answer["Message"].as_str()).unwrap_or_default();
                let code = code.rsplit('#').next().unwrap_or_default();
                self.world.say(format!("{operation} is refused: {status} {code}: {message}"));
                Ok(())
            }
            None => {
                self.world.say(format!("{operation} is not answered"));
                Ok(())
            }
        }
    }

    async fn rest(&self, patience: Duration) {
        let end = Instant::now() + patience;
        while Instant::now() < end && self.world.violation().is_none() {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.world.watcher.unrest(&self.world).is_empty() {
                self.world.say("all is at rest");
                return;
            }
        }
        for unrest in self.world.watcher.unrest(&self.world) {
            self.world.say(format!("no rest: {unrest}"));
        }
    }

    /// JSON in which names stand for ARNs.
    fn json(&self, text: &str) -> Result<Value, String> {
        let mut value: Value = serde_json::from_str(text).map_err(|error| format!("{text}: {error}"))?;
        self.resolve(&mut value);
        Ok(value)
    }

    fn resolve(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(arn) = self.arn_of(text) {
                    *text = arn;
                }
            }
            Value::Array(all) => all.iter_mut().for_each(|value| self.resolve(value)),
            Value::Object(all) => all.values_mut().for_each(|value| self.resolve(value)),
            _ => {}
        }
    }

    fn arn_of(&self, name: &str) -> Option<String> {
        if name.starts_with("task-") {
            return self.world.watcher.task_called(name).map(|task| task.arn().to_string());
        }
        if name.starts_with("deployment-") {
            let snapshot = self.world.store.snapshot();
            let mut all = snapshot.scan::<ServiceDeployment>(Prefix::everything(), None);
            return all
                .find(|row| self.world.watcher.readable(&row.id) == name)
                .map(|row| row.arn().to_string());
        }
        self.world.machine(name)?.arn()
    }

    async fn show(&self) -> String {
        let mut text = String::new();
        for service in crate::faults::services(&self.world).await {
            let name = service["serviceName"].as_str().unwrap_or_default();
            let _ = writeln!(
                text,
                "  service {name}: {} of {} running, {} pending",
                service["runningCount"], service["desiredCount"], service["pendingCount"]
            );
            for deployment in service["deployments"].as_array().into_iter().flatten() {
                let word = |key: &str| deployment[key].as_str().unwrap_or("-").to_owned();
                let definition = word("taskDefinition");
                let definition = definition.rsplit('/').next().unwrap_or_default();
                let id = self.world.watcher.readable(&word("id"));
                let _ = writeln!(
                    text,
                    "    {id} {} {definition}: {} of {} running, {} pending, {} failed, {}",
                    word("status"),
                    deployment["runningCount"],
                    deployment["desiredCount"],
                    deployment["pendingCount"],
                    deployment["failedTasks"],
                    word("rolloutState")
                );
            }
        }
        let mut tasks = self.world.watcher.live_tasks();
        tasks.sort_by_key(|task| self.number_of(&task.id));
        for task in tasks {
            let place = task
                .container_instance
                .as_ref()
                .map_or("nowhere".to_owned(), |arn| self.world.watcher.machine_called(&arn.to_string()));
            let _ = writeln!(
                text,
                "  {} {}:{} {} ({}) on {place}, {}",
                self.world.short(&task.id),
                task.family,
                task.revision,
                task.last_status,
                task.health_status,
                task.group
            );
        }
        if text.is_empty() { "  nothing runs\n".to_owned() } else { text }
    }

    fn number_of(&self, id: &str) -> u64 {
        self.world.short(id).trim_start_matches("task-").parse().unwrap_or_default()
    }
}

/// `30s`, `5m`, `2h`, `100ms`.
fn time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    units
        .iter()
        .find_map(|(unit, millis)| Some(text.strip_suffix(unit)?.parse::<u64>().ok()? * millis))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text} is no time"))
}
