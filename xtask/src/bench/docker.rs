//! Docker as a peer: a daemon of its own, with its own mounts, network namespace and cgroup, so that nothing of it stays.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::process::{Process, run, wait_for};
use super::roadstead::busybox;

/// How long anything of it may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running dockerd with its containerd. Ended when dropped.
pub struct Docker {
    /// The process.
    pub process: Process,
    socket: PathBuf,
    run_directory: PathBuf,
    cgroup: String,
    /// Where its data is.
    pub data: PathBuf,
}

impl Docker {
    /// Starts one with the image `busybox:latest`; `Err`: why there is none.
    pub fn start(directory: &Path) -> Result<Self, String> {
        run(&["dockerd", "--version"])
            .map_err(|error| format!("no dockerd ({error}); Debian has it as docker.io"))?;
        let name = format!("roadstead-bench-{}", std::process::id());
        let run_directory = PathBuf::from("/run").join(&name);
        std::fs::create_dir_all(&run_directory).map_err(|error| error.to_string())?;
        let socket = run_directory.join("docker.sock");
        let data = directory.join("docker");
        let script = format!(
            "ip link set lo up && exec dockerd --data-root {data} --exec-root {run}/exec --pidfile {run}/pid \
             --host unix://{socket} --iptables=false --ip6tables=false --cgroup-parent /{name} --storage-driver overlay2",
            data = data.display(),
            run = run_directory.display(),
            socket = socket.display(),
        );
        let words = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", &script];
        let process = Process::start(&words, &[], &directory.join("dockerd.log"))?;
        let mut docker = Self { process, socket, run_directory, cgroup: name, data };
        wait_for("dockerd", PATIENCE, || {
            if docker.process.has_ended() {
                let log = std::fs::read_to_string(directory.join("dockerd.log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default().to_owned();
                return Err(format!("dockerd does not start: {last}"));
            }
            Ok(docker.api("GET", "/_ping", &Value::Null).ok())
        })?;
        let archive = directory.join("docker-busybox.tar");
        busybox(&archive)?;
        docker.cli(&["load", "-i", &archive.display().to_string()])?;
        Ok(docker)
    }

    /// Where its sockets are.
    pub fn run_directory(&self) -> &Path {
        &self.run_directory
    }

    /// `docker …`.
    pub fn cli(&self, words: &[&str]) -> Result<String, String> {
        let host = format!("unix://{}", self.socket.display());
        let mut all = vec!["docker", "--host", &host];
        all.extend(words);
        run(&all)
    }

    /// One call of the Engine API.
    pub fn api(&self, method: &str, path: &str, input: &Value) -> Result<Value, String> {
        let body = if input.is_null() { String::new() } else { input.to_string() };
        let exchange = || {
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(
                stream,
                "{method} {path} HTTP/1.0\r\nhost: docker\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            )?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = exchange().map_err(|error| format!("docker {path}: {error}"))?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer from dockerd")?;
        if !head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
            return Err(format!("docker {path}: {}", body.trim()));
        }
        Ok(serde_json::from_str(body).unwrap_or_default())
    }

    /// Makes it a Swarm of one.
    pub fn swarm(&self) -> Result<(), String> {
        let input = json!({"ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1:2377"});
        self.api("POST", "/swarm/init", &input).map(drop)
    }

    /// Creates a service of `count` busybox containers, and returns when all are running.
    pub fn run_service(
        &self,
        name: &str,
        count: usize,
        host_network: bool,
        script: &str,
        grace: Duration,
    ) -> Result<(), String> {
        let mut specification = json!({
            "Name": name,
            "TaskTemplate": {"ContainerSpec": {
                "Image": "busybox:latest", "Command": ["sh", "-c", script],
                "StopGracePeriod": grace.as_nanos() as u64,
            }},
            "Mode": {"Replicated": {"Replicas": count}},
        });
        if host_network {
            specification["TaskTemplate"]["Networks"] = json!([{"Target": "host"}]);
        }
        self.api("POST", "/services/create", &specification)?;
        let path = format!("/tasks?filters=%7B%22service%22%3A%5B%22{name}%22%5D%7D");
        wait_for("the Swarm service's tasks", PATIENCE, || {
            let tasks = self.api("GET", &path, &Value::Null)?;
            let tasks = tasks.as_array().cloned().unwrap_or_default();
            let running = tasks.iter().filter(|task| task["Status"]["State"] == "running").count();
            Ok((running == count).then_some(()))
        })
    }

    /// Removes a service, and returns when none of its containers is running.
    pub fn end_service(&self, name: &str) -> Result<(), String> {
        self.api("DELETE", &format!("/services/{name}"), &Value::Null)?;
        self.wait_until_idle()
    }

    /// Returns when no container is running.
    pub fn wait_until_idle(&self) -> Result<(), String> {
        wait_for("docker's containers to end", PATIENCE, || {
            let containers = self.api("GET", "/containers/json", &Value::Null)?;
            Ok(containers.as_array().is_some_and(Vec::is_empty).then_some(()))
        })
    }

    /// Removes every container.
    pub fn remove_all(&self) -> Result<(), String> {
        let all = self.api("GET", "/containers/json?all=true", &Value::Null)?;
        for container in all.as_array().into_iter().flatten() {
            let id = container["Id"].as_str().unwrap_or_default();
            let _ = self.api("DELETE", &format!("/containers/{id}?force=true"), &Value::Null);
        }
        self.wait_until_idle()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = self.remove_all();
        self.process.end();
        let _ = std::fs::remove_dir_all(&self.run_directory);
        for controller in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(controller.path().join(&self.cgroup));
        }
    }
}
