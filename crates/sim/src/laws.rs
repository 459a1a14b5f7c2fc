//! [`Watcher`]: reads everything that is written, as it is written, and asks the laws of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::Timestamp;
use domain::{
    ContainerInstance, DesiredStatus, OutboxMessage, OutboxOrder, Service, ServiceDeployment, ServiceEvent,
    ServiceStatus, TargetRegistration, Task, TaskStatus,
};
use scheduler::laws;
use scheduler::state_laws::{self, Bounds};
use scheduler::target_registration::SLACK_SECONDS;
use serde_json::Value;
use store::{Change, ChangeBatch, Prefix, RowChange};
use tokio::time::Instant;

use crate::balancer::DELAY_SECONDS;
use crate::world::World;

/// How often what the API says is compared with what runs.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
/// How long the two may differ while nothing is wrong with network, agent and control plane.
const MAY_DIFFER: Duration = Duration::from_secs(90);

/// A cluster's name and a service's.
type ServiceName = (String, String);

/// A target group's ARN, a target and a port.
type TargetName = (String, String, u16);

/// What is known from reading along.
#[derive(Default)]
struct Mirror {
    /// Tasks that are not STOPPED, by id.
    live: BTreeMap<String, Arc<Task>>,
    /// Ids of all tasks that ever were, with the number of each.
    numbers: BTreeMap<String, usize>,
    /// Ids of live tasks by container instance ARN.
    by_instance: BTreeMap<String, BTreeSet<String>>,
    /// Ids of live tasks by cluster and service.
    by_service: BTreeMap<ServiceName, BTreeSet<String>>,
    services: BTreeMap<ServiceName, Arc<Service>>,
    instances: BTreeMap<String, Arc<ContainerInstance>>,
    /// Names by ARN.
    machines: BTreeMap<String, String>,
    /// Readable names of other ids.
    others: BTreeMap<String, String>,
    /// Targets that are registered or drain: by target group, target and port.
    targets: BTreeMap<TargetName, Arc<TargetRegistration>>,
    /// What differs from the truth, and since when.
    differences: BTreeMap<String, Instant>,
}

/// Reads along.
#[derive(Default)]
pub struct Watcher(Mutex<Mirror>);

impl Watcher {
    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `task-7` for an ARN or id of a task.
    pub fn name_of(&self, arn_or_id: &str) -> String {
        let id = arn_or_id.rsplit('/').next().unwrap_or_default();
        self.mirror().numbers.get(id).map_or_else(|| id.to_owned(), |number| format!("task-{number}"))
    }

    /// The ARN of the task `task-7`.
    pub fn task_called(&self, name: &str) -> Option<Arc<Task>> {
        let number: usize = name.strip_prefix("task-")?.parse().ok()?;
        let mirror = self.mirror();
        let id = mirror.numbers.iter().find(|(_, there)| **there == number)?.0;
        mirror.live.get(id).cloned()
    }

    /// From now on the container instance is called `name`.
    pub fn name_machine(&self, arn: &str, name: &str) {
        self.mirror().machines.insert(arn.to_owned(), name.to_owned());
    }

    /// The name of a container instance.
    pub fn machine_called(&self, arn: &str) -> String {
        self.mirror().machines.get(arn).cloned().unwrap_or_else(|| arn.to_owned())
    }

    /// Whether a task with this id was ever written.
    pub fn has_seen(&self, id: &str) -> bool {
        self.mirror().numbers.contains_key(id)
    }

    /// Tasks that are not STOPPED.
    pub fn live_tasks(&self) -> Vec<Arc<Task>> {
        self.mirror().live.values().cloned().collect()
    }

    /// `text` with readable names in place of ids.
    pub fn readable(&self, text: &str) -> String {
        let mirror = self.mirror();
        let mut readable = String::with_capacity(text.len());
        let mut word = String::new();
        for character in text.chars().chain(['\0']) {
            if character.is_ascii_alphanumeric() || character == '_' || character == '-' {
                word.push(character);
                continue;
            }
            match (mirror.numbers.get(&word), mirror.others.get(&word)) {
                (Some(number), _) => drop(write!(readable, "task-{number}")),
                (None, Some(name)) => readable.push_str(name),
                (None, None) => readable.push_str(&word),
            }
            word.clear();
            if character != '\0' {
                readable.push(character);
            }
        }
        for (arn, name) in &mirror.machines {
            if let Some(id) = arn.rsplit('/').next() {
                readable = readable.replace(id, name);
            }
        }
        readable
    }

    /// Gives `id` the name KIND-N, unless it has one.
    fn name_other(&self, id: &str, kind: &str) -> String {
        let mut mirror = self.mirror();
        if let Some(name) = mirror.others.get(id) {
            return name.clone();
        }
        let number = 1 + mirror.others.values().filter(|name| name.starts_with(kind)).count();
        let name = format!("{kind}-{number}");
        mirror.others.insert(id.to_owned(), name.clone());
        name
    }

    /// Reads along for ever.
    pub(crate) async fn follow(world: Arc<World>) {
        let mut feed = world.store.changes(world.store.snapshot().version());
        loop {
            match feed.next().await {
                Ok(batch) => {
                    if let Err(law) = world.watcher.take(&world, &batch) {
                        world.broken(law);
                    }
                }
                Err(lagged) => {
                    world.broken(format!("the watcher could not keep up: {lagged}"));
                    feed = world.store.changes(world.store.snapshot().version());
                }
            }
        }
    }

    fn take(&self, world: &World, batch: &ChangeBatch) -> Result<(), String> {
        let now = world.now();
        let mut touched = Touched::default();
        for change in &*batch.changes {
            if let Some(change) = change.of::<Service>() {
                self.take_service(world, &change, &mut touched);
            }
        }
        // What a service had before, for every service that one of its tasks changes.
        for change in &*batch.changes {
            note_services(change, &mut touched);
        }
        let before = self.tasks_of(&touched.services);
        let mut result = Ok(());
        for change in &*batch.changes {
            if let Some(change) = change.of::<Task>() {
                result = result.and(self.take_task(world, &change, &mut touched));
            } else if let Some(change) = change.of::<ContainerInstance>() {
                self.take_instance(world, &change, &mut touched);
            } else if let Some(change) = change.of::<ServiceEvent>() {
                if let (None, Some(event)) = (&change.before, &change.after) {
                    world.say(format!("event: {}", self.readable(&event.message)));
                }
            } else if let Some(change) = change.of::<ServiceDeployment>() {
                self.take_deployment(world, &change);
            } else if let Some(change) = change.of::<TargetRegistration>() {
                self.take_target(&change);
            }
        }
        for change in &*batch.changes {
            if let Some(order) = change.of::<OutboxMessage>().and_then(|change| change.after) {
                result = result.and(self.told_to_stop(&order, now));
            }
        }
        let after = self.tasks_of(&touched.services);
        result?;
        self.machines_hold(&touched)?;
        self.services_hold(&before, &after, now)
    }

    fn tasks_of(&self, services: &BTreeSet<ServiceName>) -> BTreeMap<ServiceName, Vec<Arc<Task>>> {
        let mirror = self.mirror();
        let tasks = |service: &ServiceName| {
            let ids = mirror.by_service.get(service).into_iter().flatten();
            ids.filter_map(|id| mirror.live.get(id).cloned()).collect()
        };
        services.iter().map(|service| (service.clone(), tasks(service))).collect()
    }

    fn take_task(
        &self,
        world: &World,
        change: &RowChange<Task>,
        touched: &mut Touched,
    ) -> Result<(), String> {
        let Some(task) = change.before.as_ref().or(change.after.as_ref()) else { return Ok(()) };
        let next = {
            let mut mirror = self.mirror();
            let next = mirror.numbers.len() + 1;
            *mirror.numbers.entry(task.id.clone()).or_insert(next)
        };
        let name = format!("task-{next}");
        for there in change.before.iter().chain(&change.after) {
            self.mirror().forget(there);
            touched.instances.extend(there.container_instance.as_ref().map(ToString::to_string));
        }
        if let Some(after) = change.after.as_ref().filter(|after| after.last_status != TaskStatus::Stopped) {
            self.mirror().remember(after);
        }
        self.tell_task(world, &name, change);
        match (&change.before, &change.after) {
            (Some(before), Some(after)) => {
                // What no API shows of a task may change at any time, and leaves its version alone.
                let as_shown = Task {
                    accounted: after.accounted,
                    protected_until: after.protected_until,
                    ..Task::clone(before)
                };
                laws::forward(&as_shown, after).map_err(|law| format!("{name}: {law}"))?;
                if after.generation < before.generation {
                    return Err(format!("{name}: its generation went back"));
                }
            }
            (Some(before), None) if before.last_status != TaskStatus::Stopped => {
                return Err(format!("{name} is gone though it was {}", before.last_status));
            }
            _ => {}
        }
        Ok(())
    }

    fn tell_task(&self, world: &World, name: &str, change: &RowChange<Task>) {
        match (&change.before, &change.after) {
            (None, Some(task)) => {
                let place = task.container_instance.as_ref();
                let place =
                    place.map_or("no place yet".to_owned(), |arn| self.machine_called(&arn.to_string()));
                let (family, revision, group) = (&task.family, task.revision, &task.group);
                world.say(format!("{name} ({family}:{revision}, {group}) is {}, {place}", task.last_status));
            }
            (Some(before), Some(after)) => {
                if before.container_instance.is_none()
                    && let Some(arn) = &after.container_instance
                {
                    world.say(format!("{name} is placed on {}", self.machine_called(&arn.to_string())));
                }
                if before.desired_status != after.desired_status {
                    let reason = after.stopped_reason.as_deref().unwrap_or_default();
                    world.say(format!("{name} is to stop: {}", self.readable(reason)));
                }
                if before.health_status != after.health_status {
                    world.say(format!("{name} is {}", after.health_status));
                }
                if before.last_status != after.last_status {
                    let end = match (after.last_status, &after.stop_code, &after.stopped_reason) {
                        (TaskStatus::Stopped, Some(code), Some(reason)) => {
                            format!(": {code}, {}", self.readable(reason))
                        }
                        _ => String::new(),
                    };
                    world.say(format!("{name} {} -> {}{end}", before.last_status, after.last_status));
                }
            }
            _ => {}
        }
    }

    fn take_instance(&self, world: &World, change: &RowChange<ContainerInstance>, touched: &mut Touched) {
        let Some(row) = change.after.as_ref().or(change.before.as_ref()) else { return };
        let arn = row.arn().to_string();
        touched.instances.insert(arn.clone());
        let name = self.machine_called(&arn);
        match &change.after {
            Some(after) => self.mirror().instances.insert(arn, Arc::clone(after)),
            None => self.mirror().instances.remove(&arn),
        };
        if let (Some(before), Some(after)) = (&change.before, &change.after) {
            if before.status != after.status {
                world.say(format!("{name} is {}", after.status));
            }
            if before.agent_connected != after.agent_connected {
                let word = if after.agent_connected { "connected" } else { "not connected" };
                world.say(format!("{name}: its agent is {word}"));
            }
        }
    }

    fn take_service(&self, world: &World, change: &RowChange<Service>, touched: &mut Touched) {
        let Some(row) = change.after.as_ref().or(change.before.as_ref()) else { return };
        let name = (row.cluster.clone(), row.name.clone());
        for revision in &row.revisions {
            self.name_other(&revision.id, "revision");
        }
        match &change.after {
            Some(after) => self.mirror().services.insert(name.clone(), Arc::clone(after)),
            None => self.mirror().services.remove(&name),
        };
        touched.services.insert(name);
        let Some(after) = &change.after else { return };
        match &change.before {
            Some(before) if before.id == after.id => {
                if before.status != after.status {
                    world.say(format!("service {} is {}", after.name, after.status));
                }
                if before.desired_count != after.desired_count {
                    let (name, count) = (&after.name, after.desired_count);
                    world.say(format!("service {name} wants {count} tasks"));
                }
                self.tell_weights(world, before, after);
            }
            _ => world.say(format!("service {} wants {} tasks", after.name, after.desired_count)),
        }
    }

    fn tell_weights(&self, world: &World, before: &Service, after: &Service) {
        if strategy(after) == "ROLLING" {
            return;
        }
        for revision in &after.revisions {
            let old = before.revisions.iter().find(|old| old.id == revision.id);
            let weight = |weights: Option<&domain::RevisionInUse>| {
                weights.map_or((0, 0), |revision| (revision.production_weight, revision.test_weight))
            };
            if old.is_some() && weight(old) != weight(Some(revision)) {
                let name = self.name_other(&revision.id, "revision");
                let (production, test) = weight(Some(revision));
                world.say(format!(
                    "{name} of service {} gets {}.{} % of production and {}.{} % of test traffic",
                    after.name,
                    production / 10,
                    production % 10,
                    test / 10,
                    test % 10
                ));
            }
        }
    }

    fn take_target(&self, change: &RowChange<TargetRegistration>) {
        let Some(row) = change.after.as_ref().or(change.before.as_ref()) else { return };
        let name = (row.target_group_arn().to_string(), row.target.clone(), row.port);
        match &change.after {
            Some(after) => self.mirror().targets.insert(name, Arc::clone(after)),
            None => self.mirror().targets.remove(&name),
        };
    }

    /// No task is told to stop while a load balancer may send it a request, be it the rest of one: unless that has had all the
    /// time that it may take, or nothing of the task runs.
    fn told_to_stop(&self, order: &OutboxMessage, now: Timestamp) -> Result<(), String> {
        let mirror = self.mirror();
        let Some(task) = mirror.live.get(&order.task_id).filter(|_| order.order == OutboxOrder::Stop) else {
            return Ok(());
        };
        if task.last_status != TaskStatus::Deactivating {
            let serves = task.last_status < TaskStatus::Deactivating && task.is_served_by_load_balancers();
            return if serves { Err(format!("{} is told to stop while it serves", task.id)) } else { Ok(()) };
        }
        for target in &task.targets {
            let Some((id, port)) = &target.target else { continue };
            let name = (target.target_group.to_string(), id.clone(), *port);
            let Some(row) = mirror.targets.get(&name) else { continue };
            let patience = DELAY_SECONDS + SLACK_SECONDS;
            let waited = row.deregistered_at.is_some_and(|at| now >= at.plus_seconds(patience));
            if !waited && task.stop_by.is_none() {
                return Err(format!("{} is told to stop while {id} drains", task.id));
            }
        }
        Ok(())
    }

    fn take_deployment(&self, world: &World, change: &RowChange<ServiceDeployment>) {
        let Some(after) = &change.after else { return };
        let name = self.name_other(&after.id, "deployment");
        let word = |deployment: &ServiceDeployment| {
            let stage = deployment.stage.map_or(String::new(), |stage| format!(", {stage}"));
            let step =
                if deployment.step > 0 { format!(", step {}", deployment.step) } else { String::new() };
            format!("{}{stage}{step}", deployment.status)
        };
        if change.before.as_ref().is_none_or(|before| word(before) != word(after)) {
            let reason = after.status_reason.as_deref().map(|reason| format!(": {}", self.readable(reason)));
            let service = &after.service;
            world.say(format!(
                "{name} of service {service} is {}{}",
                word(after),
                reason.unwrap_or_default()
            ));
        }
    }

    fn machines_hold(&self, touched: &Touched) -> Result<(), String> {
        let mirror = self.mirror();
        for arn in &touched.instances {
            let Some(instance) = mirror.instances.get(arn) else { continue };
            let ids = mirror.by_instance.get(arn).into_iter().flatten();
            let tasks = ids.filter_map(|id| mirror.live.get(id)).map(|task| &**task);
            laws::nothing_is_promised_twice(instance, tasks)?;
        }
        Ok(())
    }

    fn services_hold(
        &self,
        before: &BTreeMap<ServiceName, Vec<Arc<Task>>>,
        after: &BTreeMap<ServiceName, Vec<Arc<Task>>>,
        now: Timestamp,
    ) -> Result<(), String> {
        let mirror = self.mirror();
        for (name, after) in after {
            let Some(service) = mirror.services.get(name) else { continue };
            if service.status != ServiceStatus::Active {
                continue;
            }
            let before: Vec<&Task> = before.get(name).into_iter().flatten().map(|task| &**task).collect();
            let after: Vec<&Task> = after.iter().map(|task| &**task).collect();
            let named = |law: String| format!("service {}: {law}", name.1);
            for revision in groups(service, &after) {
                let before: Vec<&Task> = before.iter().copied().filter(|task| revision.holds(task)).collect();
                let after: Vec<&Task> = after.iter().copied().filter(|task| revision.holds(task)).collect();
                state_laws::service_within_bounds(bounds(service), &before, &after).map_err(named)?;
            }
            if service.scheduling_strategy != domain::SchedulingStrategy::Daemon {
                // A daemon's task leaves with its machine.
                state_laws::protection_holds(&before, &after, now).map_err(named)?;
            }
        }
        Ok(())
    }

    /// Compares for ever what the API says with what runs.
    pub(crate) async fn compare_forever(world: Arc<World>) {
        loop {
            tokio::time::sleep(COMPARE_EVERY).await;
            let found = world.watcher.differences(&world);
            let mut mirror = world.watcher.mirror();
            let now = Instant::now();
            mirror.differences.retain(|difference, _| found.contains(difference));
            for difference in found {
                mirror.differences.entry(difference).or_insert(now);
            }
            let old = mirror.differences.iter().find(|(_, since)| now.duration_since(**since) > MAY_DIFFER);
            let broken = old.map(|(difference, _)| difference.clone());
            drop(mirror);
            if let Some(broken) = broken {
                world.broken(broken);
            }
        }
    }

    /// Where the API and the machines differ, on machines with which nothing is wrong for a while.
    fn differences(&self, world: &World) -> BTreeSet<String> {
        let now = Instant::now();
        let calm = |since: Option<Instant>| since.is_some_and(|since| now.duration_since(since) > MAY_DIFFER);
        let mut found = BTreeSet::new();
        if !calm(world.alive_since()) {
            return found;
        }
        for machine in world.machines() {
            let Some(arn) = machine.arn().filter(|_| machine.agent_runs()) else { continue };
            if !calm(machine.link.fair_since()) {
                continue;
            }
            let mirror = self.mirror();
            for id in mirror.by_instance.get(&arn).into_iter().flatten() {
                let Some(task) = mirror.live.get(id) else { continue };
                let runs = world.runs_on(&task.arn().to_string()).is_some();
                if task.last_status == TaskStatus::Running && !runs {
                    let number = mirror.numbers.get(id).copied().unwrap_or_default();
                    found.insert(format!("the API says that task-{number} is RUNNING, and it does not run"));
                }
            }
            for task in world.running_on(&machine.name) {
                let id = task.rsplit('/').next().unwrap_or_default();
                if !mirror.live.contains_key(id) {
                    let number = mirror.numbers.get(id).copied().unwrap_or_default();
                    found.insert(format!("task-{number} runs, and the API says that it does not"));
                }
            }
        }
        found
    }

    /// What is still to be done before desired is what is: empty when the world has come to rest.
    pub fn unrest(&self, world: &World) -> Vec<String> {
        let mut unrest = Vec::new();
        let snapshot = world.store.snapshot();
        for order in snapshot.scan::<OutboxMessage>(Prefix::everything(), None) {
            unrest.push(format!("an order about {} is not acknowledged", self.name_of(&order.task_id)));
        }
        for machine in world.machines() {
            let row = machine.arn().and_then(|arn| self.mirror().instances.get(&arn).cloned());
            if !row.is_some_and(|row| row.agent_connected) {
                unrest.push(format!("{} is not connected", machine.name));
            }
        }
        for task in self.live_tasks() {
            let settled = match task.desired_status {
                DesiredStatus::Running => task.last_status == TaskStatus::Running,
                DesiredStatus::Stopped => false,
            };
            if !settled {
                let name = self.name_of(&task.id);
                unrest.push(format!("{name} is {}, to be {}", task.last_status, task.desired_status));
            }
        }
        let services: Vec<Arc<Service>> = self.mirror().services.values().cloned().collect();
        for service in services {
            unrest.extend(self.unrest_of(world, &service));
        }
        unrest.extend(self.differences(world));
        unrest
    }

    fn unrest_of(&self, world: &World, service: &Service) -> Option<String> {
        let name = &service.name;
        let tasks = self.tasks_of(&BTreeSet::from([(service.cluster.clone(), name.clone())]));
        let tasks: Vec<Arc<Task>> = tasks.into_values().flatten().collect();
        if service.status != ServiceStatus::Active {
            let gone = service.status == ServiceStatus::Inactive && tasks.is_empty();
            return (!gone)
                .then(|| format!("service {name} is {} with {} tasks", service.status, tasks.len()));
        }
        if service.scheduling_strategy == domain::SchedulingStrategy::Daemon {
            return None;
        }
        if let Some(deployment) = &service.current_deployment {
            let row = world.store.snapshot().get::<ServiceDeployment>(
                &store::rows_service::service_deployment_key(
                    &service.scope,
                    &service.cluster,
                    name,
                    deployment,
                ),
            );
            let word = row.map_or(String::new(), |row| format!("{}, {:?}", row.status, row.stage));
            return Some(format!("service {name} has an open deployment ({word})"));
        }
        let started_by = service.primary().map(domain::RevisionInUse::started_by);
        let primary = tasks.iter().filter(|task| task.started_by == started_by).count();
        let desired = usize::try_from(service.desired_count).unwrap_or_default();
        (primary != desired || tasks.len() != desired).then(|| {
            format!(
                "service {name} has {primary} of {desired} tasks, and {} of older revisions",
                tasks.len() - primary
            )
        })
    }
}

/// The services that a change is of.
fn note_services(change: &Change, touched: &mut Touched) {
    let Some(change) = change.of::<Task>() else { return };
    for task in change.before.iter().chain(&change.after) {
        if let Some(service) = task.group.strip_prefix("service:") {
            touched.services.insert((task.cluster.clone(), service.to_owned()));
        }
    }
}

/// What one transaction touched.
#[derive(Default)]
struct Touched {
    instances: BTreeSet<String>,
    services: BTreeSet<ServiceName>,
}

impl Mirror {
    fn forget(&mut self, task: &Task) {
        self.live.remove(&task.id);
        if let Some(arn) = &task.container_instance
            && let Some(ids) = self.by_instance.get_mut(&arn.to_string())
        {
            ids.remove(&task.id);
        }
        if let Some(service) = task.group.strip_prefix("service:")
            && let Some(ids) = self.by_service.get_mut(&(task.cluster.clone(), service.to_owned()))
        {
            ids.remove(&task.id);
        }
    }

    fn remember(&mut self, task: &Arc<Task>) {
        self.live.insert(task.id.clone(), Arc::clone(task));
        if let Some(arn) = &task.container_instance {
            self.by_instance.entry(arn.to_string()).or_default().insert(task.id.clone());
        }
        if let Some(service) = task.group.strip_prefix("service:") {
            let name = (task.cluster.clone(), service.to_owned());
            self.by_service.entry(name).or_default().insert(task.id.clone());
        }
    }
}

fn configuration(service: &Service) -> Value {
    serde_json::from_str(&service.deployment_configuration_document).unwrap_or(Value::Null)
}

/// `ROLLING`, `BLUE_GREEN`, `LINEAR`, `CANARY`.
fn strategy(service: &Service) -> String {
    configuration(service).get("strategy").and_then(Value::as_str).unwrap_or("ROLLING").to_owned()
}

/// The tasks that the bounds speak of together.
enum Group {
    /// All of the service.
    Service,
    /// Those of one revision, where several stand side by side.
    Revision(Option<String>),
}

impl Group {
    fn holds(&self, task: &Task) -> bool {
        match self {
            Self::Service => true,
            Self::Revision(started_by) => task.started_by == *started_by,
        }
    }
}

fn groups(service: &Service, tasks: &[&Task]) -> Vec<Group> {
    if strategy(service) == "ROLLING" {
        return vec![Group::Service];
    }
    let revisions: BTreeSet<Option<String>> = tasks.iter().map(|task| task.started_by.clone()).collect();
    revisions.into_iter().map(Group::Revision).collect()
}

/// What the service's deployment configuration allows now.
fn bounds(service: &Service) -> Bounds {
    let document = configuration(service);
    let number = |key: &str, otherwise: i64| document.get(key).and_then(Value::as_i64).unwrap_or(otherwise);
    if strategy(service) != "ROLLING" {
        // Each revision may stand in full beside the other, and how many that are is its deployment's matter.
        return Bounds::of(service.desired_count, 0, 200);
    }
    if service.scheduling_strategy == domain::SchedulingStrategy::Daemon {
        return Bounds { floor: 0, ceiling: i64::MAX };
    }
    Bounds::of(service.desired_count, number("minimumHealthyPercent", 100), number("maximumPercent", 200))
}
