"""The published wheel: what it holds, and what it can do without the server's rooms."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from email import message_from_string
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by hatchling without network and without isolation."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's files and its declared dependencies, and nothing of this checkout."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (metadata,) = folder.glob("mlpq-*.dist-info/METADATA")
    for needed in _closure(message_from_string(metadata.read_text()).get_all("Requires-Dist", [])):
        for top in {file.parts[0] for file in needed.files or ()} - {"..", "__pycache__"}:
            (folder / top).symlink_to(Path(str(needed.locate_file(top))))
    return folder


def _closure(requirements: list[str]) -> list[Distribution]:
    """Every installed distribution that these requirements need, extras left out."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        needed = waiting.pop()
        name = canonicalize_name(needed.name)
        if name not in found and (needed.marker is None or needed.marker.evaluate({"extra": ""})):
            found[name] = distribution(name)
            waiting += [Requirement(text) for text in found[name].requires or ()]
    return list(found.values())


def run(unpacked: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python that sees the standard library and `unpacked`, nothing else; it starts in an empty folder."""
    elsewhere = unpacked.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(unpacked), "PYTHONUTF8": "1", **environment}
    command = [sys.executable, "-S", "-P", *arguments]
    return subprocess.run(command, cwd=elsewhere, env=clean, capture_output=True, text=True, timeout=60)


def test_the_wheel_holds_the_client_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    version = wheel.name.split("-")[1]
    assert {name.split("/")[0] for name in names} == {"mlpq", f"mlpq-{version}.dist-info"}
    assert {"mlpq/__init__.py", "mlpq/client.py", "mlpq/cli/__init__.py", "mlpq/up/plan.py", "mlpq/py.typed"} <= {
        *names
    }
    assert all(name.endswith((".py", "py.typed")) for name in names if name.startswith("mlpq/"))
    on_disk = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "mlpq").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == on_disk


def test_every_module_of_the_wheel_imports_without_the_server(unpacked: Path) -> None:
    modules = sorted(
        str(path.relative_to(unpacked).with_suffix("")).replace("/", ".").removesuffix(".__init__")
        for path in (unpacked / "mlpq").rglob("*.py")
        if path.name != "__main__.py" and path.parent.name != "estimators"
    )
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        "found = {'service', 'worker', 'store', 'nets', 'kernels', 'redis', 'rq', 'fastapi', 'cupy'} & {*sys.modules}\n"
        "assert not found, found\nimport mlpq\nassert mlpq.Client(url='http://127.0.0.1:1').url\nprint(len(mlpq.__all__))"
    )
    done = run(unpacked, "-c", code)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


def test_without_scikit_learn_only_the_estimators_are_missing(unpacked: Path) -> None:
    done = run(unpacked, "-c", "from mlpq import *\nprint(Client.__name__)\nfrom mlpq import MLPClassifier")
    assert done.stdout == "Client\n"
    assert done.stderr.endswith('ImportError: the estimators need scikit-learn: pip install "mlpq[sklearn]"\n')


def test_up_without_the_server_names_what_is_missing(unpacked: Path, tmp_path: Path) -> None:
    done = run(unpacked, "-m", "mlpq", "up", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 6, done.stderr
    assert "the server is not installed here: missing service, worker, store, nets, kernels, fastapi" in done.stderr
    assert "pip install -e '.[server]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_folders_that_happen_to_have_the_rooms_names_are_no_server(unpacked: Path) -> None:
    code = "import sys; sys.path.insert(0, '.')\nfrom mlpq.up.plan import require_server; require_server()"
    elsewhere = unpacked.parent / "elsewhere"
    for name in ("service", "kernels"):
        (elsewhere / name).mkdir(parents=True, exist_ok=True)
    assert "missing service, worker, store, nets, kernels" in run(unpacked, "-c", code).stderr


def test_the_command_line_answers_without_the_server(unpacked: Path) -> None:
    done = run(unpacked, "-m", "mlpq", "version", "--json")
    assert done.stdout.startswith('{"name": "mlpq", "version": ')
    helped = run(unpacked, "-m", "mlpq", "--help", COLUMNS="200")
    assert "Exit status: 0 ok" in helped.stdout


def test_a_service_that_is_away_is_one_line_and_a_hint(unpacked: Path) -> None:
    done = run(unpacked, "-m", "mlpq", "jobs", MLPQ_URL="http://127.0.0.1:9")
    assert done.returncode == 4
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 2
    assert "mlpq up" in done.stderr


def test_help_needs_neither_numpy_nor_http(unpacked: Path) -> None:
    code = (
        "import sys; sys.argv = ['mlpq', '--help']\nimport mlpq.cli\n"
        "try: mlpq.cli.main()\nexcept SystemExit: pass\n"
        "print({'numpy', 'httpx2', 'rich.live'} & {*sys.modules} or 'light', file=sys.stderr)"
    )
    assert run(unpacked, "-c", code).stderr.strip() == "light"
