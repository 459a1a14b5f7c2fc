//! The agent with the real container engine: a busybox image, a control plane in memory, no network.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::{Agent, AgentHandle, ShutdownMode};
use common::control_plane::ControlPlane;
use common::machine::{Images, Machine};
use common::{config, container, stop, task, with};
use engine::{Engine, EngineConfig, ShimCommand};
use serde_json::{Value, json};
use tempfile::TempDir;

const ONE: &str = "11111111111111111111111111111111";

struct Bench {
    control_plane: ControlPlane,
    engine: Arc<Engine>,
    agent: AgentHandle,
    data_dir: TempDir,
}

/// A file system with busybox under every name that the tests use.
fn make_image(root: &Path) {
    for directory in ["bin", "tmp", "proc", "sys", "dev", "etc", "data"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    fs::set_permissions(root.join("bin/busybox"), fs::Permissions::from_mode(0o755)).unwrap();
    for applet in ["sh", "sleep", "cat", "echo", "head", "tail", "test", "touch", "true", "df"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("data/from-image"), "from the image").unwrap();
}

/// A test that fails leaves nothing behind either.
impl Drop for Bench {
    fn drop(&mut self) {
        let engine = Arc::clone(&self.engine);
        let destroying = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let _ = runtime.block_on(engine.destroy_all());
        });
        let _ = destroying.join();
    }
}

impl Bench {
    async fn new(test: &str) -> Option<Self> {
        // /proc/self belongs to who we are.
        let root = fs::metadata("/proc/self").is_ok_and(|self_| {
            use std::os::unix::fs::MetadataExt;
            self_.uid() == 0
        });
        if !root || !Path::new("/bin/busybox").exists() {
            eprintln!("SKIPPED {test}: needs root and /bin/busybox (apt-get install busybox-static)");
            return None;
        }
        let data_dir = tempfile::Builder::new().prefix("agent-test-").tempdir().unwrap();
        let image = data_dir.path().join("image");
        make_image(&image);
        let engine = Engine::open(EngineConfig {
            root: data_dir.path().join("engine"),
            shim: ShimCommand {
                program: env!("CARGO_BIN_EXE_agent-test-helper").into(),
                arguments: vec!["internal-shim".to_owned()],
            },
            cgroup_root: format!("roadstead-agent-test-{}-{test}", std::process::id()),
        })
        .unwrap();
        let engine = Arc::new(engine);
        let control_plane = ControlPlane::start().await;
        let images = Arc::new(Images::default());
        *images.layer.lock().unwrap() = image;
        let config = config(&control_plane, &data_dir);
        let network = Arc::new(Machine::default());
        let agent = Agent::start_with(config, Arc::clone(&engine) as _, network, images).await.unwrap();
        agent.connected().await;
        Some(Self { control_plane, engine, agent, data_dir })
    }

    /// Ends everything, and looks whether anything is left.
    async fn end(self) {
        self.agent.shutdown(ShutdownMode::StopAndCleanEverything).await;
        assert!(self.engine.list().await.unwrap().is_empty());
        self.engine.destroy_all().await.unwrap();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(self.data_dir.path().to_str().unwrap()), "{mounts}");
    }
}

fn shell(name: &str, script: &str) -> Value {
    container(name, &["/bin/sh", "-c", script])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_runs_and_its_exit_code_is_told() {
    let Some(bench) = Bench::new("exit").await else { return };
    bench.control_plane.order(vec![task(ONE, vec![shell("web", "sleep 0.2; exit 42")])]).await;
    let stopped = bench.control_plane.state(ONE, "STOPPED").await;
    assert_eq!(bench.control_plane.states(ONE), ["RUNNING web=RUNNING", "STOPPED web=STOPPED(42)"]);
    assert_eq!(stopped["reason"], "Essential container in task exited");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_is_told() {
    let Some(bench) = Bench::new("start").await else { return };
    bench.control_plane.order(vec![task(ONE, vec![container("web", &["/bin/nonsense"])])]).await;
    let stopped = bench.control_plane.state(ONE, "STOPPED").await;
    let reason = stopped["containers"][0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("CannotStartContainerError: ")
            || reason.starts_with("CannotCreateContainerError: "),
        "{reason}"
    );
    assert!(reason.contains("nonsense"), "{reason}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f19_too_much_memory_is_told_as_such() {
    let Some(bench) = Bench::new("oom").await else { return };
    let greedy = with(shell("web", "head -c 200000000 /dev/zero | tail"), json!({"memory": 16}));
    bench.control_plane.order(vec![task(ONE, vec![greedy])]).await;
    let stopped = bench.control_plane.state(ONE, "STOPPED").await;
    let web = &stopped["containers"][0];
    assert_eq!(
        (&web["exitCode"], &web["reason"]),
        (&json!(137), &json!("OutOfMemoryError: Container killed due to memory usage"))
    );
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_sigterm_is_heard_or_sigkill_follows_at_the_stop_timeout() {
    let Some(bench) = Bench::new("stop").await else { return };
    let polite = shell("polite", "trap 'exit 7' TERM; while true; do sleep 0.1; done");
    let deaf = with(shell("deaf", "trap '' TERM; while true; do sleep 0.1; done"), json!({"stopTimeout": 2}));
    bench.control_plane.order(vec![task(ONE, vec![polite, deaf])]).await;
    bench.control_plane.state(ONE, "RUNNING").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let asked = Instant::now();
    bench.control_plane.order(vec![stop(ONE, 2)]).await;
    bench.control_plane.state(ONE, "STOPPED").await;
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(4), "{took:?}");
    let states = bench.control_plane.states(ONE).join("; ");
    assert!(states.contains("polite=STOPPED(7)") && states.contains("deaf=STOPPED(137)"), "{states}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_restarted_keeps_its_files() {
    let Some(bench) = Bench::new("restart").await else { return };
    let script = "echo life >> /lives; test \"$(cat /lives)\" = \"$(echo life; echo life; echo life)\" && exit 9; exit 1";
    let web = with(
        shell("web", script),
        json!({"restartPolicy": {"enabled": true, "ignoredExitCodes": [9], "restartAttemptPeriod": 0}}),
    );
    bench.control_plane.order(vec![task(ONE, vec![web])]).await;
    let stopped = bench.control_plane.state(ONE, "STOPPED").await;
    assert_eq!(stopped["containers"][0]["exitCode"], 9, "three lives in one file: {stopped}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fargate_task_is_kept_to_its_ephemeral_storage() {
    let Some(bench) = Bench::new("storage").await else { return };
    let scratch =
        json!({"mountPoints": [{"sourceVolume": "scratch", "containerPath": "/scratch", "readOnly": false}]});
    // The sizes of the two file systems, as the container sees them, in GiB.
    let script = "for at in / /scratch; do set -- $(df -k $at | tail -1); size=$(($2 >> 20)); \
                  test $size -ge 19 -a $size -le 21 || exit 1; done; echo x > /scratch/x && exit 7";
    let order = with(
        task(ONE, vec![with(shell("web", script), scratch)]),
        json!({"volumes": [{"name": "scratch", "host": {}}],
               "roadstead": {"launchType": "FARGATE", "ephemeralStorageGib": 21}}),
    );
    bench.control_plane.order(vec![order]).await;
    let stopped = bench.control_plane.state(ONE, "STOPPED").await;
    assert_eq!(stopped["containers"][0]["exitCode"], 7, "{stopped}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_shared_filled_from_the_image_and_gone_with_the_task() {
    let Some(bench) = Bench::new("volumes").await else { return };
    let host = bench.data_dir.path().join("host-directory");
    let point = |volume: &str, path: &str, read_only: bool| json!({"sourceVolume": volume, "containerPath": path, "readOnly": read_only});
    let writer = with(
        shell(
            "writer",
            "test \"$(cat /data/from-image)\" = 'from the image' && echo shared > /data/word && echo out > /host/word",
        ),
        json!({"essential": false, "mountPoints": [point("scratch", "/data", false), point("host", "/host", false)]}),
    );
    let reader = with(
        shell("reader", "test \"$(cat /data/word)\" = shared && ! echo x > /data/more && exit 9"),
        json!({"dependsOn": [{"containerName": "writer", "condition": "SUCCESS"}],
               "volumesFrom": [{"sourceContainer": "writer", "readOnly": true}]}),
    );
    let order = with(
        task(ONE, vec![reader, writer]),
        json!({"volumes": [{"name": "scratch", "host": {}}, {"name": "host", "host": {"sourcePath": host}}]}),
    );
    bench.control_plane.order(vec![order]).await;
    bench.control_plane.state(ONE, "STOPPED").await;
    let states = bench.control_plane.states(ONE).join("; ");
    assert!(states.contains("reader=STOPPED(9)") && states.contains("writer=STOPPED(0)"), "{states}");
    assert_eq!(fs::read_to_string(host.join("word")).unwrap(), "out\n");
    let of_task = bench.data_dir.path().join("volumes/tasks").join(ONE);
    for _ in 0..100 {
        if !of_task.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!of_task.exists(), "the task's own volume outlived it");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_runs_in_the_container() {
    let Some(bench) = Bench::new("health").await else { return };
    let check = json!({"dockerConfig": {
        "config": "{\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"test -f /tmp/ready && echo well\"],\"Interval\":200000000,\"Retries\":1}}",
        "hostConfig": "{\"LogConfig\":{\"Type\":\"none\"}}"}});
    let web = with(shell("web", "sleep 1; touch /tmp/ready; sleep 60"), check);
    bench.control_plane.order(vec![task(ONE, vec![web])]).await;
    let health = |status: &'static str| {
        bench.control_plane.tcs("PublishHealthRequest", move |message| {
            message["tasks"][0]["containers"][0]["healthStatus"] == status
        })
    };
    health("UNHEALTHY").await;
    let well = health("HEALTHY").await;
    assert_eq!(well["tasks"][0]["containers"][0]["statusMessage"], "well\n");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_leaves_tasks_running_and_another_agent_takes_them_up() {
    let Some(mut bench) = Bench::new("adopt").await else { return };
    bench
        .control_plane
        .order(vec![task(ONE, vec![shell("web", "trap 'exit 5' TERM; while true; do sleep 0.1; done")])])
        .await;
    bench.control_plane.state(ONE, "RUNNING").await;
    bench.agent.shutdown(ShutdownMode::LeaveTasksRunning).await;
    let config = config(&bench.control_plane, &bench.data_dir);
    let images = Arc::new(Images::default());
    let engine = Arc::clone(&bench.engine) as _;
    bench.agent = Agent::start_with(config, engine, Arc::new(Machine::default()), images).await.unwrap();
    bench.agent.connected().await;
    assert_eq!(bench.engine.list().await.unwrap().len(), 1);
    bench.control_plane.order(vec![stop(ONE, 2)]).await;
    bench.control_plane.state(ONE, "STOPPED").await;
    // A report on its way when the first agent ended is sent again.
    assert_eq!(bench.control_plane.states(ONE).last().unwrap(), "STOPPED web=STOPPED(5)");
    bench.end().await;
}
