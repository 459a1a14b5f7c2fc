"""Realistic images through the API: nginx and PostgreSQL on Debian, from archives and from a registry."""

import json
import pathlib
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from conftest import IMAGES, Roadstead, free_port, wait_for
from task_cases import GROUP, run_one

ARCHIVES = ["nginx.docker.tar", "nginx.oci.tar", "postgres.oci.tar"]
MISSING = [name for name in ARCHIVES if not (IMAGES / name).exists()]
TOOLS = [tool for tool in ("docker-registry", "skopeo") if shutil.which(tool) is None]

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"test_images: {', '.join(MISSING)} missing; tests/images/build.sh {IMAGES} makes them"
)
needs_registry = pytest.mark.skipif(
    bool(TOOLS), reason=f"a registry needs {', '.join(TOOLS)}: apt-get install {' '.join(TOOLS)}"
)


class Registry:
    """Debian's docker-registry on loopback."""

    def __init__(self, directory, htpasswd=None):
        self.address = f"127.0.0.1:{free_port()}"
        directory.mkdir()
        config = {
            "version": "0.1",
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
            "http": {"addr": self.address},
        }
        if htpasswd:
            (directory / "htpasswd").write_text(htpasswd)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
        # JSON is YAML.
        (directory / "config.yml").write_text(json.dumps(config))
        self.process = subprocess.Popen(
            ["docker-registry", "serve", directory / "config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self.listens, 20, "the registry")

    def listens(self):
        host, port = self.address.split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def push(self, source, name):
        """Pushes; answers the digest of the manifest."""
        target = f"docker://{self.address}/{name}"
        command = ["skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", source, target]
        subprocess.run(command, check=True, capture_output=True)
        inspect = ["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", target]
        return subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.strip()

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def registry(tmp_path):
    made = []

    def make(**options):
        made.append(Registry(tmp_path / f"registry-{len(made)}", **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def machine():
    """A Roadstead of this module's, with PostgreSQL's image in its store."""
    roadstead = Roadstead("--ephemeral", "--over-commit", "1000").start()
    try:
        roadstead.load(IMAGES / "postgres.oci.tar", tag="postgres:test")
        roadstead.client("logs").create_log_group(logGroupName=GROUP)
        yield roadstead
    finally:
        roadstead.destroy()


def megabytes(machine):
    """What the image store takes on disk."""
    return int(subprocess.run(["du", "-sm", machine.data_dir / "images"], capture_output=True, text=True).stdout.split()[0])


@pytest.fixture
def without_nginx(machine):
    """The machine without nginx's own layers, before and after: each way to get them makes them anew."""
    before = megabytes(machine)
    yield machine
    for name in re.findall(r"^(\S*nginx\S*)\s", machine.cli("image", "ls").stdout, re.M):
        # One may have gone with another that named the same image.
        machine.cli("image", "rm", name, check=False)

    def collected():
        machine.cli("image", "gc")
        return megabytes(machine) <= before + 2

    wait_for(collected, 60, "the end of nginx's layers")


def container(image, name="main", **parameters):
    return {"name": name, "image": image, "memory": 256, "stopTimeout": 30, **parameters}


def address_of(ran):
    task = ran.running()
    details = {detail["name"]: detail["value"] for detail in task["attachments"][0]["details"]}
    return details["privateIPv4Address"]


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.read().decode()
    except OSError:
        return None


def user_ids(pid):
    return {int(number) for number in re.search(r"^Uid:(.*)$", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1].split()}


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def nginx_serves(roadstead, image):
    """Runs nginx on an address of its own, reads pages, and looks at what its layers carried."""
    roadstead.let_in(80)
    web = run_one(roadstead, "web", container(image), networkMode="awsvpc")
    looks = "stat -c %a /srv/www /usr/bin/passwd; ls /etc/nginx/sites-enabled; stat -c %U /srv/www; echo -- end"
    files = run_one(roadstead, "files", container(image, entryPoint=["sh", "-c", looks]))
    # Only the file's own capability lets another user send it.
    ping = run_one(roadstead, "ping", container(image, user="nobody", command=["ping", "-c", "1", "127.0.0.1"]))
    base = f"http://{address_of(web)}"
    assert wait_for(lambda: get(base + "/"), what="the page") == "<h1>nginx on Debian</h1>\n"
    assert get(base + "/health") == "ok\n"
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(base + "/missing", timeout=2)
    lines = wait_for(
        lambda: [line for line in (event["message"] for event in web.events()) if "GET /health" in line], what="the access log"
    )
    assert '" 200 3' in lines[0]
    master = web.pid()
    assert user_ids(master) == {0}
    workers = wait_for(lambda: children(master), what="nginx's workers")
    assert {frozenset(user_ids(worker)) for worker in workers} == {frozenset({33})}, "www-data"
    assert files.lines() == ["2775", "4755", "site", "www-data"]
    assert ping.exit_code() == 0, [event["message"] for event in ping.events()]
    return web


def stops_fast(ran, seconds=10):
    asked = time.time()
    ran.stop()
    task = ran.stopped()
    assert task["executionStoppedAt"].timestamp() - asked < seconds, "its own stop signal was enough"
    return task


def test_nginx_from_docker_save_and_the_life_of_its_image(without_nginx):
    machine = without_nginx
    before = megabytes(machine)
    assert "Loaded nginx:docker" in machine.load(IMAGES / "nginx.docker.tar", tag="nginx:docker")
    web = nginx_serves(machine, "nginx:docker")
    listed = machine.cli("image", "ls").stdout
    assert re.search(r"^nginx:docker\s+\w{12}\s+4\s", listed, re.M), listed

    # Its name goes, what runs stays.
    with_nginx = megabytes(machine)
    machine.cli("image", "rm", "nginx:docker")
    machine.cli("image", "gc")
    assert "nginx:docker" not in machine.cli("image", "ls").stdout
    assert get(f"http://{address_of(web)}/") == "<h1>nginx on Debian</h1>\n"
    assert megabytes(machine) >= with_nginx - 2, "the layers of a running container are kept"
    (ended,) = stops_fast(web)["containers"]
    assert ended["exitCode"] == 0, "SIGQUIT is nginx's graceful end"
    missing = machine.cli("image", "rm", "nginx:docker", check=False)
    assert missing.returncode != 0 and "nginx:docker" in missing.stderr
    # That the layers go now is looked at by the fixture.
    assert megabytes(machine) > before + 10


def test_nginx_from_an_oci_archive(without_nginx):
    machine = without_nginx
    machine.load(IMAGES / "nginx.oci.tar", tag="nginx:oci")
    stops_fast(nginx_serves(machine, "nginx:oci"))


@needs_registry
def test_nginx_from_a_registry(without_nginx, registry):
    machine = without_nginx
    plain = registry()
    digest = plain.push(f"oci-archive:{IMAGES / 'nginx.oci.tar'}", "team/nginx:1")
    image = f"{plain.address}/team/nginx:1"
    web = nginx_serves(machine, image)
    task = web.describe()
    (described,) = task["containers"]
    assert (described["image"], described["imageDigest"]) == (image, digest)
    assert task["pullStartedAt"] <= task["pullStoppedAt"] <= task["startedAt"]
    by_digest = run_one(machine, "by-digest", container(f"{plain.address}/team/nginx@{digest}", command=["true"]))
    assert by_digest.exit_code() == 0
    unknown = run_one(machine, "unknown", container(f"{plain.address}/team/nginx:2"))
    task = unknown.stopped()
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError") and "not found" in task["stoppedReason"]
    stops_fast(web)


@needs_registry
def test_a_registry_that_wants_a_password_is_refused(machine, registry):
    # Nobody knows this one's password.
    locked = registry(htpasswd="user:$2y$05$abcdefghijklmnopqrstuuW8eTq3ZgK9cQWq3Rk0m1nJ4H5l6m7n8\n")
    task = run_one(machine, "locked", container(f"{locked.address}/team/nginx:1")).stopped()
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError")
    assert re.search("unauthorized|authori[sz]ation|authentication|credentials|401", task["stoppedReason"]), task["stoppedReason"]
    assert "reason" in task["containers"][0] and "exitCode" not in task["containers"][0]


PASSWORD = [{"name": "POSTGRES_PASSWORD", "value": "secret-of-the-test"}, {"name": "PGPASSWORD", "value": "secret-of-the-test"}]


def test_postgresql(machine):
    server = container(
        "postgres:test",
        environment=PASSWORD,
        mountPoints=[{"sourceVolume": "data", "containerPath": "/var/lib/postgresql/data"}],
        healthCheck={"command": ["CMD-SHELL", "pg_isready -h 127.0.0.1"], "interval": 5, "timeout": 5, "retries": 10},
    )
    query = "create table t (n int); insert into t select generate_series(1, 1000); select 'sum ' || sum(n) from t; select 'by ' || current_user"
    client = container(
        "postgres:test",
        name="client",
        essential=False,
        environment=PASSWORD,
        entryPoint=["psql", "-h", "127.0.0.1", "-U", "postgres", "-At", "-v", "ON_ERROR_STOP=1", "-c", query],
        command=["postgres"],
        dependsOn=[{"containerName": "main", "condition": "HEALTHY"}],
    )
    database = run_one(machine, "database", server, client, networkMode="awsvpc", volumes=[{"name": "data"}])
    lines = database.lines("client", count=4)
    assert lines == ["CREATE TABLE", "INSERT 0 1000", "sum 500500", "by postgres"]
    wait_for(lambda: database.container("client").get("exitCode") == 0, what="the client's end")
    wait_for(lambda: database.container()["healthStatus"] == "HEALTHY", what="HEALTHY")
    postmaster = wait_for(
        lambda: [pid for pid in machine.live_containers().get(database.id, []) if user_ids(pid) != {0}], what="the server"
    )[0]
    (uid,) = user_ids(postmaster)
    volume = machine.data_dir / "agent/volumes/tasks" / database.id / "data"
    assert volume.stat().st_uid == uid and volume.stat().st_mode & 0o777 == 0o700, "a fresh volume takes over its owner"
    assert (volume / "PG_VERSION").read_text() == "15\n"
    (main, _) = sorted(stops_fast(database)["containers"], key=lambda one: one["name"] != "main")
    assert main["exitCode"] == 0
    log = "\n".join(event["message"] for event in database.events())
    assert "received fast shutdown request" in log, "SIGINT of the image, not SIGTERM"
    assert "database system is shut down" in log
    wait_for(lambda: not volume.exists(), what="the end of the volume")
