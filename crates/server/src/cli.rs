//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use base::{AccountId, Region};
use clap::{Args, Parser, Subcommand, ValueEnum};

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
}

/// `up`: a control plane and a node.
#[derive(Clone, Debug, Args)]
pub struct UpArguments {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub server: ServerArguments,
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

/// `image`: what to do with images.
#[derive(Clone, Debug, Args)]
pub struct ImageArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: ImageCommand,
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
