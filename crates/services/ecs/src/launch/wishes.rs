//! [`Wishes`]: what a caller asks for beyond Amazon ECS, in tags whose keys begin with `roadstead:`.
//!
//! Stock clients can send a tag wherever tasks come from: on a call of RunTask or StartTask, on a service, on a task
//! definition. What the call or service says counts before what the task definition says. Nothing is asked for unless a
//! tag does; a key that means nothing on the resource, or a value that is none of its values, is refused, so that a slip of
//! the pen is not taken for a wish.

use base::Tag;
use wire::Fault;

use crate::faults::invalid;

/// What reserved keys begin with.
pub const RESERVED_PREFIX: &str = "roadstead:";
/// How long a task may run, in whole seconds from the moment it is RUNNING.
pub const MAX_RUNTIME_SECONDS: &str = "roadstead:max-runtime-seconds";
/// `enabled`: a task of RunTask that finds no room waits for it; `disabled`: it is a failure, as on AWS.
pub const QUEUE: &str = "roadstead:queue";
/// `enabled`, when a task definition is registered: `stopTimeout` may be any number of seconds on Fargate too.
pub const UNCAPPED_STOP_TIMEOUT: &str = "roadstead:uncapped-stop-timeout";
/// `enabled`: RunTask starts nothing, and its failures say of every container instance what speaks for or against it.
pub const EXPLAIN: &str = "roadstead:explain";
/// `enabled` on a cluster: DescribeTasks says of its tasks that do not run yet what they wait for.
pub const PENDING_REASON: &str = "roadstead:pending-reason";
/// `enabled` on a service: its tasks are evened out when instances come and go, whatever its placement strategy.
pub const REBALANCE: &str = "roadstead:rebalance";
/// On a service: which checks say whether a task is ready rather than whether it lives: those of its load balancers
/// (`load-balancer`), or `all`. A task that is not ready gets no traffic and counts for no deployment, and is not replaced.
pub const READINESS: &str = "roadstead:readiness";
/// The values of [`READINESS`]; `none` is what AWS does.
const READINESS_VALUES: [&str; 3] = ["none", "load-balancer", "all"];

/// Where a tag is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// A call of RunTask.
    RunTask,
    /// A call of StartTask, which names the instances: there is nothing to wait for.
    StartTask,
    /// A task definition.
    TaskDefinition,
    /// A service, whose scheduler tries again by itself.
    Service,
    /// A cluster.
    Cluster,
    /// Anything else.
    Other,
}

impl On {
    /// The reserved keys that mean something there.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::RunTask => &[MAX_RUNTIME_SECONDS, QUEUE, EXPLAIN],
            Self::TaskDefinition => &[MAX_RUNTIME_SECONDS, QUEUE, UNCAPPED_STOP_TIMEOUT],
            Self::StartTask => &[MAX_RUNTIME_SECONDS],
            Self::Service => &[MAX_RUNTIME_SECONDS, REBALANCE, READINESS],
            Self::Cluster => &[PENDING_REASON],
            Self::Other => &[],
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::RunTask => "a call of RunTask",
            Self::StartTask => "a call of StartTask",
            Self::TaskDefinition => "a task definition",
            Self::Service => "a service",
            Self::Cluster => "a cluster",
            Self::Other => "this resource",
        }
    }
}

/// The longest wall-clock limit: a year. Ours.
const RUNTIME_SECONDS_MAXIMUM: i64 = 366 * 24 * 3600;

/// See the file's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The wall-clock limit.
    pub max_runtime_seconds: Option<i64>,
    /// Whether a task that finds no room waits for it.
    pub queue_when_full: bool,
    /// Whether nothing is to be started, but every instance explained.
    pub explain: bool,
}

impl Wishes {
    /// What `nearer` tags (of the call, of the service) and else `farther` ones (of the task definition) ask for.
    pub fn of(nearer: &[Tag], farther: &[Tag]) -> Result<Self, Fault> {
        let mut wishes = Self::default();
        for tag in farther.iter().chain(nearer) {
            if is_reserved(&tag.key) {
                wishes.take(tag)?;
            }
        }
        Ok(wishes)
    }

    fn take(&mut self, tag: &Tag) -> Result<(), Fault> {
        match tag.key.as_str() {
            MAX_RUNTIME_SECONDS => self.max_runtime_seconds = Some(seconds(tag)?),
            QUEUE => self.queue_when_full = switch(tag)?,
            EXPLAIN => self.explain = switch(tag)?,
            PENDING_REASON | REBALANCE | UNCAPPED_STOP_TIMEOUT => {
                switch(tag)?;
            }
            READINESS if READINESS_VALUES.contains(&tag.value.as_str()) => {}
            READINESS => {
                return Err(invalid(format!(
                    "Invalid value for the tag {READINESS}: {}. It must be none, load-balancer or all.",
                    tag.value
                )));
            }
            _ => return Err(unknown(tag, On::Other)),
        }
        Ok(())
    }
}

/// Whether a key is one of ours.
pub fn is_reserved(key: &str) -> bool {
    key.get(..RESERVED_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_PREFIX))
}

/// Refuses reserved tags that mean nothing there, and bad values of those that do.
pub fn check(tags: &[Tag], on: On) -> Result<(), Fault> {
    for tag in tags.iter().filter(|tag| is_reserved(&tag.key)) {
        if !on.keys().contains(&tag.key.as_str()) {
            return Err(unknown(tag, on));
        }
        Wishes::default().take(tag)?;
    }
    Ok(())
}

/// Whether the tags of a cluster ask for pending reasons.
pub fn pending_reasons(tags: &[Tag]) -> bool {
    tags.iter().any(|tag| tag.key == PENDING_REASON && tag.value == "enabled")
}

/// Whether the tags of a registration ask for stop timeouts without a cap.
pub fn uncapped_stop_timeout(tags: &[api::ecs::Tag]) -> bool {
    tags.iter().any(|tag| {
        tag.key.as_deref() == Some(UNCAPPED_STOP_TIMEOUT) && tag.value.as_deref() == Some("enabled")
    })
}

fn unknown(tag: &Tag, on: On) -> Fault {
    let there = match on.keys() {
        [] => "none".to_owned(),
        keys => keys.join(", "),
    };
    invalid(format!(
        "The tag key {} is reserved and means nothing on {}. Reserved keys that do: {there}.",
        tag.key,
        on.noun()
    ))
}

fn bad(tag: &Tag, expected: &str) -> Fault {
    invalid(format!("Invalid value for the tag {}: {}. It must be {expected}.", tag.key, tag.value))
}

fn seconds(tag: &Tag) -> Result<i64, Fault> {
    let digits = !tag.value.is_empty() && tag.value.bytes().all(|byte| byte.is_ascii_digit());
    tag.value
        .parse::<i64>()
        .ok()
        .filter(|seconds| digits && (1..=RUNTIME_SECONDS_MAXIMUM).contains(seconds))
        .ok_or_else(|| bad(tag, &format!("a number of seconds from 1 to {RUNTIME_SECONDS_MAXIMUM}")))
}

fn switch(tag: &Tag) -> Result<bool, Fault> {
    match tag.value.as_str() {
        "enabled" => Ok(true),
        "disabled" => Ok(false),
        _ => Err(bad(tag, "enabled or disabled")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        Tag { key: key.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn what_is_nearer_counts() {
        let definition = [tag(MAX_RUNTIME_SECONDS, "60"), tag(QUEUE, "enabled"), tag("team", "a")];
        let call = [tag(MAX_RUNTIME_SECONDS, "5"), tag("roadstead", "x")];
        let wishes = Wishes::of(&call, &definition).unwrap();
        assert_eq!(wishes, Wishes { max_runtime_seconds: Some(5), queue_when_full: true, explain: false });
        assert!(!Wishes::of(&[tag(QUEUE, "disabled")], &definition).unwrap().queue_when_full);
        assert_eq!(Wishes::of(&[], &[]).unwrap(), Wishes::default());
    }

    #[test]
    fn slips_are_refused() {
        for (key, value) in [
            (MAX_RUNTIME_SECONDS, "0"),
            (MAX_RUNTIME_SECONDS, "+5"),
            (MAX_RUNTIME_SECONDS, "1.5"),
            (MAX_RUNTIME_SECONDS, ""),
            (MAX_RUNTIME_SECONDS, "99999999999999999999"),
            (QUEUE, "true"),
            (QUEUE, ""),
            (PENDING_REASON, "enabled"),
            ("roadstead:max-runtime", "5"),
            ("Roadstead:queue", "enabled"),
            ("roadstead:", "x"),
        ] {
            let refused = check(&[tag(key, value)], On::RunTask).unwrap_err();
            assert_eq!(refused.code(), "InvalidParameterException", "{key}={value}");
        }
        assert!(check(&[tag("road", "x"), tag(QUEUE, "enabled")], On::RunTask).is_ok());
        assert!(check(&[tag(QUEUE, "enabled")], On::StartTask).is_err());
        assert!(check(&[tag(MAX_RUNTIME_SECONDS, "5")], On::Other).is_err());
        assert!(check(&[tag(PENDING_REASON, "enabled")], On::Cluster).is_ok());
        assert!(check(&[tag(PENDING_REASON, "yes")], On::Cluster).is_err());
    }
}
