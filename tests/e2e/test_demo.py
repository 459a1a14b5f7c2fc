"""`make demo` as far as its log lines, and that Ctrl-C leaves nothing behind."""

import os
import signal
import subprocess

from conftest import BINARY, ROOT, free_port, left_behind, machine_state


def test_the_demo_runs_and_leaves_nothing_behind():
    before = machine_state()
    environment = {
        **os.environ,
        "ROADSTEAD": str(BINARY),
        "DEMO_ONCE": "1",
        "DEMO_LISTEN": f"127.0.0.1:{free_port()}",
    }
    done = subprocess.run(
        [ROOT / "scripts/demo.sh"], env=environment, capture_output=True, text=True, timeout=180, cwd="/"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hello: from a container that Roadstead runs" in done.stdout
    assert "this line comes from examples/hello/task-definition.json" in done.stdout
    assert "hello from Roadstead" in done.stdout, "the task answers on its own address"
    assert left_behind(before) == {}


def test_ctrl_c_stops_everything(tmp_path):
    before = machine_state()
    environment = {**os.environ, "ROADSTEAD": str(BINARY), "DEMO_LISTEN": f"127.0.0.1:{free_port()}"}
    demo = subprocess.Popen(
        [ROOT / "scripts/demo.sh"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    printed = []
    try:
        for line in demo.stdout:
            printed.append(line)
            if "Ctrl-C stops everything" in line:
                break
        # What a terminal does: the signal goes to the whole foreground process group.
        os.killpg(demo.pid, signal.SIGINT)
        printed.append(demo.stdout.read())
        assert demo.wait(timeout=60) == 130, "".join(printed)
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGTERM)
            demo.wait()
    assert left_behind(before) == {}
