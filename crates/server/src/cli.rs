//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use base::{AccountId, Ipv4Cidr, Region};
use clap::{Args, Parser, Subcommand, ValueEnum};
use control::seams::MappedHookTargets;

/// Amazon ECS outside AWS: one binary that is an ECS region on machines of your own.
#[derive(Debug, Parser)]
#[command(name = "roadstead", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a whole region on this machine: control plane, agent, container engine and network
    Up(UpArguments),
    /// Print the shell lines that point the AWS CLI and SDKs at a running Roadstead
    Env(DataDirectory),
    /// Load, list and remove container images
    Image(ImageArguments),
    /// Do to Fargate Spot tasks what AWS does when it takes capacity back
    Spot(SpotArguments),
    /// Say of every container instance what speaks for or against a task there; starts nothing
    Explain(ExplainArguments),
    /// Say what this kernel and machine offer and lack, and how to mend each lack
    Doctor(DataDirectory),
    /// Start the control plane alone; agents join it
    Server(ServerArguments),
    /// Join this machine to a control plane as a container instance
    Agent(AgentArguments),
    /// Stop and remove every container, mount, namespace, cgroup and rule that a data directory's Roadstead made
    Down(DataDirectory),
}

/// Where state is kept.
#[derive(Clone, Debug, Args)]
pub struct DataDirectory {
    /// Where state, images and containers are kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/roadstead", env = "ROADSTEAD_DATA_DIR")]
    pub data_dir: PathBuf,
}

/// How requests are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuthMode {
    /// Verify each signature against the keys of this control plane
    Sigv4,
    /// Take any key as the account's root; only on loopback
    Any,
}

/// The control plane's settings.
#[derive(Clone, Debug, Args)]
pub struct ServerArguments {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: DataDirectory,
    /// Address and port of the API
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4566")]
    pub listen: SocketAddr,
    /// Answer DNS on this address too; tasks and this machine have one without it, see `roadstead doctor`
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub dns_listen: Option<SocketAddr>,
    /// Region of unsigned requests, and of the container instance that this machine is
    #[arg(long, default_value = "us-east-1")]
    pub region: Region,
    /// Account of the root key
    #[arg(long, default_value = "000000000000")]
    pub account: AccountId,
    /// How requests are authenticated
    #[arg(long, value_enum, default_value = "sigv4")]
    pub auth: AuthMode,
    /// Keep nothing: state goes to a temporary directory that is removed, with all tasks, at the end
    #[arg(long)]
    pub ephemeral: bool,
    /// Allow POST /_roadstead/reset, which stops every task and empties the state
    #[arg(long)]
    pub allow_reset: bool,
    /// How long a stopped task can still be described, in hours
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub task_history_hours: u32,
    /// Public addresses of tasks and load balancers: a network that is led to this machine, and of which it answers for every
    /// address that is in use [default: a part of 198.18.0.0/15, which only this machine reaches]
    #[arg(long, value_name = "CIDR")]
    pub public_addresses: Option<Ipv4Cidr>,
    /// Where the function of a deployment's lifecycle hook is reached: its event is POSTed there, its result is the answer.
    /// Can be given more than once
    #[arg(long = "hook-target", value_name = "ARN=URL", value_parser = MappedHookTargets::parse)]
    pub hook_targets: Vec<(String, http::Uri)>,
}

/// A node's settings.
#[derive(Clone, Debug, Args)]
pub struct NodeArguments {
    /// CPU that tasks may be promised, in CPU units of 1/1024 core [default: what the machine has]
    #[arg(long, value_name = "UNITS")]
    pub cpu: Option<i64>,
    /// Memory that tasks may be promised, in MiB [default: what the machine has]
    #[arg(long, value_name = "MIB")]
    pub memory: Option<i64>,
    /// Credentials of private registries, in the form of Docker's config.json
    #[arg(long, value_name = "FILE")]
    pub registry_auth: Option<PathBuf>,
    /// How far CPU and memory may be promised beyond what is there, in percent up to 1000; 100 is no over-commit
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(i64).range(100..=1000))]
    pub over_commit: i64,
    /// Auto Scaling group that this machine says it belongs to: the instances of a capacity provider over that group
    #[arg(long, value_name = "NAME")]
    pub auto_scaling_group: Option<String>,
}

/// `up`: a control plane and a node.
#[derive(Clone, Debug, Args)]
pub struct UpArguments {
    /// Address of this machine on which internet-facing load balancers listen too, so that other machines reach them:
    /// 0.0.0.0 for all of its addresses. Can be given more than once
    #[arg(long = "publish", value_name = "ADDRESS")]
    pub published: Vec<std::net::IpAddr>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub server: ServerArguments,
    /// Cluster that this machine is a container instance of (launch type EC2); it is made where it is missing
    #[arg(long, value_name = "NAME", default_value = "default", env = "ECS_CLUSTER")]
    pub cluster: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub node: NodeArguments,
}

/// `agent`: a node that joins a control plane.
#[derive(Clone, Debug, Args)]
pub struct AgentArguments {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: DataDirectory,
    /// The control plane, such as http://10.0.0.1:4566; keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL")]
    pub server: String,
    /// Region to register in
    #[arg(long, default_value = "us-east-1", env = "AWS_REGION")]
    pub region: Region,
    /// Cluster to register in
    #[arg(long, default_value = "default", env = "ECS_CLUSTER")]
    pub cluster: String,
    /// Be Fargate capacity too
    #[arg(long)]
    pub fargate: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub node: NodeArguments,
}

/// `explain`: a RunTask that starts nothing.
#[derive(Clone, Debug, Args)]
pub struct ExplainArguments {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: DataDirectory,
    /// Cluster, by name or ARN
    #[arg(long, default_value = "default")]
    pub cluster: String,
    /// Task definition: family, family:revision or ARN
    #[arg(long, value_name = "DEFINITION")]
    pub task_definition: String,
    /// How many tasks
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=10))]
    pub count: i32,
    /// EC2, FARGATE or EXTERNAL [default: that of the cluster's default strategy, or EC2]
    #[arg(long, value_name = "TYPE")]
    pub launch_type: Option<String>,
    /// Task group [default: family:FAMILY]
    #[arg(long)]
    pub group: Option<String>,
    /// Placement constraint: distinctInstance, or an expression of the cluster query language. Can be given more than once
    #[arg(long = "constraint", value_name = "CONSTRAINT")]
    pub constraints: Vec<String>,
    /// Placement strategy, such as random, spread=attribute:ecs.availability-zone or binpack=memory. Can be given more
    /// than once
    #[arg(long = "strategy", value_name = "TYPE[=FIELD]")]
    pub strategies: Vec<String>,
    /// Subnet, for a definition with the network mode awsvpc. Can be given more than once
    #[arg(long = "subnet", value_name = "SUBNET")]
    pub subnets: Vec<String>,
}

/// `image`: what to do with images.
#[derive(Clone, Debug, Args)]
pub struct ImageArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// `spot`.
#[derive(Clone, Debug, Args)]
pub struct SpotArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: SpotCommand,
}

/// What to do with Fargate Spot tasks.
#[derive(Clone, Debug, Subcommand)]
pub enum SpotCommand {
    /// Interrupt a task: its containers get the stop signal now, and are gone when the warning is over
    Interrupt {
        /// The task's id or ARN
        task: String,
        /// Its cluster, where only the id is given
        #[arg(long, value_name = "NAME", default_value = "default")]
        cluster: String,
        /// Seconds from now until nothing of the task runs any more
        #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(0..=3600))]
        warning: u32,
        #[command(flatten)]
        #[allow(missing_docs)]
        data: DataDirectory,
    },
}

/// What to do with images.
#[derive(Clone, Debug, Subcommand)]
pub enum ImageCommand {
    /// Load the images of a `docker save` or OCI archive (plain, gzip or zstd)
    Load {
        /// The archive
        file: PathBuf,
        /// Name the image so
        #[arg(long, value_name = "NAME")]
        tag: Option<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        data: DataDirectory,
    },
    /// List images
    Ls {
        #[command(flatten)]
        #[allow(missing_docs)]
        data: DataDirectory,
    },
    /// Remove an image by name, digest or id
    Rm {
        /// Name, digest or id
        name: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        data: DataDirectory,
    },
    /// Remove all that no name and no container uses
    Gc {
        #[command(flatten)]
        #[allow(missing_docs)]
        data: DataDirectory,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_takes_a_data_directory() {
        for words in [
            &["up"][..],
            &["env"],
            &["image", "load", "x.tar"],
            &["image", "ls"],
            &["image", "rm", "x"],
            &["image", "gc"],
            &["spot", "interrupt", "x"],
            &["doctor"],
            &["server"],
            &["agent", "--server", "http://127.0.0.1:1"],
            &["down"],
        ] {
            let words = ["roadstead"].iter().chain(words).chain(&["--data-dir", "/x"]);
            assert!(Cli::try_parse_from(words.clone()).is_ok(), "{words:?}");
        }
    }
}
