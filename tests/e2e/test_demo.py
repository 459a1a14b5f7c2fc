"""`make demo` as far as its log lines, and that nothing is left behind."""

import os
import subprocess

from conftest import BINARY, ROOT, free_port, machine_state


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
    assert machine_state() == before
