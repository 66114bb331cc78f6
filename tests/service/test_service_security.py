"""Nobody reaches what is not theirs: keys, names, origins, headers, and where the service agrees to listen."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from mlpq.embedded import EmbeddedServer
from service.routes.page import FOREVER, STATIC
from service.settings import from_environment
from tests.processes import Processes, Service, free_port, http_client, wait_until
from tests.service.api_parts import SPEC, assert_problem, raw_exchange, twin_of

KEYS = ("first-key-of-many-characters", "second-key-of-many-characters")


@pytest.fixture(scope="module")
def guarded(
    valkey: EmbeddedServer, service: Service, service_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("guarded")
    with Processes(folder, valkey.url, twin_of(service_data, folder / "data")) as processes:
        yield processes.service(MLPQ_API_KEY=", ".join(KEYS), MLPQ_ALLOWED_HOSTS="mlpq.example").ready()


WITH_KEY = [
    ("GET", "/v1/jobs"),
    ("POST", "/v1/jobs"),
    ("GET", "/v1/jobs/job_1"),
    ("DELETE", "/v1/jobs/job_1"),
    ("GET", "/v1/jobs/job_1/events"),
    ("GET", "/v1/events?jobs=job_1"),
    ("GET", "/v1/jobs/job_1/weights"),
    ("GET", "/v1/datasets"),
    ("POST", "/v1/datasets"),
    ("GET", "/v1/capabilities"),
    ("GET", "/v1/queue"),
    ("GET", "/v1/workers"),
    ("GET", "/metrics"),
    ("GET", "/v1/nothing"),
    ("OPTIONS", "/v1/jobs"),
]


@pytest.mark.parametrize(("method", "path"), WITH_KEY)
def test_without_a_valid_key_there_is_nothing(guarded: Service, method: str, path: str) -> None:
    with http_client(guarded.url) as api:
        for header in (None, "", "Bearer", "Bearer wrong", f"Basic {KEYS[0]}", KEYS[0], f"Bearer {KEYS[0]}x"):
            refused = api.request(method, path, headers={"Authorization": header} if header is not None else {})
            assert_problem(refused, 401, "unauthorized")
            assert refused.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("key", KEYS)
def test_each_key_opens(guarded: Service, key: str) -> None:
    with http_client(guarded.url, headers={"Authorization": f"Bearer {key}"}) as api:
        assert api.get("/v1/jobs").status_code == 200
        assert api.post("/v1/jobs", json=SPEC).status_code == 202
        assert api.get("/metrics").status_code == 200


def test_health_and_the_page_need_no_key(guarded: Service) -> None:
    with http_client(guarded.url) as api:
        for path in ("/healthz", "/readyz", "/", "/static/app.js", "/docs", "/openapi.json"):
            assert api.get(path).status_code == 200, path


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[evil]"])
def test_a_name_that_is_not_ours_is_refused(api: httpx2.Client, service: Service, host: str) -> None:
    for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/"), ("GET", "/healthz")):
        request = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        assert raw_exchange(service.url, request.encode()).startswith(b"HTTP/1.1 421 "), (method, path)


def test_our_names_and_addresses_are_answered(api: httpx2.Client, guarded: Service) -> None:
    for host in ("localhost", "localhost:1234", "127.0.0.1", "[::1]:80", "192.168.1.5:8000", "LOCALHOST"):
        assert api.get("/healthz", headers={"Host": host}).status_code == 200, host
    with http_client(guarded.url) as named:
        assert named.get("/healthz", headers={"Host": "mlpq.example:8000"}).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"])
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1.evil.example"]
)
def test_another_origin_is_refused_on_every_method(api: httpx2.Client, method: str, origin: str) -> None:
    assert_problem(api.request(method, "/v1/jobs", headers={"Origin": origin}), 403, "cross_site")


def test_our_own_page_may_ask(api: httpx2.Client, service: Service) -> None:
    same = {"Origin": service.url, "Sec-Fetch-Site": "same-origin"}
    assert api.post("/v1/jobs", json=SPEC, headers=same).status_code == 202


def test_other_sites_may_link_here_but_not_embed(api: httpx2.Client) -> None:
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert api.get("/", headers=cross | {"Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert_problem(api.get("/v1/jobs", headers=cross | {"Sec-Fetch-Mode": "no-cors"}), 403)
    assert_problem(api.post("/v1/jobs", json=SPEC, headers=cross | {"Sec-Fetch-Mode": "navigate"}), 403)


@pytest.mark.parametrize("path", ["/", "/v1/jobs", "/v1/jobs/none", "/docs", "/static/app.js", "/nothing", "/metrics"])
def test_every_answer_carries_the_security_headers_and_no_cors(api: httpx2.Client, path: str) -> None:
    headers = api.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert not [name for name in headers if name.startswith("access-control-")]
    assert "server" not in headers


@pytest.mark.parametrize(
    "path", ["..%2f..%2fsettings.py", "../settings.py", "%2e%2e/app.py", "app.js%00", "/etc/passwd"]
)
def test_the_page_serves_its_own_files_only(api: httpx2.Client, service: Service, path: str) -> None:
    answer = raw_exchange(
        service.url, f"GET /static/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 404 ")


def test_the_page_and_its_files(api: httpx2.Client) -> None:
    page = api.get("/")
    assert page.headers["content-type"].startswith("text/html")
    script = api.get("/static/app.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert api.get("/static/app.js", headers={"If-None-Match": script.headers["etag"]}).status_code == 304
    plain = api.get("/static/app.js", headers={"Accept-Encoding": "gzip;q=0"})
    assert (script.headers["content-encoding"], plain.headers.get("content-encoding")) == ("gzip", None)
    assert plain.text == script.text
    assert plain.headers["etag"] != script.headers["etag"]
    modules = {path.name for path in STATIC.glob("*.js")}
    named = re.findall(r'rel="(\w+)" href="(/static/\w+/)(\w+\.js)"', page.text)
    assert {name for _, _, name in named} == modules
    assert {name for how, _, name in named if how == "modulepreload"} == {"app.js", "api.js", "dom.js"}
    [version] = {folder for _, folder, _ in named}
    kept = api.get(f"{version}app.js")
    assert kept.text == script.text
    assert (kept.headers["cache-control"], script.headers["cache-control"]) == (FOREVER, "no-cache")
    assert "http" not in page.text.replace("http-equiv", "").split("<body")[0], "no one else's files"


def start(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service", "--port", str(free_port()), *arguments]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLPQ_")}
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "box.example"])
def test_it_refuses_to_listen_beyond_this_machine_without_a_key(host: str) -> None:
    refused = start("--host", host)
    assert refused.returncode == 2
    assert "MLPQ_API_KEY" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_short_key_guards_no_network() -> None:
    refused = start("--host", "0.0.0.0", MLPQ_API_KEY="hunter2")
    assert refused.returncode == 2
    assert "16" in refused.stderr


def test_the_access_log_is_one_json_line_per_request_without_secrets(guarded: Service) -> None:
    with http_client(guarded.url, headers={"Authorization": f"Bearer {KEYS[0]}"}) as api:
        request_id = api.get("/v1/jobs?limit=3&tag=private").headers["x-request-id"]
    wait_until(lambda: request_id in guarded.log, what="the line is written behind the answer")
    (line,) = [json.loads(line) for line in guarded.log.splitlines() if request_id in line]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/v1/jobs", 200)
    assert line["ms"] > 0
    assert KEYS[0] not in guarded.log
    assert "private" not in guarded.log


def test_an_empty_variable_counts_as_absent() -> None:
    names = ("MLPQ_HOST", "MLPQ_PORT", "REDIS_URL", "MLPQ_DATA_DIR", "MLPQ_API_KEY", "MLPQ_ALLOWED_HOSTS")
    limits = ("MLPQ_MAX_BODY_BYTES", "MLPQ_MAX_UPLOAD_BYTES", "MLPQ_MAX_STREAMS", "MLPQ_MAX_QUEUED")
    assert from_environment(dict.fromkeys((*names, *limits), "")) == from_environment({})
