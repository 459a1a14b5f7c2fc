"""Version 2 of the AWS CLI (Debian's): the main path, and `aws logs tail --follow`, which version 1 does not have."""

import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

AWS = pathlib.Path("/usr/bin/aws")
GROUP = "/cli-v2"
LINES = 40
SCRIPT = f"n=0; while [ $n -lt {LINES} ]; do n=$((n+1)); echo line $n; sleep 0.1; done"


class Cli:
    """The CLI, with what `roadstead env` says. Versions before 2.13 do not read AWS_ENDPOINT_URL."""

    def __init__(self, roadstead):
        self.begin = [str(AWS), "--endpoint-url", roadstead.endpoint]
        self.env = {**os.environ, **roadstead.environment(), "AWS_PAGER": "", "PYTHONUNBUFFERED": "1"}

    def __call__(self, *arguments):
        command = [*self.begin, *arguments, "--output", "json"]
        done = subprocess.run(command, capture_output=True, text=True, env=self.env, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def text(self, *arguments):
        done = subprocess.run([*self.begin, *arguments], capture_output=True, text=True, env=self.env, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *arguments):
        return subprocess.Popen([*self.begin, *arguments], stdout=subprocess.PIPE, text=True, env=self.env)


@pytest.fixture
def aws(shared):
    said = subprocess.run([AWS, "--version"], capture_output=True, text=True).stdout if AWS.exists() else ""
    if not said.startswith("aws-cli/2."):
        pytest.skip("version 2 of the AWS CLI is not installed (Debian's package awscli)")
    return Cli(shared)


def test_logs_tail_follows_a_task(aws):
    options = {"awslogs-group": GROUP, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "tail"}
    container = {
        "name": "main",
        "image": "busybox:latest",
        "memory": 32,
        "command": ["sh", "-c", SCRIPT],
        "logConfiguration": {"logDriver": "awslogs", "options": options},
    }
    aws("logs", "create-log-group", "--log-group-name", GROUP)
    aws("ecs", "register-task-definition", "--family", "cli-v2", "--network-mode", "none", "--container-definitions", json.dumps([container]))
    tail = aws.start("logs", "tail", GROUP, "--follow", "--format", "short")
    try:
        task = aws("ecs", "run-task", "--task-definition", "cli-v2")["tasks"][0]["taskArn"]
        followed = [tail.stdout.readline() for _ in range(LINES)]
    finally:
        tail.send_signal(signal.SIGINT)
        tail.communicate(timeout=30)
    # `--format short` is the time to the second, and the message.
    assert [re.fullmatch(r"[-0-9]+T[:0-9]+ (.*)\n", line).group(1) for line in followed] == [f"line {n}" for n in range(1, LINES + 1)]

    aws("ecs", "wait", "tasks-stopped", "--tasks", task)
    (stopped,) = aws("ecs", "describe-tasks", "--tasks", task)["tasks"]
    assert (stopped["stopCode"], stopped["containers"][0]["exitCode"]) == ("EssentialContainerExited", 0)
    stream = f"tail/main/{task.rsplit('/', 1)[1]}"
    filtered = aws.text("logs", "tail", GROUP, "--since", "5m", "--filter-pattern", '"line 40"')
    assert re.fullmatch(rf"\S+ {re.escape(stream)} line 40\n", filtered), filtered
    aws("logs", "delete-log-group", "--log-group-name", GROUP)
