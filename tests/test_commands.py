"""The command `streamapi`: how it is called, and how `make run` installs it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def output(*command: str, cwd: Path, **env: str) -> str:
    """What a command prints on stdout. It must exit with 0."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_module_is_the_command(tmp_path: Path) -> None:
    """`python -m streamapi` is the same command, and prints the version."""
    assert output(sys.executable, "-m", "streamapi", "--version", cwd=tmp_path) == (
        f"streamapi {VERSION}\n"
    )


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")
def test_make_run_installs_the_command(tmp_path: Path) -> None:
    """`make run` installs a `streamapi` that works in any folder. The test skips pip: the
    dependencies come from the environment of the tests."""
    folder = str(tmp_path / "venv")
    make = ("make", f"PYTHON={sys.executable}", f"VENV={folder}", "PIP=true", f"{folder}/.runtime")
    output(*make, cwd=ROOT, MAKEFLAGS="")
    dependencies = sysconfig.get_path("purelib")
    command = f"{folder}/bin/streamapi"
    assert output(command, "--version", cwd=tmp_path, PYTHONPATH=dependencies) == (
        f"streamapi {VERSION}\n"
    )
    assert "STREAMAPI_BIND=" in output(command, "config", cwd=tmp_path, PYTHONPATH=dependencies)
