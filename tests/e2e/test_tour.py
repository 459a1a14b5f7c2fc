"""The README's tour, run as written: every claim that it makes is looked for in what the commands print."""

import os
import re
import subprocess

from conftest import BINARY, ROOT, busybox_archive


def tour_blocks():
    text = (ROOT / "README.md").read_text()
    tour = text.split("<!-- tour:", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```sh\n(.*?)```", tour, re.S)


def script_and_claims():
    """One script that prints a mark after each claimed command, and the claims in order."""
    script, claims = [], []
    for block in tour_blocks():
        for line in block.splitlines():
            if line.startswith("# prints:"):
                claims.append(line.removeprefix("# prints:").strip(" "))
                script.append(f"echo; echo '<<claim {len(claims)}>>'")
            else:
                script.append(line)
    return "\n".join(script), claims


def test_the_tour_holds_every_claim(fresh, tmp_path):
    roadstead = fresh()
    script, claims = script_and_claims()
    assert len(claims) >= 10
    (tmp_path / "busybox.tar").symlink_to(busybox_archive())
    environment = {
        **os.environ,
        "PATH": f"{ROOT}/target/venv/bin:{BINARY.parent}:{os.environ['PATH']}",
        "ROADSTEAD_DATA_DIR": str(roadstead.data_dir),
        "AWS_PAGER": "",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr + roadstead.log_text()[-3000:]
    printed = re.split(r"<<claim \d+>>", done.stdout)
    for claim, text in zip(claims, printed):
        assert claim in text, f"the tour claims {claim!r}, but the command printed {text!r}"
