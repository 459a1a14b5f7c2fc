"""`make demo`: examples/insurance from start to an update under load, and that Ctrl-C leaves nothing behind."""

import os
import re
import signal
import subprocess
import time

from conftest import BINARY, ROOT, free_port, left_behind, machine_state


def test_the_demo_runs_and_leaves_nothing_behind():
    before = machine_state()
    environment = {
        **os.environ,
        "ROADSTEAD": str(BINARY),
        "DEMO_PROGRAMS": str(BINARY.parent),
        "DEMO_ONCE": "1",
        "DEMO_LISTEN": f"127.0.0.1:{free_port()}",
    }
    done = subprocess.run(
        [ROOT / "scripts/demo.sh"], env=environment, capture_output=True, text=True, timeout=400, cwd="/"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^URL: http://\S+/$", done.stdout, re.M), done.stdout
    assert "<h1>Insurance</h1>" in done.stdout, "the frontend's page"
    assert '"version":"1"' in done.stdout and '"version":"2"' in done.stdout, "the backend's health, before and after"
    assert "The deployment is COMPLETED" in done.stdout
    sent, failed = map(int, re.search(r"Meanwhile: (\d+) requests, (\d+) failed", done.stdout).groups())
    assert sent > 100 and failed == 0, done.stdout
    assert '"premium_cents":43800' in done.stdout, "the sidecar's log"
    assert left_behind(before) == {}


def test_ctrl_c_stops_everything(tmp_path):
    before = machine_state()
    environment = {**os.environ, "ROADSTEAD": str(BINARY), "DEMO_PROGRAMS": str(BINARY.parent), "DEMO_LISTEN": f"127.0.0.1:{free_port()}"}
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
        # What a terminal does: the signal goes to the whole foreground process group. Whoever is impatient sends more of them.
        for _ in range(3):
            os.killpg(demo.pid, signal.SIGINT)
            time.sleep(0.05)
        printed.append(demo.stdout.read())
        assert demo.wait(timeout=60) == 130, "".join(printed)
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGTERM)
            demo.wait()
    assert left_behind(before) == {}
