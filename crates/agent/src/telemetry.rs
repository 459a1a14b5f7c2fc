//! What the containers use: sampled at an interval, summed up for the control plane, and shown by the metadata endpoint.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_protocol::tcs::{
    ContainerMetric, CwStatsSet, NetworkStatsSet, RestartStatsSet, StorageStatsSet, TaskMetric, UlongStatsSet,
};
use base::Timestamp;
use engine::{ContainerId, Stats};

use crate::task_engine::TaskEngine;
use crate::task_engine::plan::NetworkPlan;
use crate::task_engine::record::KnownStatus;
use crate::task_engine::view::TaskView;

/// Samples kept per container between two rounds of metrics; more push out the oldest.
const SAMPLES_MAXIMUM: usize = 64;

/// Bytes and packets of a network namespace since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkCounters {
    /// Received: bytes, packets, errors, dropped.
    pub received: [u64; 4],
    /// Sent: bytes, packets, errors, dropped.
    pub sent: [u64; 4],
}

/// What a container used at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// CPU, memory, block devices.
    pub stats: Stats,
    /// Network, where the container has one of its own.
    pub network: Option<NetworkCounters>,
    /// CPU time of the whole machine since it was started, idle time included; 0 where the kernel does not tell.
    pub system_cpu_nanoseconds: u64,
}

#[derive(Default)]
struct Series {
    /// Not yet sent.
    samples: Vec<Sample>,
    /// The last one before them.
    before: Option<Sample>,
    /// The last two, the newer last.
    recent: [Option<Sample>; 2],
}

/// Samples of all containers. Cheap to clone.
#[derive(Clone, Default)]
pub struct Telemetry {
    series: Arc<Mutex<HashMap<String, Series>>>,
}

impl Telemetry {
    /// Samples at the configured interval, for ever.
    pub async fn sample_forever(self, tasks: TaskEngine) {
        let mut ticks = tokio::time::interval(tasks.shared().config.stats_interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sample(&tasks).await;
        }
    }

    async fn sample(&self, tasks: &TaskEngine) {
        let shared = tasks.shared();
        let mut seen = HashSet::new();
        let system_cpu_nanoseconds =
            std::fs::read_to_string("/proc/stat").ok().and_then(|text| parse_stat(&text)).unwrap_or(0);
        for view in tasks.views() {
            for container in &view.record.containers {
                if container.known != KnownStatus::Running || container.restart_due {
                    continue;
                }
                seen.insert(container.runtime_id.clone());
                let Ok(id) = ContainerId::new(container.runtime_id.clone()) else { continue };
                // One that ends in between has no statistics any more; that is no error.
                let Ok(stats) = shared.engine.stats(&id).await else { continue };
                let network = match &view.plan.network {
                    NetworkPlan::AwsVpc(_) | NetworkPlan::Bridge => container.pid.and_then(network_counters),
                    NetworkPlan::Host | NetworkPlan::None => None,
                };
                let sample = Sample { at: shared.config.clock.now(), stats, network, system_cpu_nanoseconds };
                let mut series = self.series();
                let series = series.entry(container.runtime_id.clone()).or_default();
                if series.samples.len() >= SAMPLES_MAXIMUM {
                    series.before = Some(series.samples.remove(0));
                }
                series.recent.swap(0, 1);
                series.recent[1] = Some(sample.clone());
                series.samples.push(sample);
            }
        }
        self.series().retain(|id, _| seen.contains(id));
    }

    fn series(&self) -> MutexGuard<'_, HashMap<String, Series>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last two samples of a container, the older first.
    pub fn last_two(&self, runtime_id: &str) -> (Option<Sample>, Option<Sample>) {
        let series = self.series();
        let Some(series) = series.get(runtime_id) else { return (None, None) };
        let [before, last] = series.recent.clone();
        (before, last)
    }

    /// What all tasks used since the last call.
    pub fn take_metrics(&self, views: &[Arc<TaskView>]) -> Vec<TaskMetric> {
        let mut series = self.series();
        views
            .iter()
            .map(|view| TaskMetric {
                task_arn: view.plan.arn.to_string(),
                cluster_arn: view.record.task.task_cluster_arn.clone(),
                task_definition_family: view.plan.family.clone(),
                task_definition_version: view.plan.revision.clone(),
                container_metrics: container_metrics(view, &mut series),
                ..TaskMetric::default()
            })
            .filter(|metric| !metric.container_metrics.is_empty())
            .collect()
    }
}

fn container_metrics(view: &TaskView, series: &mut HashMap<String, Series>) -> Vec<ContainerMetric> {
    let mut metrics = Vec::new();
    for (plan, container) in view.plan.containers.iter().zip(&view.record.containers) {
        let Some(series) = series.get_mut(&container.runtime_id) else { continue };
        let samples = std::mem::take(&mut series.samples);
        let before = series.before.take();
        let chain: Vec<Sample> = before.into_iter().chain(samples).collect();
        series.before = chain.last().cloned();
        let mut metric = summed_up(&chain);
        metric.container_name.clone_from(&plan.name);
        metric.container_arn.clone_from(&plan.message.container_arn);
        if plan.restart.is_some() {
            metric.restart_stats_set =
                Some(RestartStatsSet { restart_count: i64::from(container.restart_count) });
        }
        metrics.push(metric);
    }
    metrics
}

/// Sums up samples; the first of them only serves as the base of the differences.
fn summed_up(chain: &[Sample]) -> ContainerMetric {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
    let pairs = || chain.windows(2).filter_map(|pair| Some((pair.first()?, pair.get(1)?)));
    let cpu: Vec<f64> = pairs().filter_map(|(old, new)| cpu_percent(old, new, cpus)).collect();
    let fresh = || chain.iter().skip(usize::from(chain.len() > 1));
    let memory: Vec<f64> =
        fresh().map(|sample| memory_used_bytes(&sample.stats) as f64 / f64::from(1 << 20)).collect();
    let counter = |get: &dyn Fn(&Sample) -> u64| {
        UlongStatsSet::of(&fresh().map(get).collect::<Vec<_>>()).unwrap_or_default()
    };
    let storage = StorageStatsSet {
        read_size_bytes: counter(&|sample| sample.stats.io_read_bytes),
        write_size_bytes: counter(&|sample| sample.stats.io_write_bytes),
    };
    let network = chain.iter().any(|sample| sample.network.is_some()).then(|| {
        let of =
            |get: &dyn Fn(&NetworkCounters) -> u64| counter(&|sample| sample.network.as_ref().map_or(0, get));
        let rate = |get: &dyn Fn(&NetworkCounters) -> u64| {
            let rates: Vec<f64> = pairs().filter_map(|(old, new)| network_rate(old, new, get)).collect();
            CwStatsSet::of(&rates)
        };
        NetworkStatsSet {
            rx_bytes: of(&|counters| counters.received[0]),
            rx_packets: of(&|counters| counters.received[1]),
            rx_errors: of(&|counters| counters.received[2]),
            rx_dropped: of(&|counters| counters.received[3]),
            tx_bytes: of(&|counters| counters.sent[0]),
            tx_packets: of(&|counters| counters.sent[1]),
            tx_errors: of(&|counters| counters.sent[2]),
            tx_dropped: of(&|counters| counters.sent[3]),
            rx_bytes_per_second: rate(&|counters| counters.received[0]),
            tx_bytes_per_second: rate(&|counters| counters.sent[0]),
        }
    });
    ContainerMetric {
        cpu_stats_set: CwStatsSet::of(&cpu),
        memory_stats_set: CwStatsSet::of(&memory),
        storage_stats_set: Some(storage),
        network_stats_set: network,
        ..ContainerMetric::default()
    }
}

fn seconds_between(old: &Sample, new: &Sample) -> Option<f64> {
    let millis = new.at.since_millis(old.at);
    (millis > 0).then(|| millis as f64 / 1000.0)
}

/// Percent of the whole machine.
fn cpu_percent(old: &Sample, new: &Sample, cpus: f64) -> Option<f64> {
    // A restarted container counts from nothing again.
    let used = new.stats.cpu_usage_nanoseconds.checked_sub(old.stats.cpu_usage_nanoseconds)?;
    Some(used as f64 / 1e9 / seconds_between(old, new)? / cpus * 100.0)
}

/// Per second, between two samples.
pub fn network_rate(old: &Sample, new: &Sample, get: &dyn Fn(&NetworkCounters) -> u64) -> Option<f64> {
    let moved = get(new.network.as_ref()?).checked_sub(get(old.network.as_ref()?))?;
    Some(moved as f64 / seconds_between(old, new)?)
}

/// Memory without the page cache that could go at once: Docker's and AWS's "used".
pub fn memory_used_bytes(stats: &Stats) -> u64 {
    stats.memory_usage_bytes.saturating_sub(stats.memory_inactive_file_bytes)
}

/// The counters of a process's network namespace, loopback left out.
fn network_counters(pid: i32) -> Option<NetworkCounters> {
    parse_net_dev(&std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?)
}

/// proc_pid_net(5): two lines of heading, then `name: bytes packets errs drop fifo frame compressed multicast` and the same for sending.
fn parse_net_dev(text: &str) -> Option<NetworkCounters> {
    let mut total = NetworkCounters::default();
    for line in text.lines().skip(2) {
        let (name, numbers) = line.split_once(':')?;
        if name.trim() == "lo" {
            continue;
        }
        let numbers: Vec<u64> = numbers.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let (received, sent) = (numbers.get(..4)?, numbers.get(8..12)?);
        for (sum, number) in total.received.iter_mut().zip(received).chain(total.sent.iter_mut().zip(sent)) {
            *sum = sum.saturating_add(*number);
        }
    }
    Some(total)
}

/// proc_stat(5): the first line sums up all CPUs, in hundredths of a second.
fn parse_stat(text: &str) -> Option<u64> {
    let numbers = text.lines().next()?.strip_prefix("cpu ")?;
    // Guest time is part of user time already.
    let ticks: u64 = numbers.split_whitespace().take(8).map_while(|number| number.parse::<u64>().ok()).sum();
    ticks.checked_mul(10_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: i64, cpu: u64, memory: u64, received: u64) -> Sample {
        Sample {
            at: Timestamp::from_millis(seconds * 1000),
            stats: Stats {
                cpu_usage_nanoseconds: cpu,
                memory_usage_bytes: memory,
                memory_inactive_file_bytes: 1 << 20,
                ..Stats::default()
            },
            network: Some(NetworkCounters { received: [received, 1, 0, 0], sent: [0; 4] }),
            system_cpu_nanoseconds: 0,
        }
    }

    #[test]
    fn samples_become_percent_mebibytes_and_rates() {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
        let metric = summed_up(&[
            sample(0, 0, 3 << 20, 0),
            sample(10, 5_000_000_000, 3 << 20, 1000),
            sample(20, 15_000_000_000, 5 << 20, 3000),
        ]);
        let cpu = metric.cpu_stats_set.unwrap();
        assert!((cpu.min - 50.0 / cpus).abs() < 1e-9 && (cpu.max - 100.0 / cpus).abs() < 1e-9);
        assert_eq!(cpu.sample_count, 2);
        let memory = metric.memory_stats_set.unwrap();
        assert_eq!((memory.min, memory.max, memory.sample_count), (2.0, 4.0, 2));
        let network = metric.network_stats_set.unwrap();
        assert_eq!((network.rx_bytes.max, network.rx_bytes_per_second.unwrap().max), (3000, 200.0));
    }

    #[test]
    fn a_restart_makes_no_negative_usage() {
        let metric = summed_up(&[sample(0, 9, 2 << 20, 9), sample(5, 1, 2 << 20, 1)]);
        assert_eq!(metric.cpu_stats_set, None);
        assert_eq!(metric.network_stats_set.unwrap().rx_bytes_per_second, None);
    }

    #[test]
    fn the_machines_cpu_time_is_read() {
        assert_eq!(parse_stat("cpu  1 2 3 4 5 6 7 8 100 100\ncpu0 1"), Some(360_000_000));
        assert_eq!(parse_stat("intr 1"), None);
    }

    #[test]
    fn the_kernels_table_is_read_without_loopback() {
        let text = "Inter-| Receive | Transmit\n face |bytes ...\n    lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n";
        assert_eq!(parse_net_dev(text), Some(NetworkCounters { received: [1, 2, 3, 4], sent: [5, 6, 7, 8] }));
        assert_eq!(parse_net_dev("a\nb\neth0 1"), None);
        assert_eq!(parse_net_dev("a\nb\neth0: 1 x"), None);
    }
}
