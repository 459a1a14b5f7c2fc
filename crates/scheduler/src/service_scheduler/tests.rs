//! The service scheduler's tests: states and decisions as text, and a service played through with faults.

use base::Scope;
use domain::{DesiredStatus, HealthStatus};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::laws;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn scope() -> Scope {
    Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap())
}

fn instance(number: usize) -> String {
    Arn::new("ecs", &scope(), format!("container-instance/default/i{number}")).to_string()
}

/// A task of a revision: `R` RUNNING, `C` RUNNING with a check that has no verdict yet, `P` PENDING, `U` RUNNING and unhealthy, `S` RUNNING and asked to stop, `E` ending.
fn task(number: usize, revision: &str, state: char) -> Task {
    serde_json::from_value(json!({
        "scope": scope(),
        "id": format!("t{number}"),
        "cluster": "default",
        "task_definition": Arn::new("ecs", &scope(), "task-definition/web:1".to_owned()),
        "family": "web",
        "revision": 1,
        "launch_type": "EC2",
        "container_instance": instance(number % 3),
        "last_status": match state { 'P' => "PENDING", 'E' => "STOPPING", _ => "RUNNING" },
        "desired_status": if matches!(state, 'S' | 'E') { "STOPPED" } else { "RUNNING" },
        "version": 1,
        "group": "service:web",
        "started_by": format!("ecs-svc/{revision}"),
        "network_mode": "host",
        "resources": {"cpu_units": 0, "memory_mib": 0},
        "containers": if state == 'C' {
            json!([{"id": "c", "name": "c", "image": "i", "essential": true, "has_health_check": true,
                "last_status": "RUNNING", "health_status": "UNKNOWN"}])
        } else {
            json!([])
        },
        "health_status": if state == 'U' { "UNHEALTHY" } else { "UNKNOWN" },
        "times": {"created_at": at(number as i64)},
    }))
    .unwrap()
}

/// Tasks as `revision:states`, such as `2:PP 1:RRU`.
fn tasks(text: &str) -> Vec<Task> {
    let each = text.split_whitespace().flat_map(|word| {
        let (revision, states) = word.split_once(':').unwrap();
        states.chars().map(move |state| (revision, state))
    });
    each.enumerate().map(|(number, (revision, state))| task(number, revision, state)).collect()
}

fn goals(text: &str) -> Vec<Goal> {
    let goal = |word: &str| {
        let (id, count) = word.split_once('=').unwrap();
        Goal { id: id.into(), count: count.parse().unwrap(), may_start: true }
    };
    text.split_whitespace().map(goal).collect()
}

fn desired(goals: &[Goal], count: u32, minimum: u32, maximum: u32) -> Desired<'_> {
    Desired {
        goals,
        daemon_on: None,
        floor: healthy_floor(count, minimum),
        ceiling: running_ceiling(count, maximum),
        side_by_side: false,
        no_room: false,
        grace: Grace::default(),
        ignores_protection: false,
        start_not_before: None,
        balance_over: None,
    }
}

fn seen(tasks: &[Task]) -> Vec<TaskSeen<'_>> {
    tasks.iter().map(|task| TaskSeen::of(task, false, task.availability_zone.as_deref())).collect()
}

/// The decision as text: `start 2x3 stop t1,t2`, with marks for what the report says.
fn told(desired: &Desired<'_>, decision: &Decision, tasks: &[Task]) -> String {
    let mut words = Vec::new();
    for action in &decision.actions {
        words.push(match action {
            Action::Start { goal, count, place: Where::Anywhere } => {
                format!("start {}x{count}", desired.goals[*goal].id)
            }
            Action::Start { goal, count, place: Where::Place(name) | Where::Instance(name) } => {
                let name = name.rsplit('/').next().unwrap();
                format!("start {}x{count}@{name}", desired.goals[*goal].id)
            }
            Action::Stop { task, why } => format!("stop {} {why:?}", tasks[*task].id),
        });
    }
    if decision.report.stuck {
        words.push("stuck".into());
    }
    if decision.report.steady {
        words.push("steady".into());
    }
    words.join(", ")
}

fn decided(desired: &Desired<'_>, text: &str) -> String {
    let tasks = tasks(text);
    let seen = seen(&tasks);
    let observed = Observed { tasks: &seen };
    let decision = decide(desired, &observed, at(100));
    assert_eq!(laws::service(desired, &observed, &decision, at(100)), Ok(()));
    told(desired, &decision, &tasks)
}

#[test]
fn percentages_round_as_documented() {
    assert_eq!((healthy_floor(3, 50), running_ceiling(3, 150)), (2, 4));
    assert_eq!((healthy_floor(1, 100), running_ceiling(1, 150)), (1, 1));
    assert_eq!((healthy_floor(7, 0), running_ceiling(7, 200)), (0, 14));
}

#[test]
fn a_count_is_kept() {
    let goals = goals("1=3");
    let desired = desired(&goals, 3, 100, 200);
    assert_eq!(decided(&desired, ""), "start 1x3");
    assert_eq!(decided(&desired, "1:PPR"), "");
    assert_eq!(decided(&desired, "1:RRR"), "steady");
    assert_eq!(decided(&desired, "1:RR"), "start 1x1");
    assert_eq!(decided(&desired, "1:RRSE"), "start 1x1");
    assert_eq!(decided(&desired, "1:RRRR"), "stop t3 Scaling", "on i0, where two are, the newest");
    assert_eq!(decided(&desired, "1:RPRR"), "stop t1 Scaling", "what does not run yet goes first");
    assert_eq!(decided(&desired, "9:R 1:RRR"), "stop t0 Scaling", "of no revision");
}

#[test]
fn a_rolling_update_keeps_floor_and_ceiling() {
    let goals = goals("2=4 1=0");
    let full = desired(&goals, 4, 100, 200);
    assert_eq!(decided(&full, "1:RRRR"), "start 2x4");
    assert_eq!(decided(&full, "2:PPPP 1:RRRR"), "");
    assert_eq!(decided(&full, "2:RPPP 1:RRRR"), "stop t7 Scaling");
    assert_eq!(decided(&full, "2:RRRR 1:EEEE"), "steady");
    let half = desired(&goals, 4, 50, 100);
    assert_eq!(decided(&half, "1:RRRR"), "stop t3 Scaling, stop t2 Scaling");
    assert_eq!(decided(&half, "1:RRSS"), "", "they still count");
    assert_eq!(decided(&half, "1:RREE"), "start 2x2");
    assert_eq!(decided(&half, "2:PP 1:RR"), "");
    assert_eq!(decided(&half, "2:RR 1:RR"), "stop t2 Scaling, stop t3 Scaling");
    let fixed = desired(&goals, 4, 100, 100);
    assert_eq!(decided(&fixed, "1:RRRR"), "stuck");
    let no_room = Desired { no_room: true, ..desired(&goals, 4, 50, 200) };
    assert_eq!(decided(&no_room, "1:RRRR"), "start 2x4, stop t3 Scaling, stop t2 Scaling");
}

#[test]
fn what_runs_unchecked_is_not_stopped_below_the_floor() {
    let goals = goals("2=4 1=0");
    let full = desired(&goals, 4, 100, 200);
    assert_eq!(decided(&full, "2:PPPP 1:CCCC"), "", "four run, and four must");
    assert_eq!(decided(&full, "2:CCCC 1:CCCC"), "", "the old may serve, and nothing else is known to");
    assert_eq!(decided(&full, "2:RRRC 1:CCCC"), "", "three are known to");
    assert_eq!(decided(&full, "2:RRRR 1:CC"), "stop t4 Scaling, stop t5 Scaling");
    assert_eq!(decided(&full, "2:CPPP 1:RCCC"), "", "four must, and one is known to");
    assert_eq!(decided(&full, "2:RPPP 1:RRRC"), "stop t7 Scaling", "four are known to");
    let half = desired(&goals, 4, 50, 100);
    assert_eq!(decided(&half, "1:CCCC"), "stop t3 Scaling, stop t2 Scaling");
    assert_eq!(decided(&half, "2:PP 1:CC"), "");
}

#[test]
fn a_check_that_tells_readiness_stops_no_task() {
    let goals = goals("1=1");
    let mut desired = desired(&goals, 1, 100, 200);
    desired.grace = Grace { targets_seconds: Grace::FOR_EVER_SECONDS, ..Grace::default() };
    assert_eq!(decided(&desired, "1:U"), "start 1x1", "containers' checks still tell whether it lives");
    let mut ill = task(0, "1", 'R');
    ill.targets = vec![domain::TaskTarget {
        target_group: "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/t/1".parse().unwrap(),
        container: "c".to_owned(),
        container_port: 80,
        target: None,
        state: domain::TargetState::Unhealthy,
        reason: None,
        deregistered_at: None,
    }];
    let verdicts =
        [Grace::default(), desired.grace].map(|grace| Facts::of(&ill).verdict(grace, at(1_000_000)));
    assert_eq!(verdicts, [Verdict::Unhealthy, Verdict::Starting], "not ready, and left alone");
    desired.grace = Grace::of_all(Grace::FOR_EVER_SECONDS);
    assert_eq!(decided(&desired, "1:U"), "");
}

#[test]
fn the_unhealthy_are_replaced_before_they_are_stopped_where_there_is_room() {
    let goals = goals("1=1");
    let roomy = desired(&goals, 1, 100, 200);
    assert_eq!(decided(&roomy, "1:U"), "start 1x1");
    assert_eq!(decided(&roomy, "1:UP"), "");
    assert_eq!(decided(&roomy, "1:UR"), "stop t0 Unhealthy");
    assert_eq!(decided(&roomy, "1:UU"), "stop t0 Unhealthy", "and only then another replacement");
    let tight = desired(&goals, 1, 100, 100);
    assert_eq!(decided(&tight, "1:U"), "stop t0 Unhealthy");
    assert_eq!(decided(&tight, "1:S"), "");
}

#[test]
fn side_by_side_each_revision_has_its_own_bounds() {
    let goals = goals("2=2 1=2");
    let desired = Desired { side_by_side: true, ..desired(&goals, 2, 100, 200) };
    assert_eq!(decided(&desired, "1:RR"), "start 2x2");
    assert_eq!(decided(&desired, "2:RR 1:RR"), "steady");
    assert_eq!(decided(&desired, "2:RR 1:RRR"), "stop t4 Scaling");
    let over = self::goals("2=2 1=0");
    let desired = Desired { goals: &over, ..desired };
    assert_eq!(decided(&desired, "2:RR 1:RR"), "stop t2 Scaling, stop t3 Scaling");
}

#[test]
fn protection_keeps_a_task_from_scaling_and_not_from_its_own_illness() {
    let goals = goals("1=1");
    let desired = desired(&goals, 1, 100, 200);
    let mut rows = tasks("1:RR");
    rows[1].protected_until = Some(at(500));
    let all = seen(&rows);
    let decision = decide(&desired, &Observed { tasks: &all }, at(100));
    assert_eq!(told(&desired, &decision, &rows), "stop t0 Scaling");
    rows[0].protected_until = Some(at(300));
    let all = seen(&rows);
    let decision = decide(&desired, &Observed { tasks: &all }, at(100));
    assert_eq!((told(&desired, &decision, &rows), decision.wake_at), (String::new(), Some(at(300))));
    assert_eq!(decision.report.protected, BTreeMap::from([("1".to_owned(), 1)]));
}

#[test]
fn draining_machines_lose_their_tasks_within_the_bounds() {
    let goals = goals("1=2");
    let rows = tasks("1:RR");
    let mut all = seen(&rows);
    all[0].leaves = true;
    let full = desired(&goals, 2, 100, 200);
    let observed = Observed { tasks: &all };
    let decision = decide(&full, &observed, at(1));
    assert_eq!(told(&full, &decision, &rows), "start 1x1");
    let half = desired(&goals, 2, 50, 100);
    assert_eq!(told(&half, &decide(&half, &observed, at(1)), &rows), "stop t0 Leaves");
    let rows = tasks("1:RRR");
    let mut all = seen(&rows);
    all[0].leaves = true;
    assert_eq!(told(&full, &decide(&full, &Observed { tasks: &all }, at(1)), &rows), "stop t0 Leaves");
}

#[test]
fn zones_are_evened_out_start_before_stop() {
    let goals = goals("1=3");
    let places: BTreeSet<String> = ["a".to_owned(), "b".to_owned()].into();
    let desired = Desired { balance_over: Some(&places), ..desired(&goals, 3, 100, 200) };
    let told_in = |text: &str, zones: &str| {
        let mut rows = tasks(text);
        for (row, zone) in rows.iter_mut().zip(zones.chars()) {
            row.availability_zone = Some(zone.to_string());
        }
        let all = seen(&rows);
        told(&desired, &decide(&desired, &Observed { tasks: &all }, at(1)), &rows)
    };
    assert_eq!(told_in("1:RRR", "aaa"), "start 1x1@b");
    assert_eq!(told_in("1:RRRP", "aaab"), "", "not before it is there");
    assert_eq!(
        told_in("1:RRRR", "aaab"),
        "stop t0 Rebalancing",
        "of the zone with most, the instance with most"
    );
    assert_eq!(told_in("1:RR", "ab"), "start 1x1");
    assert_eq!(told_in("1:RRR", "aab"), "steady");
}

#[test]
fn a_daemon_runs_once_on_each_instance() {
    let goals = goals("2=0 1=0");
    let on: BTreeSet<String> = (0..3).map(instance).collect();
    let desired = Desired { daemon_on: Some(&on), ..desired(&goals, 3, 0, 100) };
    assert_eq!(decided(&desired, ""), "start 2x1@i0, start 2x1@i1, start 2x1@i2");
    assert_eq!(decided(&desired, "2:RRR"), "steady");
    assert_eq!(decided(&desired, "2:RRRR"), "stop t3 Scaling");
    assert_eq!(decided(&desired, "1:RRR"), "stop t0 Scaling, stop t1 Scaling, stop t2 Scaling");
    assert_eq!(decided(&desired, "1:EEE"), "", "not before the old one is gone");
    let careful = Desired { floor: 2, ..desired.clone() };
    assert_eq!(decided(&careful, "1:RRR"), "stop t0 Scaling");
    let fewer: BTreeSet<String> = (0..2).map(instance).collect();
    let drained = Desired { daemon_on: Some(&fewer), ..desired.clone() };
    assert_eq!(decided(&drained, "2:RRR"), "stop t2 Leaves");
}

#[test]
fn a_throttled_service_starts_nothing_and_stops_nothing_for_it() {
    let goals = goals("1=2");
    let desired = Desired { start_not_before: Some(at(400)), ..desired(&goals, 2, 100, 200) };
    let rows = tasks("1:R");
    let all = seen(&rows);
    let decision = decide(&desired, &Observed { tasks: &all }, at(100));
    assert_eq!((decision.actions, decision.wake_at), (vec![], Some(at(400))));
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Progress(usize),
    Crash(usize),
    Ill(usize),
    Well(usize),
    Protect(usize),
    Leave(usize),
}

fn event() -> impl proptest::strategy::Strategy<Value = Event> {
    let pick = 0..64_usize;
    prop_oneof![
        8 => pick.clone().prop_map(Event::Progress),
        1 => pick.clone().prop_map(Event::Crash),
        1 => pick.clone().prop_map(Event::Ill),
        1 => pick.clone().prop_map(Event::Well),
        1 => pick.clone().prop_map(Event::Protect),
        1 => pick.prop_map(Event::Leave),
    ]
}

/// A service whose decisions are carried out at once, and whose tasks do as events say.
struct Play {
    tasks: Vec<Task>,
    leaving: BTreeSet<String>,
    made: usize,
    now: i64,
}

impl Play {
    fn decide(&mut self, desired: &Desired<'_>) -> Result<Decision, String> {
        let seen: Vec<TaskSeen<'_>> =
            self.tasks.iter().map(|task| TaskSeen::of(task, self.leaving.contains(&task.id), None)).collect();
        let observed = Observed { tasks: &seen };
        let decision = decide(desired, &observed, at(self.now));
        laws::service(desired, &observed, &decision, at(self.now))?;
        for action in &decision.actions {
            match action {
                Action::Stop { task, .. } => self.tasks[*task].desired_status = DesiredStatus::Stopped,
                Action::Start { goal, count, .. } => {
                    for _ in 0..*count {
                        self.made += 1;
                        self.tasks.push(task(self.made, &desired.goals[*goal].id, 'P'));
                    }
                }
            }
        }
        Ok(decision)
    }

    fn happen(&mut self, event: Event) {
        self.now += 1;
        let length = self.tasks.len().max(1);
        let (Event::Progress(pick)
        | Event::Crash(pick)
        | Event::Ill(pick)
        | Event::Well(pick)
        | Event::Protect(pick)
        | Event::Leave(pick)) = event;
        let Some(task) = self.tasks.get_mut(pick % length) else { return };
        match event {
            Event::Progress(_) => progress(task),
            Event::Crash(_) => {
                task.desired_status = DesiredStatus::Stopped;
                task.last_status = TaskStatus::Stopped;
            }
            Event::Ill(_) => task.health_status = HealthStatus::Unhealthy,
            Event::Well(_) => task.health_status = HealthStatus::Healthy,
            Event::Protect(_) => task.protected_until = Some(at(self.now + 5)),
            Event::Leave(_) => {
                self.leaving.insert(task.id.clone());
            }
        }
        self.tasks.retain(|task| task.last_status != TaskStatus::Stopped);
    }
}

fn progress(task: &mut Task) {
    task.last_status = match (task.desired_status, task.last_status) {
        (DesiredStatus::Running, _) => TaskStatus::Running,
        (DesiredStatus::Stopped, TaskStatus::Stopping) => TaskStatus::Stopped,
        (DesiredStatus::Stopped, _) => TaskStatus::Stopping,
    };
}

proptest! {
    #[test]
    fn whatever_happens_the_bounds_hold_and_it_comes_to_rest(
        count in 0..6_u32,
        old in 0..6_usize,
        minimum in 0..=100_u32,
        maximum in 100..=200_u32,
        events in prop::collection::vec(event(), 0..60),
    ) {
        let goals = goals(&format!("2={count} 1=0"));
        let desired = desired(&goals, count, minimum, maximum);
        let mut play = Play {
            tasks: (0..old.min(desired.ceiling as usize)).map(|number| task(number, "1", 'R')).collect(),
            leaving: BTreeSet::new(),
            made: 100,
            now: 100,
        };
        for event in events {
            let decision = play.decide(&desired);
            prop_assert!(decision.is_ok(), "{:?}", decision);
            let occupying = play.tasks.iter().filter(|task| Facts::of(task).occupies()).count();
            prop_assert!(occupying <= desired.ceiling as usize, "{} of {}", occupying, desired.ceiling);
            play.happen(event);
        }
        // Nothing bad happens any more.
        play.now += 10;
        for task in &mut play.tasks {
            task.protected_until = None;
        }
        let mut last = Decision::default();
        for _ in 0..200 {
            last = play.decide(&desired).unwrap();
            play.tasks.iter_mut().for_each(progress);
            play.tasks.retain(|task| task.last_status != TaskStatus::Stopped);
            if last.report.steady || last.report.stuck {
                break;
            }
        }
        prop_assert!(last.report.steady || last.report.stuck, "{:?} {:?}", last, play.tasks.len());
        if last.report.stuck {
            prop_assert!(desired.floor >= count && desired.ceiling <= count, "stuck without need");
        }
    }
}

/// The order of stops, looked up anew among all tasks for each.
fn next_to_stop(candidates: &[&Known<'_>], all: &[&Known<'_>]) -> Option<usize> {
    let mut zones: BTreeMap<Option<&str>, u32> = BTreeMap::new();
    let mut instances: BTreeMap<Option<&Arn>, u32> = BTreeMap::new();
    let mut places: BTreeMap<Option<&str>, u32> = BTreeMap::new();
    for known in all {
        *zones.entry(known.seen.zone).or_default() += 1;
        *instances.entry(known.seen.machine).or_default() += 1;
        *places.entry(known.seen.place).or_default() += 1;
    }
    let rank = |known: &Known<'_>| {
        let facts = &known.seen.facts;
        (
            !known.protected,
            std::cmp::Reverse(facts.last_status),
            known.verdict != Verdict::Healthy,
            places.get(&known.seen.place).copied(),
            zones.get(&known.seen.zone).copied(),
            instances.get(&known.seen.machine).copied(),
            facts.created_at,
            index_of(candidates, known),
        )
    };
    (0..candidates.len()).max_by_key(|&index| rank(candidates[index]))
}

fn index_of(candidates: &[&Known<'_>], known: &Known<'_>) -> usize {
    candidates.iter().position(|other| other.index == known.index).unwrap()
}

proptest! {
    /// Against [`next_to_stop`]; some tasks are kept (protected ones), and go on counting.
    #[test]
    fn surplus_is_stopped_where_most_are(
        kinds in prop::collection::vec((0..4_usize, 0..3_usize, 0..2_usize, 0..4_i64, prop::bool::ANY, 0..3_usize), 0..40),
        kept in prop::collection::vec(prop::bool::ANY, 40),
    ) {
        let tasks: Vec<Task> = kinds.iter().enumerate().map(|(number, &(machine, zone, _, created, _, state))| Task {
            container_instance: Some(instance(machine).parse().unwrap()),
            availability_zone: Some(format!("z{zone}")),
            times: domain::TaskTimes { created_at: at(created), ..Default::default() },
            ..task(number, "1", ['R', 'C', 'P'][state])
        }).collect();
        let places: Vec<String> = kinds.iter().map(|kind| format!("p{}", kind.2)).collect();
        let seen: Vec<TaskSeen<'_>> =
            tasks.iter().zip(&places).map(|(task, place)| TaskSeen::of(task, false, Some(place))).collect();
        let known: Vec<Known<'_>> = seen.iter().zip(&kinds).enumerate().map(|(index, (seen, kind))| Known {
            index, seen, goal: Some(0), live: true, protected: kind.4,
            verdict: if kind.5 == 0 { Verdict::Healthy } else { Verdict::Starting },
        }).collect();
        let mut candidates: Vec<&Known<'_>> = known.iter().filter(|known| known.index % 4 != 3).collect();
        let mut all: Vec<&Known<'_>> = known.iter().collect();
        let mut order = StopOrder::new(candidates.clone(), known.iter());
        for is_kept in kept {
            let expected = next_to_stop(&candidates, &all).map(|pick| candidates.remove(pick));
            let got = order.next();
            prop_assert_eq!(got.map(|task| task.index), expected.map(|task| task.index));
            let Some(task) = got else { break };
            if !is_kept {
                order.stopped(task);
                all.retain(|other| other.index != task.index);
            }
        }
    }
}
