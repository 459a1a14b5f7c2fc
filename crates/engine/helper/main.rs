//! The tests' second process: the shim, an agent that is killed, and programs that try forbidden things.

#![allow(unsafe_code, clippy::print_stdout)]

use std::process::ExitCode;

use engine::{ContainerSpec, Engine, EngineConfig, ShimCommand};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().and_then(|mode| mode.into_string().ok()).as_deref() {
        Some("internal-shim") => engine::shim_main(arguments),
        Some("agent") => {
            let arguments: Vec<String> =
                arguments.filter_map(|argument| argument.into_string().ok()).collect();
            agent(&arguments)
        }
        Some("effective-user") => {
            println!("{}", nix::unistd::geteuid());
            ExitCode::SUCCESS
        }
        Some("call") => {
            for name in arguments.filter_map(|name| name.into_string().ok()) {
                println!("{}", call(&name));
            }
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

/// `agent ROOT CGROUP SPEC.json`: creates and starts the container, says so, and waits to be killed.
fn agent(arguments: &[String]) -> ExitCode {
    let [root, cgroup, spec] = arguments else { return ExitCode::FAILURE };
    let spec: ContainerSpec = serde_json::from_slice(&std::fs::read(spec).unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let config = EngineConfig {
            root: root.into(),
            shim: ShimCommand::current_executable(),
            cgroup_root: cgroup.clone(),
        };
        let engine = Engine::open(config).unwrap();
        let id = spec.id.clone();
        engine.create(spec).await.unwrap();
        engine.start(&id).await.unwrap();
        println!("started");
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

/// `call NAME...`: makes system calls that a container should not get through, and prints their errnos.
fn call(name: &str) -> i32 {
    let [x, y] = [0_usize; 2];
    let null = std::ptr::null::<libc::c_char>();
    // SAFETY: null pointers and plain numbers only; the kernel refuses what it cannot use. The clone makes a thread-less copy
    // which exits at once.
    let answer = unsafe {
        match name {
            "mount" => {
                libc::syscall(libc::SYS_mount, c"none".as_ptr(), c"/tmp".as_ptr(), c"tmpfs".as_ptr(), 0, null)
            }
            "unshare-user" => libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER),
            "clone-user" => {
                let pid = libc::syscall(libc::SYS_clone, libc::CLONE_NEWUSER | libc::SIGCHLD, x, x, x, x);
                if pid == 0 {
                    libc::_exit(0);
                }
                pid
            }
            "clone3" => libc::syscall(libc::SYS_clone3, null, 0),
            "setns" => libc::syscall(libc::SYS_setns, -1, 0),
            "keyctl" => libc::syscall(libc::SYS_keyctl, 0, -3, 1, x, y),
            "add_key" => {
                libc::syscall(libc::SYS_add_key, c"user".as_ptr(), c"d".as_ptr(), c"x".as_ptr(), 1, -2)
            }
            "bpf" => libc::syscall(libc::SYS_bpf, 0, null, 0),
            "perf_event_open" => libc::syscall(libc::SYS_perf_event_open, null, 0, -1, -1, 0),
            "userfaultfd" => libc::syscall(libc::SYS_userfaultfd, 0),
            "io_uring_setup" => libc::syscall(libc::SYS_io_uring_setup, 1, null),
            "kexec_load" => libc::syscall(libc::SYS_kexec_load, 0, 0, null, 0),
            "swapon" => libc::syscall(libc::SYS_swapon, null, 0),
            "socket-vsock" => libc::syscall(libc::SYS_socket, libc::AF_VSOCK, libc::SOCK_STREAM, 0),
            "personality-odd" => libc::syscall(libc::SYS_personality, 0x004_0000),
            "nfsservctl" => libc::syscall(libc::SYS_nfsservctl, 0, null, null),
            _ => return -1,
        }
    };
    if answer >= 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(-1) }
}
