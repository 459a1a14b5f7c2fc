//! AWS's quotas and our own bounds, by name. Each cites where it stands.

/// Tasks that one `RunTask` may start. Source: RunTask, `count`.
pub const RUN_TASK_COUNT_MAXIMUM: i32 = 10;
/// Container definitions in one task definition. Source: "Amazon ECS service quotas".
pub const CONTAINERS_PER_TASK_DEFINITION: usize = 10;
/// Bytes of one task definition. Source: "Amazon ECS service quotas" (64 KiB).
pub const TASK_DEFINITION_BYTES: usize = 64 * 1024;
/// Tags on one resource. Source: "Tagging your Amazon ECS resources".
pub const TAGS_PER_RESOURCE: usize = 50;
/// Characters of a tag key. Source: as above.
pub const TAG_KEY_CHARACTERS: usize = 128;
/// Characters of a tag value. Source: as above.
pub const TAG_VALUE_CHARACTERS: usize = 256;
/// Entries of one page where the caller does not say. Source: ListTasks, `maxResults`.
pub const PAGE_DEFAULT: usize = 100;
/// Clusters, tasks or container instances in one Describe call. Source: DescribeTasks, DescribeClusters.
pub const DESCRIBE_MAXIMUM: usize = 100;
/// Characters of a task's or container's `reason`. Source: SubmitTaskStateChange.
pub const REASON_CHARACTERS: usize = 1024;
/// Bytes of one API request's body. Ours: AWS refuses ECS bodies far below it, PutLogEvents takes up to 1 MiB of events.
pub const REQUEST_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Nesting of a JSON, XML or CBOR request. Ours: the deepest model of the ones we serve needs 9.
pub const REQUEST_DEPTH: usize = 64;
