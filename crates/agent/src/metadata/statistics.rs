//! Statistics of a container in the form of Docker's API, as monitoring agents in tasks expect it.

use serde_json::{Map, Value, json};

use crate::telemetry::{Sample, network_rate};

/// The statistics of a container from its last two samples; `null` before the first.
pub(super) fn container(id: &str, name: &str, before: Option<&Sample>, last: Option<&Sample>) -> Value {
    let Some(last) = last else { return Value::Null };
    let mut document = Map::new();
    let mut put = |key: &str, value: Value| {
        document.insert(key.to_owned(), value);
    };
    put("id", json!(id));
    put("name", json!(format!("/{name}")));
    put("read", json!(last.at.to_string()));
    put(
        "preread",
        json!(before.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |sample| sample.at.to_string())),
    );
    put("cpu_stats", cpu(Some(last)));
    put("precpu_stats", cpu(before));
    put("pids_stats", json!({"current": last.stats.pids}));
    put(
        "memory_stats",
        json!({
            "usage": last.stats.memory_usage_bytes,
            "max_usage": last.stats.memory_maximum_usage_bytes,
            "limit": last.stats.memory_limit_bytes,
            "stats": {
                "inactive_file": last.stats.memory_inactive_file_bytes,
                "total_inactive_file": last.stats.memory_inactive_file_bytes,
            },
        }),
    );
    put(
        "blkio_stats",
        json!({"io_service_bytes_recursive": [
            {"major": 0, "minor": 0, "op": "Read", "value": last.stats.io_read_bytes},
            {"major": 0, "minor": 0, "op": "Write", "value": last.stats.io_write_bytes},
        ]}),
    );
    if let Some(network) = &last.network {
        let (received, sent) = (network.received, network.sent);
        put(
            "networks",
            json!({"eth0": {
                "rx_bytes": received[0], "rx_packets": received[1], "rx_errors": received[2], "rx_dropped": received[3],
                "tx_bytes": sent[0], "tx_packets": sent[1], "tx_errors": sent[2], "tx_dropped": sent[3],
            }}),
        );
        if let Some(before) = before {
            put(
                "network_rate_stats",
                json!({
                    "rx_bytes_per_sec": network_rate(before, last, &|counters| counters.received[0]),
                    "tx_bytes_per_sec": network_rate(before, last, &|counters| counters.sent[0]),
                }),
            );
        }
    }
    Value::Object(document)
}

fn cpu(sample: Option<&Sample>) -> Value {
    let Some(sample) = sample else { return json!({"cpu_usage": {"total_usage": 0}}) };
    let stats = &sample.stats;
    json!({
        "cpu_usage": {
            "total_usage": stats.cpu_usage_nanoseconds,
            "usage_in_usermode": stats.cpu_user_nanoseconds,
            "usage_in_kernelmode": stats.cpu_system_nanoseconds,
        },
        "system_cpu_usage": sample.system_cpu_nanoseconds,
        "online_cpus": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "throttling_data": {"throttled_time": stats.cpu_throttled_nanoseconds},
    })
}
