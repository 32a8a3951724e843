"""The command `streamapi`: how it is called, and how `make run` brings it."""

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


def said(*command: str, cwd: Path, **env: str) -> str:
    """What a command prints on stdout; it must end well."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_module_is_the_command(tmp_path: Path) -> None:
    """`python -m streamapi` and `streamapi` are the same, and tell their version."""
    assert said(sys.executable, "-m", "streamapi", "--version", cwd=tmp_path) == (
        f"streamapi {VERSION}\n"
    )


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")
def test_make_run_brings_the_command(tmp_path: Path) -> None:
    """What `make run` installs has `streamapi`, usable from any folder. pip is left out here: its
    part, the dependencies, comes from the environment of the tests."""
    folder = str(tmp_path / "venv")
    make = ("make", f"PYTHON={sys.executable}", f"VENV={folder}", "PIP=true", f"{folder}/.runtime")
    said(*make, cwd=ROOT, MAKEFLAGS="")
    dependencies = sysconfig.get_path("purelib")
    command = f"{folder}/bin/streamapi"
    assert said(command, "--version", cwd=tmp_path, PYTHONPATH=dependencies) == (
        f"streamapi {VERSION}\n"
    )
    assert "STREAMAPI_BIND=" in said(command, "config", cwd=tmp_path, PYTHONPATH=dependencies)
