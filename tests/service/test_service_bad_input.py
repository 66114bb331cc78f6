"""No input gives a 5xx: what is wrong is named, with its value and what is allowed."""

from __future__ import annotations

import time

import httpx2
import pytest
from redis import Redis

from store.jobs import JobStore
from store.workers import WorkerInfo, Workers
from tests.processes import Service
from tests.service.api_parts import SPEC, assert_problem, raw_exchange, submitted

JSON = {"Content-Type": "application/json"}


def post(api: httpx2.Client, body: bytes | str, **headers: str) -> httpx2.Response:
    return api.post("/v1/jobs", content=body, headers=JSON | headers)


MALFORMED = {
    "empty": b"",
    "not json": b"{",
    "trailing": b'{"dataset": "iris"} x',
    "100 000 deep list": b"[" * 100_000,
    "100 000 deep object": b'{"a":' * 100_000,
    "deep inside": b'{"metadata":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "5 000 digits": b'{"priority": ' + b"1" * 5000 + b"}",
    "duplicate key": b'{"dataset": "iris", "dataset": "digits"}',
    "duplicate key inside": b'{"dataset": "iris", "net": {"bias": true, "bias": true}}',
    "not utf-8": b'{"dataset": "\xff"}',
    "utf-16": '{"dataset": "iris"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"dataset": "iris"}',
    "control character in a string": b'{"dataset": "a\nb"}',
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_json_is_400(api: httpx2.Client, name: str) -> None:
    assert_problem(post(api, MALFORMED[name]), 400, "malformed_input")


WRONG = {
    '{"dataset": "iris", "training": {"epochs": NaN}}': "/training/epochs",
    '{"dataset": "iris", "optimizer": {"name": "sgd", "learning_rate": NaN}}': "/optimizer/learning_rate",
    '{"dataset": "iris", "optimizer": {"name": "sgd", "learning_rate": Infinity}}': "/optimizer/learning_rate",
    '{"dataset": "iris", "optimizer": {"name": "sgd", "learning_rate": 1e999}}': "/optimizer/learning_rate",
    '{"dataset": "iris", "training": {"checkpoint_every_s": 1e999}}': "/training/checkpoint_every_s",
    '{"dataset": "iris", "training": {"epochs": true}}': "/training/epochs",
    '{"dataset": "iris", "training": {"epochs": "5"}}': "/training/epochs",
    '{"dataset": "iris", "training": {"epochs": 1e30}}': "/training/epochs",
    '{"dataset": "iris", "training": {"epochs": 0}}': "/training/epochs",
    '{"dataset": "iris", "training": {"epochs": 5.0}}': "/training/epochs",
    '{"dataset": "iris", "training": {"seed": %s}}' % ("9" * 4000): "/training/seed",
    '{"dataset": "iris", "training": {"validation_fraction": %s}}' % ("9" * 400): "/training/validation_fraction",
    '{"dataset": "iris", "training": {"folds": 1}}': "/training/folds",
    '{"dataset": "iris", "training": {"folds": 5, "validation_fraction": 0.0}}': "/training/folds",
    '{"dataset": "iris", "net": {"hidden": [64, 0]}}': "/net/hidden/1",
    '{"dataset": "iris", "net": {"hidden": [true]}}': "/net/hidden/0",
    '{"dataset": "iris", "net": {"hidden": "64"}}': "/net/hidden",
    '{"dataset": "iris", "net": {"hidden": %s}}' % ([8] * 1000): "/net/hidden",
    '{"dataset": "iris", "net": {"activation": "rely"}}': "/net/activation/name",
    '{"dataset": "iris", "net": {"activation": 5}}': "/net/activation",
    '{"dataset": "iris", "net": {"activation": {"name": "leaky_relu", "alpha": "x"}}}': "/net/activation/alpha",
    '{"dataset": "iris", "net": {"activation": {"name": "relu", "slope": 1}}}': "/net/activation/slope",
    '{"dataset": "iris", "loss": "l7"}': "/loss/name",
    '{"dataset": "iris", "net": {"depth": 3}}': "/net/depth",
    '{"dataset": "iris", "nett": {}}': "/nett",
    '{"dataset": "nothing"}': "/dataset",
    '{"dataset": "ds_00"}': "/dataset",
    '{"dataset": "../../etc/passwd"}': "/dataset",
    '{"dataset": "\\u0000"}': "/dataset",
    '{"dataset": 5}': "/dataset",
    '{"dataset": null}': "/dataset",
    "{}": "/dataset",
    "[]": "",
    "null": "",
    '"\\ud800"': "",
    '{"dataset": "\\ud800"}': "/dataset",
    '{"\\ud800": 1}': "",
    '{"dataset": "iris", "metadata": {"a": {"b": ["\\udc00"]}}}': "/metadata/a/b/0",
    '{"dataset": "iris", "metadata": {"n": 12345678901234567890}}': "/metadata",
    '{"dataset": "iris", "metadata": {"n": NaN}}': "/metadata",
    '{"dataset": "iris", "metadata": {"n": 1e999}}': "/metadata",
    '{"dataset": "iris", "metadata": {"deep": %s}}' % ("[" * 50 + "]" * 50): "/metadata",
    '{"dataset": "iris", "metadata": {"long": "%s"}}' % ("x" * 20_000): "/metadata",
    '{"dataset": "iris", "metadata": []}': "/metadata",
    '{"dataset": "iris", "name": "a\\u0000b"}': "/name",
    '{"dataset": "iris", "name": "a\\r\\nb"}': "/name",
    '{"dataset": "iris", "name": "../../etc/passwd"}': "/name",
    '{"dataset": "iris", "tags": ["..\\\\x"]}': "/tags/0",
    '{"dataset": "iris", "name": "\\u202eevil"}': "/name",
    '{"dataset": "iris", "name": "\\u2066x"}': "/name",
    '{"dataset": "iris", "name": "%s"}' % ("n" * 201): "/name",
    '{"dataset": "iris", "name": "%s"}' % ("n" * 1_000_000): "/name",
    '{"dataset": "iris", "tags": ["a", ""]}': "/tags/1",
    '{"dataset": "iris", "tags": ["%s"]}' % ("t" * 65): "/tags/0",
    '{"dataset": "iris", "tags": [' + ", ".join(f'"{i}"' for i in range(33)) + "]}": "/tags",
    '{"dataset": "iris", "tags": "a"}': "/tags",
    '{"dataset": "iris", "priority": 101}': "/priority",
    '{"dataset": "iris", "priority": 0.5}': "/priority",
}


@pytest.mark.parametrize("body", WRONG, ids=lambda body: body[:70])
def test_a_wrong_value_is_422_and_its_field_is_named(api: httpx2.Client, body: str) -> None:
    problem = assert_problem(post(api, body), 422, "invalid_input")
    assert WRONG[body] in [error["pointer"] for error in problem["errors"]], problem["errors"]
    assert len(problem["detail"]) < 2000
    assert all(error["detail"] for error in problem["errors"])


def test_an_error_names_the_value_and_the_allowed_range(api: httpx2.Client) -> None:
    problem = assert_problem(post(api, '{"dataset": "iris", "net": {"hidden": [70000]}}'), 422)
    (error,) = problem["errors"]
    assert error["pointer"] == "/net/hidden/0"
    assert "70000" in error["detail"]
    assert "65536" in error["detail"]


SENTENCES = {
    '{"training": {"device": "gpu"}}': 'is "gpu"; must be auto, cpu or cuda:N',
    '{"training": {"shuffle": null}}': "is null; must be true or false",
    '{"training": {"epochs": true}}': "is true; must be an integer",
    '{"training": {"class_weight": "balance"}}': 'is "balance"; must be "balanced"',
    '{"optimizer": {"name": "sgd", "nesterov": null}}': "is null; must be true or false",
    '{"optimizer": {"name": "sgd", "learning_rate": true}}': "is true; must be a number > 0 and <= 1e+06",
    '{"optimizer": {"name": "sgdd"}}': 'is "sgdd"; must be one of ',
    '{"loss": true}': "is true; must be an object",
    f'{{"net": {{"hidden": {[8] * 65}}}}}': "is a list of 65; must hold at most 64",
    '{"net": {"hidden": {}}}': "is an object; must be a list",
    '{"name": 5}': "is 5; must be a string",
}


@pytest.mark.parametrize("body", SENTENCES, ids=lambda body: body[:50])
def test_a_refusal_is_a_sentence_in_the_words_of_json(api: httpx2.Client, body: str) -> None:
    problem = assert_problem(post(api, '{"dataset": "iris", ' + body[1:]), 422)
    (error,) = problem["errors"]
    assert error["detail"].startswith(SENTENCES[body])


MEANT = [
    ("/v1/jobs", {"dataset": "iris", "nett": {}}, "/nett", 'is not a known field; did you mean "net"?'),
    ("/v1/jobs", {"dataset": "iris", "epochs": 3}, "/epochs", "here; did you mean /training/epochs?"),
    ("/v1/jobs", {"dataset": "iris", "zzz": 1}, "/zzz", "is not a known field; must be one of features, net, loss,"),
    ("/v1/jobs", {"dataset": "iris", "optimizer": {"name": "adm"}}, "/optimizer/name", 'did you mean "adam"?'),
    ("/v1/jobs:batch", {"jobs": [{"dataset": "iris", "tag": []}]}, "/jobs/0/tag", 'did you mean "tags"?'),
    ("/v1/sweeps", {"dataset": "iris", "gird": {}, "list": [{}]}, "/gird", 'did you mean "grid"?'),
    ("/v1/sweeps", {"dataset": "iris", "list": [{}], "base": {"nett": {}}}, "/base/nett", 'did you mean "net"?'),
    ("/v1/sweeps", {"dataset": "iris", "list": [{"net.hiden": [8]}]}, "/list/0/net.hiden", 'did you mean "hidden"?'),
    ("/v1/gradient_checks", {"dataset": "iris", "row": 3}, "/row", 'did you mean "rows"?'),
]


@pytest.mark.parametrize(("path", "body", "pointer", "words"), MEANT, ids=[pointer for _, _, pointer, _ in MEANT])
def test_an_unknown_name_is_answered_with_the_one_that_was_meant(
    api: httpx2.Client, path: str, body: dict[str, object], pointer: str, words: str
) -> None:
    problem = assert_problem(api.post(path, json=body), 422, "invalid_input")
    assert [words in error["detail"] for error in problem["errors"] if error["pointer"] == pointer] == [True], problem


def test_a_body_of_unknown_fields_is_refused_soon(api: httpx2.Client) -> None:
    body = {"dataset": "iris"} | {f"trainin{number}": 0 for number in range(20_000)}
    began = time.monotonic()
    problem = assert_problem(api.post("/v1/jobs", json=body), 422, "invalid_input")
    assert len(problem["errors"]) == 20
    assert time.monotonic() - began < 5


def test_every_wrong_field_is_named_at_once(api: httpx2.Client) -> None:
    problem = assert_problem(post(api, '{"dataset": "iris", "training": {"epochs": 0, "seed": -1}, "x": 1}'), 422)
    assert {error["pointer"] for error in problem["errors"]} == {"/training/epochs", "/training/seed", "/x"}


def test_widths_over_the_memory_budget_are_refused_with_the_estimate(api: httpx2.Client) -> None:
    problem = assert_problem(post(api, '{"dataset": "iris", "net": {"hidden": %s}}' % ([65536] * 64)), 422)
    assert "GiB" in problem["detail"]


WIDE = '{"dataset": "iris", "net": {"hidden": [30000, 30000]}, "training": {"device": "%s"}}'
"""About 30 GiB in float32 with Adam."""


@pytest.mark.parametrize(
    ("device", "workers", "status"),
    [
        ("auto", {"a": ("cpu", 8), "b": ("cpu", 16)}, 422),
        ("auto", {"a": ("cpu", 8), "b": ("cpu", 64)}, 202),
        ("auto", {"a": ("cpu", 8), "b": ("cuda:0", None)}, 202),
        ("cpu", {"a": ("cpu", 8)}, 422),
        ("cpu", {"a": ("cpu", 8), "b": ("cuda:0", 80)}, 202),
        ("cuda:0", {"a": ("cuda:0", 8)}, 422),
    ],
)
def test_what_no_living_worker_has_the_memory_for_is_refused_at_submit(
    api: httpx2.Client, redis: Redis, device: str, workers: dict[str, tuple[str, int | None]], status: int
) -> None:
    for name, (kind, gib) in workers.items():
        size = None if gib is None else gib << 30
        Workers(redis).heartbeat(WorkerInfo(name, "here", 1, kind, "any", memory_total_bytes=size))
    time.sleep(1.1)  # the service may have seen the workers of the test before
    answer = post(api, WIDE % device)
    for name in workers:
        Workers(redis).forget(name)
    time.sleep(1.1)  # nor may the test behind see these
    assert answer.status_code == status, answer.text
    if status == 422:
        (error,) = assert_problem(answer, 422)["errors"]
        assert error["pointer"] == "/net/hidden"
        assert "the largest worker has" in error["detail"]


def test_an_impossible_combination_is_refused(api: httpx2.Client) -> None:
    problem = assert_problem(post(api, '{"dataset": "diabetes", "loss": "softmax"}'), 422)
    assert problem["errors"][0]["pointer"] == "/loss"


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/json; charset=latin-1", ""])
def test_a_wrong_media_type_is_415(api: httpx2.Client, kind: str) -> None:
    assert_problem(post(api, b'{"dataset": "iris"}', **{"Content-Type": kind}), 415, "unsupported_media_type")


def test_json_with_charset_utf8_is_taken(api: httpx2.Client) -> None:
    answer = post(api, b'{"dataset": "iris"}', **{"Content-Type": "application/json; charset=UTF-8"})
    assert answer.status_code == 202


HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def endless(chunk: bytes) -> object:
    for _ in range(100_000):
        yield chunk


def test_a_declared_length_over_the_limit_is_413_before_the_body(service: Service) -> None:
    answer = raw_exchange(service.url, HEAD + b"Content-Length: 99999999999\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer


def test_a_chunked_body_over_the_limit_is_413_mid_stream(service: Service) -> None:
    block = b"10000\r\n" + b" " * 65536 + b"\r\n"
    answer = raw_exchange(service.url, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", endless(block))
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_longer_than_its_declared_length_is_cut_there(service: Service) -> None:
    answer = raw_exchange(service.url, HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}" + b"x" * 1000)
    assert answer.startswith(b"HTTP/1.1 422 ")


def test_unknown_paths_and_methods_are_problems(api: httpx2.Client) -> None:
    assert_problem(api.get("/v1/nothing"), 404, "not_found")
    assert_problem(api.get("/nothing"), 404, "not_found")
    assert_problem(api.get("/v1/jobs/job_..%2f..%2f..%2fetc%2fpasswd"), 404, "not_found")
    assert_problem(api.post("/v1/jobs/job_1/dance"), 404, "not_found")
    refused = api.put("/v1/jobs")
    assert_problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "POST, GET"
    assert refused.json()["detail"] == "PUT is not taken here; must be one of POST, GET"
    assert api.put("/v1/jobs/job_1").headers["allow"] == "GET, PATCH, DELETE"


def test_a_method_that_is_not_taken_is_answered_with_all_that_are(api: httpx2.Client) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    for path, methods in {**paths, "/": ["get"], "/docs": ["get"]}.items():
        refused = api.request("TRACE", path.replace("{", "").replace("}", ""))
        assert_problem(refused, 405, "method_not_allowed")
        assert refused.headers["allow"].split(", ") == [method.upper() for method in methods], path


NO_IDS = ["x", "job_", "job_%00", "JOB_1", "job_" + "a" * 5000, "job_é", "%ff", "job_1'--", "ds_1"]


@pytest.mark.parametrize("what", ["", "/events", "/metrics", "/weights", "/checkpoints"])
def test_what_is_no_id_and_what_is_not_there_are_answered_alike(api: httpx2.Client, what: str) -> None:
    gone = api.get(f"/v1/jobs/job_{'0' * 20}{what}")
    assert_problem(gone, 404, "not_found")
    for name in NO_IDS:
        answer = api.get(f"/v1/jobs/{name}{what}")
        assert answer.status_code == 404, name
        assert answer.content == gone.content, name


def test_a_deleted_job_is_answered_like_one_that_never_was(api: httpx2.Client, jobs: JobStore) -> None:
    job = submitted(api)
    api.post(f"/v1/jobs/{job['id']}/cancel")
    assert api.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert api.get(f"/v1/jobs/{job['id']}").content == api.get("/v1/jobs/none").content


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=1e3",
        "limit=" + "9" * 5000,
        "status=done",
        "after=job_none",
        "after=%00",
    ],
)
def test_a_wrong_query_is_422(api: httpx2.Client, query: str) -> None:
    problem = assert_problem(api.get(f"/v1/jobs?{query}"), 422, "invalid_input")
    assert problem["errors"][0]["pointer"] == f"/query/{query.split('=')[0]}"


def test_a_number_of_a_query_is_demanded_as_that_of_a_body(api: httpx2.Client) -> None:
    for wrong in ("x", "0", "101"):
        (error,) = assert_problem(api.get(f"/v1/jobs?limit={wrong}"), 422)["errors"]
        assert error["detail"] == f'is "{wrong}"; must be an integer >= 1 and <= 100'


def test_a_value_that_may_be_of_several_types_is_one_complaint(api: httpx2.Client) -> None:
    job = submitted(api)
    errors = assert_problem(api.post(f"/v1/jobs/{job['id']}/predict", json={"rows": [1, 2]}), 422)["errors"]
    assert [(error["pointer"], error["detail"]) for error in errors] == [
        ("/rows/0", "is 1; must be a list or an object"),
        ("/rows/1", "is 2; must be a list or an object"),
    ]


def test_the_choices_of_a_query_are_named_as_those_of_a_body(api: httpx2.Client) -> None:
    (error,) = assert_problem(api.get("/v1/jobs?status=done"), 422)["errors"]
    assert error["detail"].startswith('is "done"; must be "queued", "running", ')


UNKNOWN = [
    ("/v1/jobs?statsu=failed", "/query/statsu", 'is not a known parameter; did you mean "status"?'),
    ("/v1/jobs?Limit=3", "/query/Limit", 'is not a known parameter; did you mean "limit"?'),
    ("/v1/jobs?zzz=1", "/query/zzz", "is not a known parameter; must be one of status, tag, sweep, limit, after, ids"),
    ("/v1/jobs/job_none/metrics?max_point=9", "/query/max_point", 'did you mean "max_points"?'),
    ("/v1/jobs/job_none/explanations/confusion?row=train", "/query/row", 'did you mean "rows"?'),
    ("/v1/queue?limit=1", "/query/limit", "is not a known parameter; there are none here"),
    ("/v1/queue?a/b~=1", "/query/a~1b~0", "is not a known parameter"),
    ("/v1/jobs?limit=1&limit=2", "/query/limit", "is given 2 times; must be given once"),
    ("/v1/jobs?tag=a&tag=b&tag=c", "/query/tag", "is given 3 times; must be given once"),
    ("/v1/jobs?zzz=1&zzz=2", "/query/zzz", "is not a known parameter; must be one of status"),
]


@pytest.mark.parametrize(("path", "pointer", "words"), UNKNOWN, ids=[path for path, _, _ in UNKNOWN])
def test_an_unknown_or_repeated_query_parameter_is_answered_with_what_was_meant(
    api: httpx2.Client, path: str, pointer: str, words: str
) -> None:
    (error,) = assert_problem(api.get(path), 422, "invalid_input")["errors"]
    assert error["pointer"] == pointer
    assert words in error["detail"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/jobs?limit=0&statsu=failed&status=done&zzz=1", ["status", "limit", "statsu", "zzz"]),
        ("/v1/metrics?job=job_a&max_points=1", ["jobs", "max_points", "job"]),
        ("/v1/jobs?limit=1&status=done&limit=2&zzz=1", ["status", "limit", "zzz"]),
        (f"/v1/jobs?{'&'.join(f'z{n}' for n in range(30))}&limit=0", ["limit", *(f"z{n}" for n in range(19))]),
    ],
    ids=["values", "missing", "repeated", "many"],
)
def test_all_that_is_wrong_in_a_query_is_told_at_once(api: httpx2.Client, path: str, told: list[str]) -> None:
    errors = assert_problem(api.get(path), 422, "invalid_input")["errors"]
    assert [error["pointer"] for error in errors] == [f"/query/{name}" for name in told]


def test_every_route_of_the_contract_refuses_a_parameter_that_it_does_not_declare(api: httpx2.Client) -> None:
    routes = api.get("/openapi.json").json()["paths"]
    for path, methods in routes.items():
        for method, route in methods.items():
            required = [one["name"] for one in route.get("parameters", []) if one["in"] == "query" and one["required"]]
            answer = api.request(method, f"{path.replace('{', '').replace('}', '')}?zzz=1")
            assert answer.status_code == 422, (method, path, answer.text)
            told = [error["pointer"] for error in answer.json()["errors"]]
            assert told == [f"/query/{name}" for name in (*required, "zzz")], (method, path)


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/static/app.js"])
def test_the_page_and_probes_take_any_parameter(api: httpx2.Client, path: str) -> None:
    assert api.get(f"{path}?seen=1").status_code == 200


def test_a_query_of_unknown_parameters_is_refused_soon(api: httpx2.Client) -> None:
    query = "&".join(f"statu{number}=" for number in range(5_000))
    began = time.monotonic()
    problem = assert_problem(api.get(f"/v1/jobs?{query}"), 422, "invalid_input")
    assert len(problem["errors"]) == 20
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "1e3", "9" * 30, "", " 1", "٣"])
def test_a_bad_event_position_is_400(api: httpx2.Client, value: str) -> None:
    job = submitted(api)
    path = f"/v1/jobs/{job['id']}/events"
    assert_problem(api.get(path, params={"after": value}), 400, "malformed_input")
    if value.isascii() and value.strip() == value:
        assert_problem(api.get(path, headers={"Last-Event-ID": value}), 400, "malformed_input")


def test_the_response_says_who_it_was(api: httpx2.Client) -> None:
    first, second = api.get("/healthz"), api.post("/v1/jobs", json=SPEC | {"x": 1})
    assert first.headers["x-request-id"].startswith("req_")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
