//! From the answer of AuthorizeSecurityGroupIngress to the first connection that a task takes, and from that of
//! RevokeSecurityGroupIngress to the last one. Connections are tried one after the other, each with little patience: a dropped SYN
//! would be sent again only after a second.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::caller::Caller;
use super::compare::{load_average, quantile};
use super::roadstead::{Roadstead, Work, end_tasks, run_tasks, wait_for_status};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "security-groups",
    about: "a rule's change until it acts on a task that runs, among 20 tasks and 100 groups",
    run,
};

const TASKS: usize = 10;
const CALLS: usize = 2;
const OTHER_GROUPS: usize = 100;
const CHANGES_A_PAIR: usize = 40;
/// How long one connection is waited for: a task on this machine takes it in a tenth of that.
const CONNECT_PATIENCE: Duration = Duration::from_millis(1);
/// How long a change may take at all.
const PATIENCE: Duration = Duration::from_secs(5);

fn run(setup: &Setup) -> Result<(), String> {
    let roadstead = Roadstead::up(&setup.directory.join("ours"))?;
    let mut caller = roadstead.caller();
    let caller = &mut caller;
    let vpc = between(&caller.ec2("DescribeVpcs")?, "vpcId")?;
    let default = between(&caller.ec2("DescribeSecurityGroups")?, "groupId")?;
    for number in 0..OTHER_GROUPS {
        let made = format!("CreateSecurityGroup&GroupName=other-{number}&GroupDescription=other&VpcId={vpc}");
        let id = between(&caller.ec2(&made)?, "groupId")?;
        caller.ec2(&change("AuthorizeSecurityGroupIngress", &id))?;
    }
    let work = Work::new("web", "awsvpc", "echo x > /index.html; exec httpd -f -p 80 -h /");
    work.register(caller)?;
    let input = work.run_input(caller, TASKS)?;
    let mut arns = Vec::new();
    for _ in 0..CALLS {
        arns.extend(run_tasks(caller, &input)?);
    }
    wait_for_status(caller, &arns, "RUNNING")?;
    let described = caller.ecs("DescribeTasks", &json!({"tasks": [arns[0]]}))?;
    let details = described["tasks"][0]["attachments"][0]["details"].as_array().cloned().unwrap_or_default();
    let address = details.iter().find(|detail| detail["name"] == "privateIPv4Address");
    let address = address.and_then(|detail| detail["value"].as_str()).ok_or("a task without an address")?;
    let target: SocketAddr = format!("{address}:80").parse().map_err(|_| "no address")?;
    let (mut opened, mut closed) = (Vec::new(), Vec::new());
    for _ in 0..setup.pairs * CHANGES_A_PAIR {
        opened.push(acts(caller, "AuthorizeSecurityGroupIngress", &default, target, true)?);
        closed.push(acts(caller, "RevokeSecurityGroupIngress", &default, target, false)?);
    }
    for (what, values) in [("authorized to connected", &opened), ("revoked to refused", &closed)] {
        println!(
            "    {what}: p50 {:.2} ms, p99 {:.2} ms, slowest {:.2} ms of {}",
            quantile(values, 0.5),
            quantile(values, 0.99),
            quantile(values, 1.0),
            values.len()
        );
    }
    println!("    load average {}", load_average());
    end_tasks(caller, &arns)
}

fn change(operation: &str, group: &str) -> String {
    format!("{operation}&GroupId={group}&IpProtocol=tcp&FromPort=80&ToPort=80&CidrIp=0.0.0.0%2F0")
}

/// Milliseconds from the answer until connections meet the change.
fn acts(
    caller: &mut Caller,
    operation: &str,
    group: &str,
    target: SocketAddr,
    open: bool,
) -> Result<f64, String> {
    caller.ec2(&change(operation, group))?;
    let answered = Instant::now();
    loop {
        // What is decided is decided when the SYN comes: the time counts from before it.
        let tried = answered.elapsed();
        if TcpStream::connect_timeout(&target, CONNECT_PATIENCE).is_ok() == open {
            return Ok(tried.as_secs_f64() * 1e3);
        }
        if answered.elapsed() > PATIENCE {
            return Err(format!("{operation} does not act"));
        }
    }
}

fn between(answer: &str, element: &str) -> Result<String, String> {
    let rest = answer.split(&format!("<{element}>")).nth(1);
    let text = rest.and_then(|rest| rest.split('<').next());
    text.map(str::to_owned).ok_or_else(|| format!("no {element} in the answer"))
}
