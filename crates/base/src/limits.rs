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
/// Services in one cluster. Source: "Amazon ECS service quotas".
pub const SERVICES_PER_CLUSTER: usize = 5_000;
/// Tasks of one service: its greatest desired count. Source: "Amazon ECS service quotas".
pub const TASKS_PER_SERVICE: i32 = 5_000;
/// Services in one DescribeServices call. Source: DescribeServices, `services`.
pub const DESCRIBE_SERVICES_MAXIMUM: usize = 10;
/// Deployments or revisions in one call. Source: DescribeServiceDeployments, DescribeServiceRevisions.
pub const DESCRIBE_SERVICE_DEPLOYMENTS_MAXIMUM: usize = 20;
/// Target groups of one service. Source: "Amazon ECS service quotas".
pub const TARGET_GROUPS_PER_SERVICE: usize = 5;
/// Service registries of one service. Source: CreateService, `serviceRegistries`.
pub const SERVICE_REGISTRIES_PER_SERVICE: usize = 1;
/// Task sets of one service. Ours: AWS has a limit and does not say which.
pub const TASK_SETS_PER_SERVICE: usize = 20;
/// Tasks in one UpdateTaskProtection call. Source: UpdateTaskProtection, `tasks`.
pub const UPDATE_TASK_PROTECTION_MAXIMUM: usize = 10;
/// Events of a service that are kept and shown. Source: "Service" data type, `events`.
pub const SERVICE_EVENTS: usize = 100;
