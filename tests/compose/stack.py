"""docker-compose.yml brought up for real with podman: built, started, looked into, broken, torn down.

podman-compose 1.0 (Debian 12) reads the same file as Docker Compose with three differences that show here: it knows
no profiles (services are named at `up`), no `stop_grace_period` (the time is given at `stop`), and waits for no
health (restart policies and patient clients do).
"""

from __future__ import annotations

import ast
import configparser
import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
PREPARE = Path(__file__).with_name("prepare")
STATE = Path(os.environ.get("MLPQ_COMPOSE_STATE", "/var/tmp/mlpq-compose"))
BASE_IMAGE = "localhost/mlpq-base:debian"
SERVICES = ("redis", "api", "worker")
ASK = ("api", "worker")
"""Services that ask for the store by its name."""
REACHING_AN_INDEX = (
    *("index-url", "extra-index-url", "trusted-host", "proxy", "cert", "client-cert"),
    *("timeout", "default-timeout", "retries"),
)
"""pip's settings without which a build may not reach the index that this machine reaches."""

_T = TypeVar("_T")


class Podman:
    """podman and podman-compose, with images, volumes and networks of their own under `STATE`."""

    def __init__(self) -> None:
        subprocess.run([PREPARE, STATE, BASE_IMAGE], check=True, timeout=420)
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(STATE / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(STATE / "storage.conf"),
        }

    def __call__(self, *arguments: str, timeout_s: float = 90, check: bool = True) -> str:
        """Run `podman ARGUMENTS`; returns what it wrote to stdout."""
        return run(["podman", *arguments], self.environment, timeout_s, check)

    def build(self, tag: str) -> None:
        """Build the Dockerfile on the Debian base, with the pip settings and certificates of this machine.

        They are mounted for the time of the build, so no layer of the image holds or names them.
        """
        pip_conf = STATE / "pip.conf"
        mounts = {pip_conf: Path("/etc/pip.conf"), **{path: path for path in write_pip_settings(pip_conf)}}
        volumes = [f"--volume={source}:{target}:ro" for source, target in mounts.items()]
        self(
            *("build", "--isolation", "chroot", "--network", "host", "--format", "docker"),
            *("--build-arg", f"PYTHON_IMAGE={BASE_IMAGE}", "--tag", tag, *volumes, str(ROOT)),
            timeout_s=700,
        )


def run(command: list[str], environment: dict[str, str], timeout_s: float = 90, check: bool = True) -> str:
    """Run a command to its end; a failure shows what it wrote."""
    done = subprocess.run(command, env=environment, cwd=ROOT, timeout=timeout_s, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise AssertionError(f"{command} exited {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def write_pip_settings(pip_conf: Path) -> list[Path]:
    """Write how pip reaches its index here (its files and PIP_*) as one file; returns the files that it names.

    Folders of packages on this machine are left out: what the lock names comes from an index.
    """
    shown = run([sys.executable, "-m", "pip", "config", "list"], dict(os.environ))
    settings: dict[str, str] = {}
    for line in shown.splitlines():
        key, _, quoted = line.partition("=")
        words = [word for word in ast.literal_eval(quoted).split() if not word.startswith("file:")]
        if key.rpartition(".")[2] in REACHING_AN_INDEX and words:
            settings[key.rpartition(".")[2]] = " ".join(words)
    bundles = (
        os.environ.get("REQUESTS_CA_BUNDLE"),
        os.environ.get("SSL_CERT_FILE"),
        "/etc/ssl/certs/ca-certificates.crt",
    )
    bundle = next((path for path in bundles if path and Path(path).is_file()), None)
    if bundle is not None:
        settings.setdefault("cert", bundle)
    parser = configparser.RawConfigParser()
    parser["global"] = settings
    with pip_conf.open("w") as stream:
        parser.write(stream)
    return [Path(settings[name]) for name in ("cert", "client-cert") if name in settings]


def free_port() -> int:
    """A TCP port that is free on this machine's loopback right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: str, probe: Callable[[], _T | None], timeout_s: float, pause_s: float = 0.1) -> _T:
    """Ask `probe` until it answers something true; returns the answer.

    Raises:
        AssertionError: it did not within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain: {what}; last answer {answer!r}")
        time.sleep(pause_s)


@dataclass
class Stack:
    """One project of docker-compose.yml: its containers, and the service behind the published port."""

    podman: Podman
    image: str
    project: str = field(default_factory=lambda: f"mlpq-test-{secrets.token_hex(4)}")
    port: int = field(default_factory=free_port)

    def compose(self, *arguments: str, timeout_s: float = 120) -> str:
        """Run `podman-compose ARGUMENTS` on the project."""
        environment = {**self.podman.environment, "MLPQ_IMAGE": self.image, "MLPQ_PORT": str(self.port)}
        command = ["podman-compose", "-f", str(COMPOSE_FILE), "-p", self.project, *arguments]
        written = run(command, environment, timeout_s)
        self.tell_names()
        return written

    def up(self) -> None:
        """Start redis, api and worker; returns when the API says that it is ready."""
        self.compose("up", "--detach", "--no-build", *SERVICES)
        until("the API is ready", self.ready, 60)

    def tell_names(self) -> None:
        """Write where the store is into the hosts files of those that ask.

        The name server of podman 4 (aardvark-dns 1.4) answers nobody for up to half a minute after containers have
        come and gone quickly. How names are found is the engine's part; what this file makes of it is tested here.
        """
        with contextlib.suppress(AssertionError):  # the store is down
            address = self.address("redis")
            for service in ASK if address else ():
                hosts = Path(self.inspect(service)["HostsPath"])
                others = [line for line in hosts.read_text().splitlines() if line.split()[1:] != ["redis"]]
                hosts.write_text("\n".join([*others, f"{address} redis", ""]))

    def down(self) -> None:
        """Remove containers, volumes and networks, whatever state they are in.

        podman refuses one that changes its state meanwhile ("container state improper"), so it is asked again.
        """
        for kind, remove in (("container", "rm -f -t 2"), ("volume", "rm -f"), ("network", "rm -f")):

            def gone(kind: str = kind, remove: str = remove) -> bool:
                if names := self.left(kind):
                    with contextlib.suppress(AssertionError):
                        self.podman(kind, *remove.split(), *names)
                return not self.left(kind)

            until(f"every {kind} of {self.project} is removed", gone, 60, pause_s=1)

    def left(self, kind: str) -> list[str]:
        """The project's containers, volumes or networks that exist."""
        every = ["--all"] if kind == "container" else []
        label = f"label=io.podman.compose.project={self.project}"
        return self.podman(kind, "ls", *every, "--quiet", "--filter", label).split()

    # ---- containers ------------------------------------------------------------------------------------

    def container(self, service: str) -> str:
        """The name of a service's container."""
        return f"{self.project}_{service}_1"

    def inspect(self, service: str) -> dict[str, Any]:
        """What podman knows about a service's container."""
        found: dict[str, Any] = json.loads(self.podman("inspect", self.container(service)))[0]
        return found

    def run_in(self, service: str, *command: str, check: bool = True) -> str:
        """Run a command inside a service's container."""
        return self.podman("exec", self.container(service), *command, check=check)

    def healthy(self, service: str) -> bool:
        """Whether the container's own health check passes now (podman's timer for it needs systemd)."""
        command = ["podman", "healthcheck", "run", self.container(service)]
        return subprocess.run(command, env=self.podman.environment, capture_output=True, timeout=30).returncode == 0

    def kill(self, service: str) -> None:
        """End a container as a crash would: SIGKILL to its first process; its restart policy is what brings it back."""
        state = self.inspect(service)["State"]
        os.kill(state["Pid"], signal.SIGKILL)
        until(
            f"{service} was restarted",
            lambda: self.inspect(service)["State"]["Pid"] not in (0, state["Pid"]),
            30,
        )
        self.tell_names()

    @contextlib.contextmanager
    def another_host(self, name: str) -> Iterator[Callable[[], str]]:
        """One more worker, as on a machine called `name` that shares store and data directory; what takes it away."""
        worker = self.inspect("worker")
        volume = next(one["Name"] for one in worker["Mounts"] if one["Destination"] == "/var/lib/mlpq")
        (network,) = worker["NetworkSettings"]["Networks"]
        container = f"{self.project}_{name}"
        self.podman(
            *("run", "--detach", "--name", container, "--hostname", name, "--network", network),
            *("--label", f"io.podman.compose.project={self.project}", "--volume", f"{volume}:/var/lib/mlpq"),
            *("--add-host", f"redis:{self.address('redis')}", "--env", "REDIS_URL=redis://redis:6379/0"),
            *(self.image, "python", "-m", "worker", "--device", "cpu"),
        )
        try:
            yield lambda: self.podman("kill", "--signal", "KILL", container)
        finally:
            self.podman("rm", "--force", "--time", "2", container)

    def address(self, service: str) -> str:
        """Where a service's container is reached by the others; empty while it is down."""
        (network,) = self.inspect(service)["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])

    def hosts(self) -> dict[str, list[str]]:
        """The hosts whose workers are there, and the jobs that each trains."""
        return {worker["host"]: worker["jobs"] for worker in self.get("/v1/workers")["data"]}

    def logs(self) -> str:
        """The last lines of every container, for a failure's report."""
        parts = []
        for service in SERVICES:
            command = ["podman", "logs", "--tail", "40", self.container(service)]
            done = subprocess.run(command, env=self.podman.environment, capture_output=True, text=True, timeout=30)
            parts.append(f"---- {service}\n{done.stdout}{done.stderr}")
        return "\n".join(parts)

    # ---- the service, as anyone reaches it -----------------------------------------------------------

    def open(self, path: str, body: object = None) -> http.client.HTTPResponse:
        """The 2xx answer to one plain HTTP request to the published port; "503, try again" is tried again, for 15 s.

        Raises:
            urllib.error.HTTPError: any other answer.
            OSError: no answer.
        """
        data = None if body is None else json.dumps(body).encode()
        url, headers = f"http://127.0.0.1:{self.port}{path}", {"Content-Type": "application/json"}
        deadline = time.monotonic() + 15
        while True:
            try:
                response = urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30)
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > deadline:
                    raise
                time.sleep(float(error.headers["Retry-After"]))
            else:
                assert isinstance(response, http.client.HTTPResponse)
                return response

    def request(self, path: str, body: object = None) -> bytes:
        """The body of the 2xx answer to one request; raises as `open` does."""
        with self.open(path, body) as response:
            return response.read()

    def get(self, path: str) -> dict[str, Any]:
        """One JSON document."""
        document: dict[str, Any] = json.loads(self.request(path))
        return document

    def ready(self) -> bool:
        """Whether the API answers and has its store."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10):
                return True
        except OSError:
            return False

    def submit(self, **spec: object) -> str:
        """Submit a job; returns its id."""
        job: dict[str, Any] = json.loads(self.request("/v1/jobs", spec))
        return str(job["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """A job's record, or an empty one while the API cannot answer."""
        try:
            return self.get(f"/v1/jobs/{job_id}")
        except OSError:
            return {}

    def finished(self, job_id: str, timeout_s: float = 90) -> dict[str, Any]:
        """A job's record once it has ended."""

        def ended() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job.get("status") in ("succeeded", "failed", "cancelled") else None

        return until(f"{job_id} ends", ended, timeout_s, pause_s=0.3)

    def past_a_checkpoint(self, job_id: str) -> None:
        """Follow a job until it has trained past a checkpoint.

        Raises:
            AssertionError: it ended before; it was meant to be disturbed.
        """
        checkpoint = False
        for event in self.follow(job_id):
            checkpoint |= event["type"] == "checkpoint"
            if checkpoint and event["type"] == "metric":
                return
        raise AssertionError(f"{job_id} was over before it could be disturbed")

    def follow(self, job_id: str) -> Iterator[dict[str, Any]]:
        """The events of a job from its first, as they come, until its end."""
        with self.open(f"/v1/jobs/{job_id}/events") as response:
            yield from _parse(response)

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """All events of a job that has ended."""
        return list(self.follow(job_id))


def _parse(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Server-sent events, one after the other; comments are left out."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield {"id": int(fields["id"]), "type": fields["event"], "data": json.loads(fields["data"])}
            fields = {}
