"""The tests' C++ compiler: whatever the machine has, else the wheel `ziglang`, with the same results."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from kernels.cupy_backend import elementwise_kernel
from kernels.operations import ACTIVATIONS
from tests.kernels import host_compiler
from tests.kernels.cuda_support import CONTIGUOUS, HostLibrary, Kernel


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def tanh() -> Kernel:
    expression = ACTIVATIONS["tanh"].value_expression
    return Kernel(elementwise_kernel("tanh_value", expression, np.dtype("float32")), (), CONTIGUOUS)


def value(folder: Path) -> np.ndarray:
    x = np.linspace(-3, 3, 1001, dtype=np.float32)
    out = np.empty_like(x)
    HostLibrary([tanh()], folder).run(tanh(), [x], out)
    return out


def test_the_wheel_alone_builds_a_kernel_that_computes_the_same(tmp_path: Path, empty_path: None) -> None:
    assert host_compiler.find() == (sys.executable, "-m", "ziglang", "c++")
    assert np.allclose(value(tmp_path), np.tanh(np.linspace(-3, 3, 1001)), rtol=3e-7, atol=0)


@pytest.mark.parametrize("name", host_compiler.ON_THE_PATH)
def test_a_compiler_on_the_path_comes_first(name: str, tmp_path: Path, empty_path: None) -> None:
    program = tmp_path / "bin" / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert host_compiler.find() == (str(program),)


def test_a_missing_host_compiler_fails_loudly(
    tmp_path: Path, empty_path: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_compiler, "find_spec", lambda name: None)
    assert shutil.which("g++") is None
    with pytest.raises(RuntimeError, match=r"no C\+\+ compiler"):
        HostLibrary([tanh()], tmp_path)
