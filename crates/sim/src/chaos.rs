//! Worlds that grow from a seed: a random load, random faults, and then the peace in which all must come right.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use base::Ipv4Cidr;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::balancer;
use crate::faults;
use crate::load::Load;
use crate::machine::{Machine, Size};
use crate::random::Random;
use crate::transcript::Transcript;
use crate::world::{Stages, World};

/// How often it is looked whether the world has come to rest.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Clients that call at the same time.
const CLIENTS: usize = 3;
/// Lines of the transcript that a failure shows.
const TAIL_LINES: usize = 60;

/// How a world is made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long load and faults last.
    pub trouble: Duration,
    /// How long the world may take to come to rest afterwards.
    pub peace: Duration,
    /// Shortest and longest time between two calls of one client, in milliseconds.
    pub call_millis: (u64, u64),
    /// Shortest and longest time between two faults, in milliseconds.
    pub fault_millis: (u64, u64),
    /// Container instances.
    pub machines: usize,
}

impl Plan {
    /// Half a minute: what the continuous integration runs by the hundred.
    pub const SHORT: Self = Self {
        trouble: Duration::from_secs(30),
        peace: Duration::from_secs(45 * 60),
        call_millis: (100, 6000),
        fault_millis: (1000, 14_000),
        machines: 3,
    };
    /// As many minutes as one likes.
    pub const MEDIUM: Self = Self {
        trouble: Duration::from_secs(240),
        peace: Duration::from_secs(45 * 60),
        call_millis: (200, 12_000),
        fault_millis: (3000, 40_000),
        machines: 4,
    };
    /// Days.
    pub const LONG: Self = Self {
        trouble: Duration::from_secs(72 * 3600),
        peace: Duration::from_secs(45 * 60),
        call_millis: (10_000, 600_000),
        fault_millis: (60_000, 1_800_000),
        machines: 5,
    };
}

/// What became of a world.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What happened.
    pub transcript: Transcript,
    /// The law that was broken.
    pub failure: Option<String>,
}

impl Outcome {
    /// What a person needs to see of a failure.
    pub fn report(&self, options: &str) -> String {
        format!(
            "{}\nseed {}: {}\nreplay with: cargo xtask sim --seeds 1 --seed {}{options}\n",
            self.transcript.tail(TAIL_LINES),
            self.seed,
            self.failure.as_deref().unwrap_or("no law was broken"),
            self.seed
        )
    }
}

/// Runs `story` in a world of its own, on a clock that moves only when nobody has anything to do. Worlds share nothing: several
/// may live at once, each on a thread.
pub fn in_world<F: Future<Output = ()>>(
    seed: u64,
    stages: Stages,
    story: impl FnOnce(Arc<World>) -> F,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    let world = runtime.block_on(async {
        let world = World::new(seed, stages).await;
        story(Arc::clone(&world)).await;
        world
    });
    // What still runs goes before anyone looks at the world.
    drop(runtime);
    Outcome { seed, transcript: world.transcript(), failure: world.violation() }
}

/// One seed from beginning to end.
pub fn run(seed: u64, plan: &Plan) -> Outcome {
    let plan = *plan;
    in_world(seed, Stages::REAL, |world| async move { live(&world, &plan).await })
}

/// Runs a seed twice. Gives the first lines that differ, which is a fault of the simulator or of something in the product that
/// does not repeat.
pub fn difference(seed: u64, plan: &Plan) -> Option<(String, String)> {
    let [one, two] = [(); 2].map(|()| run(seed, plan).transcript);
    if one.fingerprint() == two.fingerprint() {
        return None;
    }
    let differs = one.lines().zip(two.lines()).find(|(one, two)| one != two);
    let (one, two) =
        differs.unwrap_or(("one ends before the other, or they differ in lines that are not kept", ""));
    Some((one.to_owned(), two.to_owned()))
}

async fn live(world: &Arc<World>, plan: &Plan) {
    populate(world, plan.machines).await;
    balancer::populate(world).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut jobs = Vec::new();
    for client in 0..CLIENTS {
        let load =
            Load::new(Arc::clone(world), Random::fork(world.seed, &format!("client {client}")), client);
        jobs.push(tokio::spawn(load.run(plan.call_millis, Arc::clone(&over))));
    }
    let random = Random::fork(world.seed, "load balancer");
    tokio::spawn(balancer::run(Arc::clone(world), random, Arc::clone(&over)));
    let random = Random::fork(world.seed, "faults");
    jobs.push(tokio::spawn(faults::run(Arc::clone(world), random, plan.fault_millis, Arc::clone(&over))));
    let end = Instant::now() + plan.trouble;
    while Instant::now() < end && world.violation().is_none() {
        tokio::time::sleep(LOOK_EVERY.min(end - Instant::now())).await;
    }
    over.store(true, Ordering::Relaxed);
    for job in jobs {
        let _ = job.await;
    }
    if world.violation().is_some() {
        return;
    }
    faults::heal(world).await;
    come_to_rest(world, plan.peace).await;
}

/// Machines in three zones, a network, and task definitions of every kind.
pub async fn populate(world: &Arc<World>, machines: usize) {
    let networks: Vec<Ipv4Cidr> = vec!["172.31.0.0/16".parse().expect("a network")];
    let made = store::rows_vpc::ensure_default_vpc(&world.store, world.scope(), &networks, world.ids()).await;
    if made.is_err() {
        world.broken("there is no default VPC");
    }
    for number in 0..machines {
        let gpus = if number == 0 { vec!["gpu-0".to_owned(), "gpu-1".to_owned()] } else { Vec::new() };
        let size = Size { cpu_units: 2048, memory_mib: 4096, gpu_ids: gpus };
        let zone = ["a", "b", "c"][number % 3];
        world.add_machine(Machine::new(world.seed, &format!("i-{}", number + 1), zone, size));
    }
    for (family, image, more) in DEFINITIONS {
        world.must("RegisterTaskDefinition", definition(family, image, more)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
}

/// Family, image, and what is special.
const DEFINITIONS: [(&str, &str, &str); 13] = [
    ("web", "app", ""),
    ("web2", "app-2", ""),
    ("port", "app", "port"),
    ("network", "app", "awsvpc"),
    ("checked", "app", "check"),
    ("sick", "sick", "check"),
    ("crash", "crash", ""),
    ("nopull", "nopull", ""),
    ("job", "job", ""),
    // Services behind a load balancer, each with a port of its own: those of one machine do not clash.
    ("s1", "app", "port 9001"),
    ("s2", "app", "port 9002"),
    ("s3", "app", "port 9003"),
    ("s4", "app", "port 9004"),
];

fn ports(port: u16) -> Value {
    json!([{"containerPort": port, "hostPort": port}])
}

/// A task definition. `special` is `port`, `port NUMBER`, `awsvpc`, `check` or nothing.
pub fn definition(family: &str, image: &str, special: &str) -> Value {
    let mut container = json!({"name": "app", "image": image, "cpu": 128, "memory": 128, "essential": true});
    let mut mode = "host";
    match special {
        "port" => container["portMappings"] = ports(8080),
        of_port if of_port.starts_with("port ") => {
            container["portMappings"] = ports(of_port["port ".len()..].parse().unwrap_or(8080));
        }
        "check" => container["healthCheck"] = json!({"command": ["CMD", "true"]}),
        "awsvpc" => {
            mode = "awsvpc";
            container["portMappings"] = json!([{"containerPort": 80}]);
        }
        _ => {}
    }
    json!({"family": family, "networkMode": mode, "containerDefinitions": [container]})
}

/// Waits until desired is what is, and breaks the world if that takes too long.
pub async fn come_to_rest(world: &Arc<World>, patience: Duration) {
    let end = Instant::now() + patience;
    loop {
        let unrest = world.watcher.unrest(world);
        if unrest.is_empty() || world.violation().is_some() {
            break;
        }
        if Instant::now() >= end {
            world.broken(format!("no rest after {} minutes: {}", patience.as_secs() / 60, unrest.join("; ")));
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    world.say("the world is at rest");
}

/// Runs seeds, as many at once as there are cores, and gives the failure of the least one that fails. `progress` hears of
/// each up to that one, in order.
pub fn run_seeds(
    first: u64,
    count: u64,
    plan: &Plan,
    mut progress: impl FnMut(&Outcome),
) -> Result<(), Box<Outcome>> {
    let (watched, next, over) = (Watchdog::begin(), AtomicU64::new(first), AtomicBool::new(false));
    let end = first.saturating_add(count);
    std::thread::scope(|scope| {
        let (sender, outcomes) = mpsc::channel();
        for worker in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            let (sender, watched, next, over) = (sender.clone(), &watched, &next, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    watched.on(worker, (seed < end).then_some(seed));
                    if seed >= end || sender.send(run(seed, plan)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut result = Ok(());
        for seed in first..end {
            while !early.contains_key(&seed) {
                let Ok(outcome) = outcomes.recv() else { break };
                early.insert(outcome.seed, outcome);
            }
            let Some(outcome) = early.remove(&seed) else { break };
            progress(&outcome);
            if outcome.failure.is_some() {
                result = Err(Box::new(outcome));
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
        drop(outcomes);
        result
    })
}

/// Real time that one world may take before it counts as hanging in a loop that lets no time pass.
const WORLD_REAL_TIME: Duration = Duration::from_secs(600);

/// Names the seed of a world that hangs, and ends the process. By worker: its seed, and since when.
struct Watchdog(Arc<Mutex<BTreeMap<usize, (u64, std::time::Instant)>>>);

impl Watchdog {
    fn begin() -> Self {
        let watched: Arc<Mutex<BTreeMap<_, (u64, std::time::Instant)>>> = Arc::default();
        let seen = Arc::downgrade(&watched);
        std::thread::spawn(move || {
            while let Some(watched) = seen.upgrade() {
                let current = watched.lock().unwrap_or_else(PoisonError::into_inner);
                let hangs = current.values().find(|(_, since)| since.elapsed() > WORLD_REAL_TIME);
                if let Some((seed, since)) = hangs {
                    eprintln!("seed {seed} hangs since {:?}", since.elapsed());
                    std::process::abort();
                }
                drop(current);
                drop(watched);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self(watched)
    }

    /// What a worker does now; `None`: nothing more.
    fn on(&self, worker: usize, seed: Option<u64>) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seed {
            Some(seed) => watched.insert(worker, (seed, std::time::Instant::now())),
            None => watched.remove(&worker),
        };
    }
}
