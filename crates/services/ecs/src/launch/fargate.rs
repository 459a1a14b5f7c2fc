//! The sizes of Fargate tasks. Source: AWS, "Task definition differences for Fargate", table of CPU and memory.

use wire::Fault;

use crate::faults::client;

/// CPU units, least and most memory in MiB, and the step between; 512 MiB is allowed for 256 units beside.
const SIZES: &[(i32, i32, i32, i32)] = &[
    (256, 1024, 2048, 1024),
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16384, 1024),
    (4096, 8192, 30720, 1024),
    (8192, 16384, 61440, 4096),
    (16384, 32768, 122_880, 8192),
];

/// Whether Fargate has this size.
pub fn is_size(cpu_units: i32, memory_mib: i32) -> bool {
    (cpu_units, memory_mib) == (256, 512)
        || SIZES.iter().any(|&(cpu, least, most, step)| {
            cpu == cpu_units && (least..=most).contains(&memory_mib) && (memory_mib - least) % step == 0
        })
}

/// Refuses a size that Fargate does not have.
pub fn check_size(cpu_units: Option<i32>, memory_mib: Option<i32>) -> Result<(), Fault> {
    match (cpu_units, memory_mib) {
        (Some(cpu), Some(memory)) if is_size(cpu, memory) => Ok(()),
        (Some(cpu), Some(memory)) => Err(client(format!(
            "No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. See the Amazon ECS \
             documentation for the valid values."
        ))),
        (None, _) => Err(client("Fargate requires that 'cpu' be defined at the task level.")),
        (_, None) => Err(client("Fargate requires that 'memory' be defined at the task level.")),
    }
}

#[cfg(test)]
mod tests {
    use super::is_size;

    #[test]
    fn the_table() {
        let sizes = [
            (256, vec![512, 1024, 2048]),
            (512, (1..=4).map(|gib| gib * 1024).collect()),
            (1024, (2..=8).map(|gib| gib * 1024).collect()),
            (2048, (4..=16).map(|gib| gib * 1024).collect()),
            (4096, (8..=30).map(|gib| gib * 1024).collect()),
            (8192, (16..=60).step_by(4).map(|gib| gib * 1024).collect()),
            (16384, (32..=120).step_by(8).map(|gib| gib * 1024).collect::<Vec<i32>>()),
        ];
        for (cpu, memories) in sizes {
            for memory in (256..=131_072).step_by(256) {
                assert_eq!(is_size(cpu, memory), memories.contains(&memory), "{cpu} {memory}");
            }
        }
        assert!(!is_size(128, 512) && !is_size(32768, 65536));
    }
}
