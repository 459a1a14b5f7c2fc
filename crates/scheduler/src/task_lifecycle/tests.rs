//! What agents report, and what becomes of it.

use super::*;
use crate::laws;
use base::{Arn, Scope};
use domain::{Attachment, LaunchType, NetworkMode, Resources, TaskTimes};
use proptest::prelude::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn container(name: &str, essential: bool) -> TaskContainer {
    TaskContainer {
        id: format!("id-{name}"),
        name: name.into(),
        image: "busybox".into(),
        essential,
        has_health_check: false,
        image_digest: None,
        runtime_id: None,
        last_status: TaskStatus::Pending,
        exit_code: None,
        reason: None,
        network_bindings: Vec::new(),
        health_status: HealthStatus::Unknown,
        managed_agents: Vec::new(),
        cpu: None,
        memory: None,
        memory_reservation: None,
        gpu_ids: Vec::new(),
    }
}

pub(crate) fn task(awsvpc: bool) -> Task {
    let scope = Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap());
    Task {
        id: "1".repeat(32),
        cluster: "default".into(),
        task_definition: Arn::new("ecs", &scope, "task-definition/web:1"),
        family: "web".into(),
        revision: 1,
        launch_type: LaunchType::Ec2,
        capacity_provider: None,
        container_instance: None,
        last_status: if awsvpc { TaskStatus::Provisioning } else { TaskStatus::Pending },
        desired_status: DesiredStatus::Running,
        version: 1,
        generation: 1,
        group: "family:web".into(),
        started_by: None,
        cpu_units: None,
        memory_mib: None,
        overrides_document: String::new(),
        network_mode: if awsvpc { NetworkMode::AwsVpc } else { NetworkMode::Host },
        awsvpc_configuration: None,
        resources: Resources::default(),
        containers: vec![container("app", true), container("side", false)],
        attachments: if awsvpc {
            vec![Attachment {
                id: "eni".into(),
                attachment_type: domain::ELASTIC_NETWORK_INTERFACE.into(),
                status: "PRECREATED".into(),
                details: BTreeMap::new(),
            }]
        } else {
            Vec::new()
        },
        attributes: Vec::new(),
        availability_zone: None,
        platform_version: None,
        platform_family: None,
        ephemeral_storage_gib: None,
        enable_execute_command: false,
        connectivity: None,
        health_status: HealthStatus::Unknown,
        times: TaskTimes { created_at: at(0), ..TaskTimes::default() },
        stop_code: None,
        stopped_reason: None,
        reference_id: None,
        stop_by: None,
        protected_until: None,
        accounted: false,
        max_runtime_seconds: None,
        targets: Vec::new(),
        registries: Vec::new(),
        connects_to: None,
        tags: Vec::new(),
        scope,
    }
}

fn report(status: TaskStatus) -> TaskReport {
    TaskReport { status: Some(status), ..TaskReport::default() }
}

fn of(name: &str, status: TaskStatus, exit_code: Option<i32>, reason: &str) -> ContainerReport {
    ContainerReport {
        name: name.into(),
        status: Some(status),
        exit_code,
        reason: Some(reason.into()),
        ..ContainerReport::default()
    }
}

#[test]
fn a_task_runs_and_ends() {
    let digest = ContainerReport {
        image_digest: Some("sha256:abc".into()),
        ..of("app", TaskStatus::Pending, None, "")
    };
    let pulled = TaskReport {
        containers: vec![digest],
        pull_started_at: Some(at(1)),
        pull_stopped_at: Some(at(2)),
        ..report(TaskStatus::Pending)
    };
    let pulled = step(&task(false), &pulled, at(2)).task;
    assert_eq!(pulled.containers[0].image_digest.as_deref(), Some("sha256:abc"));
    assert_eq!((pulled.last_status, pulled.version), (TaskStatus::Pending, 2));

    let running = TaskReport {
        containers: vec![
            of("app", TaskStatus::Running, None, ""),
            of("side", TaskStatus::Running, Some(3), ""),
        ],
        ..report(TaskStatus::Running)
    };
    let running = step(&pulled, &running, at(3)).task;
    assert_eq!(running.last_status, TaskStatus::Running);
    assert_eq!(running.times.started_at, Some(at(3)));
    assert_eq!(running.containers[1].exit_code, None);

    let ending = TaskReport {
        containers: vec![of("app", TaskStatus::Stopped, Some(0), "")],
        ..report(TaskStatus::Running)
    };
    let ending = step(&running, &ending, at(4)).task;
    assert_eq!(ending.last_status, TaskStatus::Stopping);
    assert_eq!(ending.desired_status, DesiredStatus::Stopped);
    assert_eq!(ending.times.execution_stopped_at, Some(at(4)));

    let ended = TaskReport {
        containers: vec![of("side", TaskStatus::Stopped, Some(143), "")],
        ..report(TaskStatus::Stopped)
    };
    let ended = step(&ending, &ended, at(5)).task;
    assert_eq!(ended.last_status, TaskStatus::Stopped);
    assert_eq!(ended.stop_code, Some(StopCode::EssentialContainerExited));
    assert_eq!(ended.stopped_reason.as_deref(), Some(ESSENTIAL_CONTAINER_EXITED));
    assert_eq!(ended.containers[0].exit_code, Some(0));
    assert_eq!(ended.containers[1].exit_code, Some(143));
    assert_eq!(ended.times.stopped_at, Some(at(5)));
    assert!(!step(&ended, &report(TaskStatus::Running), at(6)).changed);
}

#[test]
fn a_short_task_may_never_be_seen_running() {
    let report = TaskReport {
        containers: vec![of("app", TaskStatus::Stopped, Some(1), "")],
        ..report(TaskStatus::Stopped)
    };
    let ended = step(&task(false), &report, at(1)).task;
    assert_eq!(ended.stop_code, Some(StopCode::EssentialContainerExited));
    assert_eq!(ended.times.started_at, None);
}

#[test]
fn a_task_that_cannot_start_says_why() {
    let why = "CannotPullContainerError: pull image manifest: not found";
    for (report_reason, container_reason) in [(why, ""), ("", why)] {
        let report = TaskReport {
            reason: report_reason.into(),
            containers: vec![of("app", TaskStatus::Stopped, None, container_reason)],
            ..report(TaskStatus::Stopped)
        };
        let ended = step(&task(true), &report, at(1)).task;
        assert_eq!(ended.stop_code, Some(StopCode::TaskFailedToStart));
        assert_eq!(ended.stopped_reason.as_deref(), Some(why));
        assert_eq!(ended.last_status, TaskStatus::Deprovisioning);
        let ended = released(&ended, at(2)).task;
        assert_eq!((ended.last_status, ended.times.stopped_at), (TaskStatus::Stopped, Some(at(2))));
        assert_eq!(ended.attachments[0].status, "DELETED");
        assert_eq!(ended.times.execution_stopped_at, None);
    }
    let not_executable = TaskReport {
        containers: vec![of(
            "app",
            TaskStatus::Stopped,
            Some(127),
            "CannotStartContainerError: no such file",
        )],
        ..report(TaskStatus::Stopped)
    };
    assert_eq!(step(&task(false), &not_executable, at(1)).task.stop_code, Some(StopCode::TaskFailedToStart));
    // Something beside it ran, and ended.
    for (reason, essential) in [(why, None), ("", None), ("", Some(0))] {
        let report = TaskReport {
            reason: reason.into(),
            containers: vec![
                of("app", TaskStatus::Stopped, essential, if essential.is_none() { why } else { "" }),
                of("side", TaskStatus::Stopped, Some(5), ""),
            ],
            ..report(TaskStatus::Stopped)
        };
        let ended = step(&task(false), &report, at(1)).task;
        let (code, sentence) = match essential {
            None => (StopCode::TaskFailedToStart, why),
            Some(_) => (StopCode::EssentialContainerExited, ESSENTIAL_CONTAINER_EXITED),
        };
        assert_eq!((ended.stop_code, ended.stopped_reason.as_deref()), (Some(code), Some(sentence)));
    }
    let nothing = step(&task(false), &report(TaskStatus::Stopped), at(1)).task;
    assert_eq!(nothing.stopped_reason.as_deref(), Some(TASK_FAILED_TO_START));
}

#[test]
fn the_user_who_stopped_it_stays_the_reason() {
    let wished = request_stop(&task(false), StopCode::UserInitiated, "enough", at(1)).task;
    assert_eq!((wished.generation, wished.desired_status), (2, DesiredStatus::Stopped));
    assert_eq!(wished.times.stopping_at, Some(at(1)));
    assert!(!request_stop(&wished, StopCode::UserInitiated, "again", at(2)).changed);
    let stopping = stop_acknowledged(&wished).task;
    assert_eq!(stopping.last_status, TaskStatus::Stopping);
    let ended = TaskReport {
        containers: vec![of("app", TaskStatus::Stopped, Some(137), "")],
        ..report(TaskStatus::Stopped)
    };
    let ended = step(&stopping, &ended, at(3)).task;
    assert_eq!(ended.stop_code, Some(StopCode::UserInitiated));
    assert_eq!(ended.stopped_reason.as_deref(), Some("enough"));
}

#[test]
fn a_network_interface_comes_first_and_goes_last() {
    let new = task(true);
    let details = [("privateIPv4Address".to_owned(), "172.31.0.5".to_owned())].into();
    let ready = network_interface_ready(&new, &details).task;
    assert_eq!(ready.last_status, TaskStatus::Pending);
    assert_eq!(ready.attachments[0].status, "ATTACHING");
    let attached = TaskReport {
        attachments: vec![("eni".into(), "ATTACHED".into()), ("other".into(), "ATTACHED".into())],
        ..TaskReport::default()
    };
    let attached = step(&ready, &attached, at(2)).task;
    assert_eq!(
        (attached.attachments[0].status.as_str(), attached.last_status),
        ("ATTACHED", TaskStatus::Pending)
    );

    let wished = request_stop(&new, StopCode::UserInitiated, "enough", at(1)).task;
    assert!(!network_interface_ready(&wished, &details).changed);
    assert!(!was_handed_out(&wished));
    assert_eq!(abandon(&wished, at(2)).task.last_status, TaskStatus::Deprovisioning);
    assert!(!abandon(&new, at(2)).changed);
    let failed = provisioning_failed(&new, "no address left", at(2)).task;
    assert_eq!(failed.stop_code, Some(StopCode::TaskFailedToStart));
    assert_eq!(failed.stopped_reason.as_deref(), Some("no address left"));
}

#[test]
fn health_is_that_of_the_essential_containers() {
    let mut task = task(false);
    task.containers[0].has_health_check = true;
    let verdict = |status| vec![("app".to_owned(), status), ("side".to_owned(), HealthStatus::Unhealthy)];
    assert_eq!(health(&task, &verdict(HealthStatus::Healthy)).task.health_status, HealthStatus::Healthy);
    assert_eq!(health(&task, &verdict(HealthStatus::Unhealthy)).task.health_status, HealthStatus::Unhealthy);
    assert!(!health(&task, &verdict(HealthStatus::Unknown)).changed);
}

#[test]
fn a_lost_machine_takes_its_tasks_along() {
    let gone =
        lost(&task(false), StopCode::InfrastructureHealth, "Host EC2 (instance i-1) terminated.", at(9)).task;
    assert_eq!(
        (gone.last_status, gone.stop_code),
        (TaskStatus::Stopped, Some(StopCode::InfrastructureHealth))
    );
    assert_eq!(forget_at(&gone, 60_000), Some(at(69)));
    assert_eq!(forget_at(&task(false), 60_000), None);
}

#[derive(Clone, Debug)]
enum Event {
    Report(TaskReport),
    Stop,
    Ready,
    Failed,
    Abandon,
    Acknowledged,
    Lost,
    Released,
    Health(HealthStatus),
    Connectivity(bool),
}

fn status() -> impl Strategy<Value = TaskStatus> {
    prop::sample::select(TaskStatus::ALL)
}

fn event() -> impl Strategy<Value = Event> {
    let container = (
        prop::sample::select(vec!["app", "side", "ghost"]),
        status(),
        prop::option::of(0..256_i32),
        prop::sample::select(vec!["", "CannotPullContainerError: x", "OutOfMemoryError: y"]),
    )
        .prop_map(|(name, status, exit_code, reason)| of(name, status, exit_code, reason));
    let report = (
        prop::option::of(status()),
        prop::collection::vec(container, 0..3),
        prop::sample::select(vec!["", "why"]),
    )
        .prop_map(|(status, containers, reason)| {
            Event::Report(TaskReport {
                status,
                containers,
                reason: reason.into(),
                attachments: vec![("eni".into(), "ATTACHED".into())],
                ..TaskReport::default()
            })
        });
    prop_oneof![
        6 => report,
        1 => Just(Event::Stop),
        2 => Just(Event::Ready),
        1 => Just(Event::Failed),
        1 => Just(Event::Abandon),
        1 => Just(Event::Acknowledged),
        1 => Just(Event::Lost),
        1 => Just(Event::Released),
        1 => prop::sample::select(HealthStatus::ALL).prop_map(Event::Health),
        1 => any::<bool>().prop_map(Event::Connectivity),
    ]
}

fn apply(task: &Task, event: &Event, now: Timestamp) -> StepOutcome {
    match event {
        Event::Report(report) => step(task, report, now),
        Event::Stop => request_stop(task, StopCode::UserInitiated, "stop", now),
        Event::Ready => network_interface_ready(task, &BTreeMap::new()),
        Event::Failed => provisioning_failed(task, "no", now),
        Event::Abandon => abandon(task, now),
        Event::Acknowledged => stop_acknowledged(task),
        Event::Lost => lost(task, StopCode::InfrastructureHealth, "lost", now),
        Event::Released => released(task, now),
        Event::Health(status) => health(task, &[("app".into(), *status)]),
        Event::Connectivity(on) => {
            let connectivity_now = if *on { Connectivity::Connected } else { Connectivity::Disconnected };
            connectivity(task, connectivity_now, now)
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_a_task_goes_forward(awsvpc: bool, events in prop::collection::vec(event(), 0..20)) {
        let mut there = task(awsvpc);
        there.containers[0].has_health_check = true;
        for (second, event) in events.iter().enumerate() {
            let now = at(second as i64);
            let outcome = apply(&there, event, now);
            prop_assert_eq!(laws::forward(&there, &outcome.task), Ok(()), "{:?}", event);
            prop_assert_eq!(outcome.changed, outcome.task != there);
            // The same again changes nothing, with one exception: a container that was reported twice in one
            // call may show what the second entry said only once the first was passed over.
            let again = apply(&outcome.task, event, now);
            prop_assert!(!again.changed, "{:?} twice: {:?} {:?}", event, outcome.task, again.task);
            there = outcome.task;
        }
        // Whatever happened, the end can be reached.
        let ended = lost(&there, StopCode::InfrastructureHealth, "over", at(100)).task;
        let ended = released(&ended, at(101)).task;
        prop_assert_eq!(ended.last_status, TaskStatus::Stopped);
    }
}
