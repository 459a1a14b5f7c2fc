"""Deployments on real containers with the AWS CLI: pauses and functions at their hooks, a control plane that is killed on the
way, an image that crashes."""

import http.server
import json
import threading

import pytest
from conftest import busybox_archive, wait_for

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:check"
SLEEP = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


class Function:
    """What a hook's function is reached at: remembers its events, and answers in turn; the last answer for ever."""

    def __init__(self, *answers):
        self.events = []
        self.answers = list(answers)
        function = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                function.events.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                status, answer = function.answers.pop(0) if len(function.answers) > 1 else function.answers[0]
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.option = f"{FUNCTION}=http://127.0.0.1:{self.server.server_port}/check"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def function():
    made = []

    def make(*answers):
        made.append(Function(*answers))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Web:
    """The service `web` of two tasks."""

    def __init__(self, roadstead):
        self.roadstead = roadstead
        roadstead.load(busybox_archive(), tag="busybox:latest")
        self.register("blue", SLEEP)
        self.register("green", SLEEP)
        self.register("broken", "exit 1")
        made = roadstead.aws("ecs", "create-service", "--service-name", "web", "--task-definition", "blue",
                             "--desired-count", 2, "--launch-type", "EC2")
        self.arn = made["service"]["currentServiceDeployment"]
        self.until("SUCCESSFUL")

    def register(self, family, command):
        container = {"name": "app", "image": "busybox", "memory": 32, "command": ["sh", "-c", command]}
        self.roadstead.aws("ecs", "register-task-definition", "--family", family, "--network-mode", "host",
                           "--container-definitions", json.dumps([container]))

    def deploy(self, family, **configuration):
        updated = self.roadstead.aws("ecs", "update-service", "--service", "web", "--task-definition", family,
                                     "--deployment-configuration", json.dumps(configuration))
        self.arn = updated["service"]["currentServiceDeployment"]

    def deployment(self):
        described = self.roadstead.aws("ecs", "describe-service-deployments", "--service-deployment-arns", self.arn)
        return described["serviceDeployments"][0]

    def until(self, status, stage=None, seconds=60):
        def there():
            deployment = self.deployment()
            assert stage is None or deployment["status"] == status or not deployment.get("finishedAt"), deployment
            return (deployment["status"], stage or deployment.get("lifecycleStage")) == (
                status, deployment.get("lifecycleStage")) and deployment

        return wait_for(there, seconds, f"{status} {stage}")

    def waits_for_answer(self):
        def hook():
            hooks = self.deployment().get("lifecycleHookDetails", [])
            return next((hook for hook in hooks if hook["status"] == "AWAITING_ACTION"), None)

        return wait_for(hook, 60, "a pause")

    def answer(self, hook, action):
        self.roadstead.aws("ecs", "continue-service-deployment", "--service-deployment-arn", self.arn,
                           "--hook-id", hook["hookId"], "--action", action)

    def running(self):
        """Running tasks of each family."""
        arns = self.roadstead.aws("ecs", "list-tasks", "--service-name", "web")["taskArns"]
        if not arns:
            return {}
        tasks = self.roadstead.aws("ecs", "describe-tasks", "--tasks", *arns)["tasks"]
        families = [task["taskDefinitionArn"].rsplit("/", 1)[1].split(":")[0] for task in tasks
                    if task["lastStatus"] == "RUNNING" and task["desiredStatus"] == "RUNNING"]
        return {family: families.count(family) for family in families}

    def kill_and_restart(self):
        before = self.roadstead.live_containers()
        self.roadstead.kill()
        self.roadstead.start()
        assert self.roadstead.live_containers() == before, "containers run on"


def test_f25_blue_green_with_a_pause_and_a_function_survives_kills(fresh, function):
    check = function((200, {"hookStatus": "IN_PROGRESS", "callBackDelay": 1, "hookDetails": {"seen": True}}),
                     (200, {"hookStatus": "SUCCEEDED"}))
    web = Web(fresh("--hook-target", check.option))
    web.deploy("green", strategy="BLUE_GREEN", bakeTimeInMinutes=1, lifecycleHooks=[
        {"targetType": "AWS_LAMBDA", "hookTargetArn": FUNCTION, "roleArn": "arn:aws:iam::000000000000:role/hook",
         "lifecycleStages": ["PRE_SCALE_UP"]},
        {"targetType": "PAUSE", "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"]},
    ])
    hook = web.waits_for_answer()
    assert hook["hookId"].startswith("ecs-pause-")
    assert web.running() == {"blue": 2, "green": 2}
    assert [event["lifecycleStage"] for event in check.events] == ["PRE_SCALE_UP"] * 2
    assert check.events[0]["executionId"] == check.events[1]["executionId"]
    assert check.events[1]["hookDetails"] == {"seen": True}

    web.kill_and_restart()
    assert web.waits_for_answer() == hook, "the same pause with the same deadline"
    web.answer(hook, "CONTINUE")
    bakes = web.until("IN_PROGRESS", "BAKE_TIME")
    weights = [bakes["targetServiceRevision"]["requestedProductionTrafficWeight"],
               bakes["sourceServiceRevisions"][0]["requestedProductionTrafficWeight"]]
    assert weights == [100.0, 0.0]
    web.kill_and_restart()
    assert web.running() == {"blue": 2, "green": 2}
    done = web.until("SUCCESSFUL", seconds=90)
    assert done["finishedAt"] > done["startedAt"]
    assert web.running() == {"green": 2}
    assert len(check.events) == 2
    service = web.roadstead.aws("ecs", "describe-services", "--services", "web")["services"][0]
    [deployment] = service["deployments"]
    assert (deployment["rolloutState"], deployment["status"]) == ("COMPLETED", "PRIMARY")
    assert deployment["rolloutStateReason"] == f"ECS deployment {deployment['id']} completed."


def test_f26_a_pause_answered_with_rollback_and_a_function_that_fails(fresh, function):
    check = function((200, {"hookStatus": "FAILED"}))
    web = Web(fresh("--hook-target", check.option))
    web.deploy("green", strategy="CANARY", canaryConfiguration={"canaryPercent": 10, "canaryBakeTimeInMinutes": 5},
               lifecycleHooks=[{"targetType": "PAUSE", "lifecycleStages": ["PRE_PRODUCTION_TRAFFIC_SHIFT"]}])
    web.answer(web.waits_for_answer(), "ROLLBACK")
    web.until("ROLLBACK_SUCCESSFUL")
    assert web.running() == {"blue": 2}
    web.deploy("green", strategy="BLUE_GREEN", bakeTimeInMinutes=0, lifecycleHooks=[
        {"targetType": "AWS_LAMBDA", "hookTargetArn": FUNCTION, "roleArn": "arn:aws:iam::000000000000:role/hook",
         "lifecycleStages": ["POST_PRODUCTION_TRAFFIC_SHIFT"]}])
    done = web.until("ROLLBACK_SUCCESSFUL")
    reason = ("Service deployment rolled back because POST_PRODUCTION_TRAFFIC_SHIFT lifecycle hook(s) failed. "
              f"Lifecycle hook target {FUNCTION} returned FAILED status.")
    assert (done["statusReason"], done["rollback"]["reason"]) == (reason, reason)
    assert web.running() == {"blue": 2}


def test_f24_an_image_that_crashes_is_rolled_back(fresh):
    web = Web(fresh())
    web.deploy("broken", deploymentCircuitBreaker={"enable": True, "rollback": True})
    done = web.until("ROLLBACK_SUCCESSFUL", seconds=90)
    assert done["statusReason"] == (
        "Service deployment rolled back because the circuit breaker threshold was exceeded.")
    breaker = done["deploymentCircuitBreaker"]
    assert (breaker["status"], breaker["threshold"]) == ("TRIGGERED", 3)
    assert web.running() == {"blue": 2}
    events = web.roadstead.aws("ecs", "describe-services", "--services", "web")["services"][0]["events"]
    said = [event["message"] for event in events]
    assert any(message.endswith("deployment failed: tasks failed to start.") for message in said), said
    assert any("rolling back to deployment ecs-svc/" in message for message in said), said
