"""Which service and key hold: option over environment over file over default; a key goes to its own address alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from mlpq import Client, InvalidArgumentError
from mlpq.config import resolve
from tests.mlpq.command import Mlpq


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config file that its owner alone can read; the environment says nothing."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    for name in ("MLPQ_URL", "MLPQ_API_KEY", "MLPQ_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "xdg" / "mlpq" / "config.toml"
    path.parent.mkdir(parents=True)
    path.touch(0o600)
    return path


FILE = """
url = "http://127.0.0.1:1/"
key = "of the file"

[profiles.lab]
url = "http://127.0.0.1:2"
key_file = "lab.key"
"""


def test_an_option_goes_over_the_environment_over_the_file_over_the_default(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (resolve().url.value, resolve().url.source) == ("http://127.0.0.1:8000", "default")
    file.write_text(FILE)
    assert (resolve().url.value, resolve().url.source) == ("http://127.0.0.1:1", str(file))
    assert (resolve().key.value, resolve().key.source) == ("of the file", str(file))
    monkeypatch.setenv("MLPQ_URL", "http://127.0.0.1:3")
    monkeypatch.setenv("MLPQ_API_KEY", "first,second")
    found = resolve()
    assert (found.url.value, found.url.source) == ("http://127.0.0.1:3", "MLPQ_URL")
    assert (found.key.value, found.key.source) == ("first", "MLPQ_API_KEY")
    found = resolve("http://127.0.0.1:4", "mine")
    assert (found.url.value, found.key.value) == ("http://127.0.0.1:4", "mine")


def test_a_profile_is_chosen_by_argument_environment_or_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(FILE)
    (file.parent / "lab.key").write_text("of the lab\n")
    (file.parent / "lab.key").chmod(0o600)
    found = resolve(profile="lab")
    assert (found.url.value, found.key.value, found.warnings) == ("http://127.0.0.1:2", "of the lab", ())
    monkeypatch.setenv("MLPQ_PROFILE", "lab")
    assert resolve().profile.source == "MLPQ_PROFILE"
    monkeypatch.delenv("MLPQ_PROFILE")
    file.write_text('profile = "lab"\n' + FILE)
    assert resolve().url.value == "http://127.0.0.1:2"
    with pytest.raises(InvalidArgumentError, match="no profile 'lap'"):
        resolve(profile="lap")


def test_a_key_of_the_file_goes_to_no_other_address(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(FILE)
    assert resolve("http://127.0.0.1:9").key.value is None
    monkeypatch.setenv("MLPQ_URL", "http://127.0.0.1:9")
    assert resolve().key.value is None
    monkeypatch.setenv("MLPQ_URL", "http://127.0.0.1:1/")
    assert resolve().key.value == "of the file"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("url = nowhere", "is no TOML"),
        ('url = "nowhere"', "must start with http"),
        ("url = 3", "url is 3; must be text"),
        ('ulr = "http://x"', "ulr is no setting"),
        ('[profiles.lab]\nprofile = "x"', "profiles.lab.profile is no setting"),
        ("profiles = 3", "profiles must be tables"),
        ('key_file = "absent"', "the key file absent cannot be read"),
        ("\ud800", "cannot be read"),
        ('key = "schlüssel"', "the API key holds what no header can"),
    ],
)
def test_a_bad_file_is_one_line_and_a_hint(file: Path, mlpq: Mlpq, text: str, said: str) -> None:
    mlpq.patch.delenv("MLPQ_URL")
    file.write_bytes(text.encode(errors="surrogatepass"))
    assert mlpq("jobs", status=2) == ""
    assert said in mlpq.stderr
    assert len(mlpq.stderr.splitlines()) in (1, 2)
    assert str(file) in mlpq.stderr or "key file" in mlpq.stderr


class Keys(BaseHTTPRequestHandler):
    """Remembers the key of each request, and has no jobs."""

    seen: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization"))
        body = b'{"data": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listening() -> Iterator[str]:
    Keys.seen.clear()
    with HTTPServer(("127.0.0.1", 0), Keys) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_commands_and_clients_use_the_file_and_warn_of_a_key_that_others_can_read(
    file: Path, listening: str, mlpq: Mlpq
) -> None:
    mlpq.patch.delenv("MLPQ_URL")
    file.write_text(f'url = "{listening}"\nkey = "secret"\n')
    mlpq("jobs")
    assert (Keys.seen, mlpq.stderr) == (["Bearer secret"], "")
    file.chmod(0o644)
    mlpq("jobs")
    assert f"warning: {file} holds a key and can be read by others: chmod 600" in mlpq.stderr
    with pytest.warns(UserWarning, match="can be read by others"), Client() as client:
        assert list(client.jobs()) == []
    assert Keys.seen == ["Bearer secret"] * 3
    mlpq("jobs", "--url", listening.replace("127.0.0.1", "localhost"))
    assert Keys.seen[-1] is None


def test_config_shows_what_holds_from_where_and_no_key(file: Path, mlpq: Mlpq) -> None:
    mlpq.patch.delenv("MLPQ_URL")
    file.write_text(FILE)
    shown = mlpq("config")
    assert f"http://127.0.0.1:1  ({file})" in shown
    assert f"11 characters  ({file})" in shown
    assert "of the file" not in shown + str(mlpq.json("config"))
    (file.parent / "lab.key").write_text("x")
    assert mlpq.json("--profile", "lab", "config")["url"]["value"] == "http://127.0.0.1:2"
    assert "lab.key holds a key and can be read by others" in mlpq.stderr
    assert mlpq.json("config", "--url", "http://127.0.0.1:5")["url"]["source"] == "argument url"
    assert mlpq.json("config", "--url", "http://127.0.0.1:5")["key"] == {"given": False, "source": "nowhere"}
