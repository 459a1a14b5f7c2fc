//! Docker's default seccomp profile as a table of facts: which system calls a container may make.
//!
//! Everything not named here fails with EPERM; clone3 fails with ENOSYS, so that the C library falls back to clone, whose flags
//! a filter can see.

use std::fs::File;
use std::io::{Read, Seek};

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use nix::sys::memfd::{MemFdCreateFlag, memfd_create};

/// System calls that every container may make.
const ALLOWED: &str = "accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 \
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep \
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 \
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit \
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 \
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat \
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait \
    futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid \
    getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom \
    getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt \
    get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init \
    inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64 \
    ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset \
    landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr \
    _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret \
    mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open \
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget \
    msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat \
    openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 \
    prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6 \
    pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg \
    recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall \
    rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max \
    sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity \
    sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop \
    semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 \
    setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 \
    setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area \
    set_tid_address setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd \
    signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink \
    symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun \
    timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 \
    timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat \
    uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

/// Those of one processor family.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &str = "arch_prctl modify_ldt";
/// Those of one processor family.
#[cfg(target_arch = "aarch64")]
const ALLOWED_HERE: &str =
    "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls";

/// Calling conventions that the filter covers: a call by another one is killed.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [ScmpArch; 3] = [ScmpArch::X8664, ScmpArch::X86, ScmpArch::X32];
/// Calling conventions that the filter covers: a call by another one is killed.
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [ScmpArch; 2] = [ScmpArch::Aarch64, ScmpArch::Arm];

/// (capability, the system calls that it unlocks).
const UNLOCKED: [(&str, &str); 14] = [
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module init_module finit_module"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("SYS_RAWIO", "iopl ioperm"),
    ("SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("SYS_TTY_CONFIG", "vhangup"),
    ("SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("SYSLOG", "syslog"),
    ("BPF", "bpf"),
    ("PERFMON", "perf_event_open"),
];

/// Execution domains (personality(2)) that may be chosen: Linux, 32 bit, old uname, both, and asking.
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// Address family of virtual machine sockets: they would reach the hypervisor around every network namespace.
const AF_VSOCK: u64 = 40;
/// CLONE_NEW…: a container without SYS_ADMIN makes no namespaces.
const CLONE_NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// Compiles the profile for a container with `capabilities` (without `CAP_`) into the program that seccomp(2) takes.
///
/// Compiling costs some 10 ms, loading none: the engine compiles once for each set of capabilities.
pub(crate) fn compile(capabilities: &[&str]) -> Result<Vec<u8>, String> {
    let words = |error: &dyn std::fmt::Display| format!("cannot compile the seccomp profile: {error}");
    let filter = build(capabilities).map_err(|error| words(&error))?;
    // libseccomp writes it to a file only.
    let memory = memfd_create(c"seccomp", MemFdCreateFlag::MFD_CLOEXEC).map_err(|error| words(&error))?;
    filter.export_bpf(&memory).map_err(|error| words(&error))?;
    let mut memory = File::from(memory);
    let mut program = Vec::new();
    memory.rewind().and_then(|()| memory.read_to_end(&mut program)).map_err(|error| words(&error))?;
    Ok(program)
}

fn build(capabilities: &[&str]) -> Result<ScmpFilterContext, SeccompError> {
    let mut filter = ScmpFilterContext::new(ScmpAction::Errno(libc::EPERM))?;
    for architecture in ARCHITECTURES {
        filter.add_arch(architecture)?;
    }
    // Whether no_new_privs is set is the container's choice, and done elsewhere.
    filter.set_ctl_nnp(false)?;
    // A search tree instead of a list of comparisons, for every call the container makes. Absent before libseccomp 2.5.
    let _ = filter.set_ctl_optimize(2);
    for name in allowed(capabilities) {
        allow(&mut filter, name, &[])?;
    }
    allow(&mut filter, "socket", &[ScmpArgCompare::new(0, ScmpCompareOp::NotEqual, AF_VSOCK)])?;
    for personality in PERSONALITIES {
        allow(&mut filter, "personality", &[ScmpArgCompare::new(0, ScmpCompareOp::Equal, personality)])?;
    }
    if !capabilities.contains(&"SYS_ADMIN") {
        let no_namespaces = ScmpArgCompare::new(0, ScmpCompareOp::MaskedEqual(CLONE_NAMESPACE_FLAGS), 0);
        allow(&mut filter, "clone", &[no_namespaces])?;
        if let Ok(call) = ScmpSyscall::from_name("clone3") {
            filter.add_rule(ScmpAction::Errno(libc::ENOSYS), call)?;
        }
    }
    Ok(filter)
}

/// The calls that may be made with any arguments.
fn allowed(capabilities: &[&str]) -> Vec<&'static str> {
    let mut names: Vec<&str> =
        ALLOWED.split_ascii_whitespace().chain(ALLOWED_HERE.split_ascii_whitespace()).collect();
    for (capability, calls) in UNLOCKED {
        if capabilities.contains(&capability) {
            names.extend(calls.split_ascii_whitespace());
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn allow(
    filter: &mut ScmpFilterContext,
    name: &str,
    arguments: &[ScmpArgCompare],
) -> Result<(), SeccompError> {
    // A name that this libseccomp does not know is a newer call: denied.
    let Ok(call) = ScmpSyscall::from_name(name) else { return Ok(()) };
    filter.add_rule_conditional(ScmpAction::Allow, call, arguments).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_unlock_calls() {
        let plain = allowed(&["SYS_CHROOT"]);
        for denied in [
            "mount",
            "unshare",
            "setns",
            "bpf",
            "keyctl",
            "add_key",
            "userfaultfd",
            "io_uring_setup",
            "kexec_load",
            "perf_event_open",
            "open_by_handle_at",
            "init_module",
            "reboot",
            "swapon",
            "clone",
            "clone3",
            "socket",
        ] {
            assert!(!plain.contains(&denied), "{denied}");
        }
        assert!(plain.contains(&"chroot") && plain.contains(&"read"));
        let admin = allowed(&["SYS_ADMIN"]);
        assert!(admin.contains(&"mount") && admin.contains(&"clone3") && !admin.contains(&"reboot"));
    }

    #[test]
    fn the_profile_compiles() {
        let program = compile(&["SYS_ADMIN", "SYS_CHROOT"]).unwrap();
        assert!(program.len() > 1000 && program.len().is_multiple_of(8), "{}", program.len());
    }
}
