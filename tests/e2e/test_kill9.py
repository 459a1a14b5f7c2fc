"""kill -9 at random moments: nothing acked is lost, nothing is doubled, containers run on."""

import itertools
import random
import threading
import time

import botocore.exceptions
import pytest
from conftest import busybox_archive, wait_for

CALLS = 200
KILLS = 5
SEED = 20261122


def register(ecs):
    ecs.register_task_definition(
        family="sleeper",
        networkMode="none",
        containerDefinitions=[
            {
                "name": "main",
                "image": "busybox:latest",
                "memory": 16,
                "cpu": 1,
                "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done"],
                "stopTimeout": 2,
            }
        ],
    )


class Killer(threading.Thread):
    """Kills and starts the process again at random moments, until told to end."""

    def __init__(self, roadstead, rng):
        super().__init__(daemon=True)
        self.roadstead, self.rng = roadstead, rng
        self.done = threading.Event()
        self.kills = 0
        self.error = None

    def run(self):
        try:
            while not self.done.wait(self.rng.uniform(0.5, 2.0)):
                self.roadstead.kill()
                self.kills += 1
                self.roadstead.start()
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.error = error


def until_answered(call):
    """Calls until an answer comes; connection errors are the kills. Says whether any try went unanswered."""
    unanswered = 0
    deadline = time.monotonic() + 60
    while True:
        try:
            return call(), unanswered
        except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError):
            unanswered += 1
            assert time.monotonic() < deadline
            time.sleep(0.05)




@pytest.mark.parametrize("seed", [SEED])
def test_f01_kill_9_during_200_calls(fresh, seed):
    roadstead = fresh("--over-commit", "1000")
    roadstead.load(busybox_archive(), tag="busybox:latest")
    rng = random.Random(seed)
    register(roadstead.client("ecs"))
    ecs = roadstead.client("ecs")
    killer = Killer(roadstead, random.Random(seed + 1))
    killer.start()
    tasks = {}  # arn -> "run" or "stop", as acked
    try:
        for number in itertools.count():
            # On a fast machine the calls are over before the kills are: then there are more calls.
            if number >= CALLS and (killer.kills >= KILLS or killer.error):
                break
            running = [arn for arn, wish in tasks.items() if wish == "run"]
            if running and (len(running) > 20 or rng.random() < 0.4):
                arn = rng.choice(running)
                until_answered(lambda: ecs.stop_task(task=arn, reason=f"call {number}"))
                tasks[arn] = "stop"
            else:
                token = f"call-{seed}-{number}"
                answer, _ = until_answered(
                    lambda: ecs.run_task(taskDefinition="sleeper", clientToken=token, startedBy=token)
                )
                assert not answer["failures"], answer["failures"]
                (task,) = answer["tasks"]
                tasks[task["taskArn"]] = "run"
    finally:
        killer.done.set()
        killer.join()
    assert killer.error is None, killer.error
    assert killer.kills >= KILLS

    wanted = {arn for arn, wish in tasks.items() if wish == "run"}

    def listed(status):
        pages = ecs.get_paginator("list_tasks").paginate(desiredStatus=status)
        return {arn for page in pages for arn in page["taskArns"]}

    assert listed("RUNNING") == wanted, "what was acked to run is wanted, and nothing else"

    def describe(arns):
        arns, found = sorted(arns), []
        for start in range(0, len(arns), 100):
            found += ecs.describe_tasks(tasks=arns[start : start + 100])["tasks"]
        return found

    wait_for(
        lambda: all(task["lastStatus"] == "RUNNING" for task in describe(wanted)), 60, "every wanted task RUNNING"
    )
    stopped = set(tasks) - wanted
    wait_for(
        lambda: all(task["lastStatus"] == "STOPPED" for task in describe(stopped)), 60, "every stopped task STOPPED"
    )
    live = roadstead.live_containers()
    assert sorted(live) == sorted(arn.rsplit("/", 1)[1] for arn in wanted), "one container a task, and no other"

    # Containers run on through one more kill.
    pids = roadstead.live_containers()
    roadstead.kill()
    assert roadstead.live_containers() == pids
    roadstead.start()
    wait_for(lambda: all(task["lastStatus"] == "RUNNING" for task in describe(wanted)), 30, "adoption")
    assert roadstead.live_containers() == pids, "adopted, not started again"
