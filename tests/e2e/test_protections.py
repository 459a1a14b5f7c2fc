"""A test per protection: the denied thing is tried in a container of a task, and fails.

That the trial itself works is shown by a container that is allowed to.
"""

import platform
import shutil
import struct

import pytest
from task_cases import all_ran, linux, ran, runs, scratch_directory, shell  # noqa: F401 - fixtures

PROGRAMS = scratch_directory("protections")
# Nearly every capability: what denies a call then is the filter alone.
ALMOST_ALL = {"add": ["ALL"], "drop": ["SYS_ADMIN", "SYSLOG", "SYS_BOOT", "SYS_MODULE", "SYS_RAWIO"]}
EPERM = 1
CONTENT = {}


@pytest.fixture(scope="module", autouse=True)
def scratch():
    PROGRAMS.mkdir()
    for name, content in CONTENT.items():
        (PROGRAMS / name).write_bytes(content)
        (PROGRAMS / name).chmod(0o755)
    yield
    shutil.rmtree(PROGRAMS)


def system_call(name, number, *arguments):
    """A program of a few instructions (x86-64) that makes one system call and exits with its errno."""
    code = b""
    for register, value in zip((b"\x48\xbf", b"\x48\xbe", b"\x48\xba"), arguments):
        code += register + struct.pack("<q", value)
    # mov eax, number; syscall; neg eax; mov edi, eax; mov eax, 60 (exit); syscall. Negative after neg: it succeeded.
    code += b"\xb8" + struct.pack("<I", number) + b"\x0f\x05\xf7\xd8\x79\x02\x31\xc0\x89\xc7\xb8\x3c\x00\x00\x00\x0f\x05"
    base = 0x400000
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, 120 + len(code), 120 + len(code), 0x1000)
    CONTENT[name] = header + segment + code
    return name


CLONE_NEWUSER = 0x10000000
# Numbers: arch/x86/entry/syscalls/syscall_64.tbl.
CALLS = [
    system_call("mount", 165, 0, 0, 0),
    system_call("unshare", 272, CLONE_NEWUSER),
    system_call("setns", 308, 0, 0),
    system_call("keyctl", 250, 0, -2, 1),
    system_call("add_key", 248, 0, 0, 0),
    system_call("bpf", 321, 0, 0, 0),
    system_call("perf_event_open", 298, 0, 0, 0),
    system_call("userfaultfd", 323, 0),
    system_call("io_uring_setup", 425, 1, 0),
    system_call("kexec_load", 246, 0, 0, 0),
    system_call("swapon", 167, 0, 0),
    system_call("open_by_handle_at", 304, 0, 0, 0),
]
ALLOWED = system_call("getpid", 39)


def calls(*names, **parameters):
    script = "; ".join(f"/programs/{name}; echo {name} $?" for name in names)
    return shell(script, mountPoints=[{"sourceVolume": "programs", "containerPath": "/programs", "readOnly": True}], **parameters)


VOLUMES = [{"name": "programs", "host": {"sourcePath": str(PROGRAMS)}}]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the programs are x86-64's")
@runs(calls(ALLOWED, *CALLS, **linux(capabilities=ALMOST_ALL)), label="filtered", volumes=VOLUMES)
@runs(calls(ALLOWED, *CALLS, user="app"), label="user", volumes=VOLUMES)
@runs(calls("keyctl", "add_key", "userfaultfd", "unshare", privileged=True), label="privileged", volumes=VOLUMES)
def test_seccomp_denies(ran):
    for label in ("filtered", "user"):
        results = dict(line.split() for line in ran[label].lines())
        assert results.pop(ALLOWED) == "0", "the trial works"
        allowed = {name for name, errno in results.items() if int(errno) != EPERM}
        # Docker's profile lets these through with CAP_DAC_READ_SEARCH, CAP_BPF and CAP_PERFMON; the user has none.
        assert allowed <= ({"open_by_handle_at", "bpf", "perf_event_open"} if label == "filtered" else set())
    results = dict(line.split() for line in ran["privileged"].lines())
    assert all(int(errno) != EPERM for errno in results.values()), f"without the filter the kernel answers: {results}"


CAPABILITIES = "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | awk '{print $2}'; grep Seccomp: /proc/self/status"


@runs(shell(CAPABILITIES), label="root")
@runs(shell(CAPABILITIES, user="app"), label="user")
@runs(shell(CAPABILITIES), label="bridge", networkMode="bridge")
def test_default_capabilities_are_exactly_docker_s(ran):
    none, docker = "0" * 16, "00000000a80425fb"
    for label in ("root", "bridge"):
        assert ran[label].lines() == [none, docker, docker, docker, none, "Seccomp:\t2"], label
    assert ran["user"].lines() == [none, none, none, docker, none, "Seccomp:\t2"]


ADMINISTRATION = """
        mkdir /tmp/m
        mount -t tmpfs none /tmp/m 2>/dev/null && echo mount
        mount -t proc none /tmp/m 2>/dev/null && echo mount proc
        mount -o remount,rw /sys 2>/dev/null && echo remount
        umount /proc/sys 2>/dev/null && echo umount
        unshare -m true 2>/dev/null && echo unshare
        hostname other 2>/dev/null && echo hostname
        ip link set lo mtu 1400 2>/dev/null && echo network
        date -s 2020-01-01 2>&1 | grep -q "can't set date" || echo date
        dmesg >/dev/null 2>&1 && echo dmesg
        reboot -f 2>/dev/null && echo reboot
        swapoff -a 2>/dev/null && grep -q . /proc/swaps && echo swapoff
        nice -n -10 true 2>/dev/null && echo nice
        """


@runs(shell(ADMINISTRATION))
@runs(shell(ADMINISTRATION), label="bridge", networkMode="bridge")
def test_administration_is_denied(ran):
    for label in ran:
        allowed = [line for line in ran[label].lines() if line != "nice"]
        assert allowed == [], label


MASKED = """
        for path in /proc/sys/kernel/hostname /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches /proc/sys/net/ipv4/ip_forward \
            /proc/sysrq-trigger /proc/irq/default_smp_affinity /proc/bus/x /sys/kernel/mm/transparent_hugepage/enabled; do
            (cat $path > /tmp/old; cat /tmp/old > $path) 2>/dev/null && echo wrote $path
        done
        for path in /proc/kcore /proc/keys /proc/timer_list /proc/latency_stats /proc/sched_debug; do
            [ "$(head -c 1 $path 2>/dev/null | wc -c)" = 0 ] || echo read $path
        done
        for path in /proc/acpi /proc/scsi /sys/firmware /sys/devices/virtual/powercap; do
            [ -z "$(ls $path 2>/dev/null)" ] || echo listed $path
        done
        touch /sys/x 2>/dev/null && echo touched
        for file in $(find /sys/fs/cgroup -maxdepth 2 -name 'tasks' -o -maxdepth 2 -name cgroup.procs -o -maxdepth 2 -name release_agent); do
            (echo 1 > $file) 2>/dev/null && echo wrote $file
        done
        awk '$2 ~ "^/sys" && $4 !~ "(^|,)ro(,|$)" && $3 != "tmpfs" {print "writable", $2}' /proc/mounts
        """


@runs(shell(MASKED))
@runs(shell(MASKED), label="bridge", networkMode="bridge")
def test_proc_and_sys_are_masked_or_read_only(ran):
    for label in ran:
        assert ran[label].lines() == [], label


@runs(
    shell(
        "ls /dev | xargs; for number in '1 1' '1 2' '1 4' '10 237' '8 0' '254 0' '10 229' '1 11'; do rm -f /tmp/n; mknod /tmp/n c $number "
        "&& head -c 1 /tmp/n >/dev/null 2>&1 && echo c $number; rm -f /tmp/n; mknod /tmp/n b $number "
        "&& head -c 1 /tmp/n >/dev/null 2>&1 && echo b $number; done"
    )
)
def test_other_devices_are_denied(ran):
    listed, *opened = ran.lines()
    assert listed == "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert opened == []


@runs(shell("ps | wc -l; ls /proc | grep -c '^[0-9]'; kill -0 2 2>/dev/null && echo other; ls /proc/1/fd | wc -l; cat /proc/1/cgroup"))
def test_the_host_s_processes_are_out_of_sight(ran):
    processes, numbers, *rest = ran.lines()
    assert int(processes) <= 5 and int(numbers) <= 4
    assert "other" not in rest
    assert not any(ran.id in line for line in rest), "its cgroup looks like the root of all"


@runs(shell("tr '\\0' ' ' < /proc/1/cmdline; cat /proc/1/comm; cat /proc/[0-9]*/cmdline; echo", **linux(initProcessEnabled=True)), label="init")
@runs(shell("tr '\\0' ' ' < /proc/1/cmdline; cat /proc/1/comm; cat /proc/[0-9]*/cmdline; echo"), label="shared", pidMode="task")
def test_our_own_processes_show_nothing_of_the_host(ran):
    for label in ran:
        lines = ran[label].lines()
        assert lines[0].split() == ["init", "init"] or lines[0].strip() == "init", lines
        assert not any("/var/lib" in line or "roadstead" in line or "shim" in line for line in lines), lines


@runs(shell("trap 'exit 0' TERM; while :; do sleep 0.2; done"))
def test_a_fork_bomb_has_a_limit(ran):
    assert int(ran.cgroup("pids/pids.max", "pids.max", of="task")) == 4096
