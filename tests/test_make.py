"""The Makefile's own checks: tests that cannot run are reported, and fail the run in CI."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OLD_NODE = "#!/bin/sh\nexit 1\n"
"""A script that answers the check of its version like Node 18."""
NEW_NODE = '#!/bin/sh\n[ "$1" = -e ] || echo "ran $*"\n'


def fake(folder: Path, name: str, script: str) -> None:
    """Make a command that runs the script."""
    path = folder / name
    path.write_text(script)
    path.chmod(0o755)


def make(folder: Path, target: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a target with only the commands of a folder, and so without apt-get."""
    found = shutil.which("id")
    assert found is not None
    (folder / "id").symlink_to(found)
    program = shutil.which("make")
    assert program is not None
    return subprocess.run(
        [program, target],
        cwd=ROOT,
        env={"PATH": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("script", [None, OLD_NODE], ids=["none", "old"])
def test_without_a_new_node_the_client_is_not_tested(tmp_path: Path, script: str | None) -> None:
    """The target prints a warning, and fails in CI."""
    if script is not None:
        fake(tmp_path, "node", script)
    (tmp_path / "ci").mkdir()
    if script is not None:
        fake(tmp_path / "ci", "node", script)
    here, ci = make(tmp_path, "test-client"), make(tmp_path / "ci", "test-client", CI="true")
    assert (here.returncode, ci.returncode) == (0, 2)
    for done in (here, ci):
        assert "!!! missing: Node 20 or newer; the JavaScript client is NOT tested" in done.stderr


def test_with_a_new_node_the_client_is_tested(tmp_path: Path) -> None:
    """The target runs every test file."""
    fake(tmp_path, "node", NEW_NODE)
    done = make(tmp_path, "test-client", CI="true")
    assert done.returncode == 0, done.stderr
    assert "ran --test tests/static/client.test.mjs" in done.stdout


def test_the_check_works_with_the_real_node(tmp_path: Path) -> None:
    """Node 20 throws at `process.exit(true)`, which would look like a missing Node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node here")
    asks = f'#!/bin/sh\n[ "$1" = -e ] || {{ echo ran; exit 0; }}\nexec {node} "$@"\n'
    fake(tmp_path, "node", asks)
    assert make(tmp_path, "test-client", CI="true").stdout.strip().endswith("ran")


@pytest.mark.parametrize("lacks", ["chromium", "redis-server", "node"])
def test_missing_commands_fail_in_ci(tmp_path: Path, lacks: str) -> None:
    """A missing command that cannot be installed fails the run in CI; elsewhere it is named."""
    for folder in (tmp_path / "here", tmp_path / "ci"):
        folder.mkdir()
        for name in {"chromium", "redis-server", "node"} - {lacks}:
            fake(folder, name, "#!/bin/sh\n")
    here, ci = make(tmp_path / "here", "system"), make(tmp_path / "ci", "system", CI="true")
    assert (here.returncode, ci.returncode) == (0, 2)
    for done in (here, ci):
        assert f"!!! missing: {lacks}" in done.stderr


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_a_skipped_test_fails_in_ci(tmp_path: Path, ci: str, code: int) -> None:
    """It fails even when a test file runs by itself, without `make`."""
    chosen = "tests/static/test_keys.py::test_the_client_sends_its_key"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", chosen],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path), "CI": ci},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("Node is not installed" in done.stdout) == bool(ci)
