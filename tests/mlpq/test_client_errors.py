"""The client's exceptions carry what the service said, and print it well."""

from __future__ import annotations

import json

import pytest

import mlpq
from mlpq.cli.exits import exit_status
from mlpq.errors import ApiError, InvalidInputError, MlpqError, ServiceUnreachableError, error_from

PROBLEM = {
    "type": "about:blank",
    "title": "Invalid input",
    "status": 422,
    "detail": "two fields are wrong",
    "code": "invalid_input",
    "errors": [
        {"pointer": "/net/hidden/2", "detail": "is 0; must be 1..65536"},
        {"pointer": "/training/epochs", "detail": "is -1; must be 1..1000000"},
    ],
}


def test_a_problem_keeps_status_code_and_fields() -> None:
    error = error_from(422, json.dumps(PROBLEM).encode())
    assert isinstance(error, InvalidInputError)
    assert (error.status, error.code) == (422, "invalid_input")
    assert [field.pointer for field in error.errors] == ["/net/hidden/2", "/training/epochs"]
    assert str(error).splitlines()[1:] == [
        "  /net/hidden/2: is 0; must be 1..65536",
        "  /training/epochs: is -1; must be 1..1000000",
    ]


def test_one_field_is_one_line() -> None:
    error = error_from(422, json.dumps({**PROBLEM, "errors": PROBLEM["errors"][:1]}).encode())
    assert str(error) == "/net/hidden/2: is 0; must be 1..65536 [422 invalid_input]"


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"[1,2]", b'{"errors": [3]}', b"\xff\xfe"])
def test_any_body_becomes_an_error(body: bytes) -> None:
    error = error_from(502, body)
    assert isinstance(error, ApiError)
    assert "502" in str(error)


@pytest.mark.parametrize(
    ("status", "expected"), [(400, 2), (401, 7), (403, 7), (404, 3), (409, 5), (413, 2), (422, 2), (503, 4), (500, 4)]
)
def test_every_refusal_has_its_exit_status(status: int, expected: int) -> None:
    assert exit_status(error_from(status, b"{}")) == expected


def test_an_unreachable_service_says_what_to_do() -> None:
    error = ServiceUnreachableError("http://127.0.0.1:1", "refused")
    assert exit_status(error) == 4
    assert "mlpq up" in error.hint


@pytest.mark.parametrize("name", mlpq.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(mlpq, name) is not None


def test_every_exported_error_belongs_to_the_tree() -> None:
    errors = [getattr(mlpq, name) for name in mlpq.__all__ if name.endswith("Error")]
    assert len(errors) > 8
    assert all(issubclass(error, MlpqError) for error in errors)


def test_refused_fields_that_the_detail_repeats_stand_on_lines_of_their_own() -> None:
    errors = [{"pointer": f"/file/{row}/a", "detail": f"row {row} is wrong"} for row in (2, 5, 9)]
    joined = "; ".join(f"{error['pointer']}: {error['detail']}" for error in errors)
    body = json.dumps({"code": "invalid_input", "detail": joined, "errors": errors}).encode()
    first, *others = str(error_from(422, body)).splitlines()
    assert first == "/file/2/a: row 2 is wrong [422 invalid_input]"
    assert others == ["  /file/5/a: row 5 is wrong", "  /file/9/a: row 9 is wrong"]
