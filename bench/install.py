"""Peers, each in an environment of its own under `.peers/`, with the versions of `peers/`.

pip and npm install exactly what the files there name; nginx and Redis are Debian's packages. What
cannot be installed raises `Missing` with the reason, which the table shows.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PEERS = HERE / ".peers"
PINS = HERE / "peers"
NGINX = "/usr/sbin/nginx"
PATIENCE = 600
"""Seconds that one installation may take."""


class Missing(Exception):
    """Why a peer, or one measure, is left out."""


def install(peer: str) -> None:
    """Install a peer, unless what its file names is there already."""
    if peer == "nginx":
        tool("nginx", NGINX)
    elif (PINS / f"{peer}.txt").exists():
        _once(peer, (PINS / f"{peer}.txt").read_bytes(), _pip)
    else:
        folder = PINS / peer
        files = sorted(path for path in folder.iterdir() if path.is_file())
        _once(peer, b"".join(path.read_bytes() for path in files), _npm)


def versions(peer: str) -> str:
    """The version of what matters in a peer, for the report."""
    if peer == "nginx":
        said = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=False).stderr
        return said.strip().rpartition("/")[2]
    pins = PINS / f"{peer}.txt"
    if pins.exists():
        names = ("litellm", "langserve", "langchain-google-genai", "google-genai", "py-spy",
                 "fastapi", "quart", "hypercorn", "uvicorn", "uvloop")  # fmt: skip
        lines = pins.read_text().split()
        return ", ".join(x.replace("==", " ") for x in lines if x.lower().split("==")[0] in names)
    found = (PINS / peer / "package.json").read_text().partition('"dependencies"')[2]
    pairs = [part.split('"') for part in found.splitlines() if part.count('"') == 4]
    node = subprocess.run(["node", "-v"], capture_output=True, text=True, check=False).stdout
    return ", ".join([*(f"{pair[1]} {pair[3]}" for pair in pairs), f"Node {node.strip()}"])


def _once(peer: str, pins: bytes, how: object) -> None:
    stamp, digest = PEERS / peer / ".installed", hashlib.sha256(pins).hexdigest()
    if stamp.exists() and stamp.read_text().strip() == digest:
        return
    shutil.rmtree(PEERS / peer, ignore_errors=True)
    (PEERS / peer).mkdir(parents=True)
    assert callable(how)
    how(peer)
    stamp.write_text(digest)


def _pip(peer: str) -> None:
    folder = PEERS / peer
    _run([sys.executable, "-m", "venv", str(folder)])
    pins = str(PINS / f"{peer}.txt")
    _run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps", "-r", pins])


def _npm(peer: str) -> None:
    if shutil.which("npm") is None:
        raise Missing("npm is not here")
    for path in (PINS / peer).iterdir():
        shutil.copy(path, PEERS / peer)
    _run(["npm", "ci", "--no-audit", "--no-fund", "--omit=dev"], PEERS / peer)


def tool(package: str, command: str) -> None:
    """Install a package of Debian's, unless its command is there already."""
    if shutil.which(command) is not None:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Missing(f"Debian's package {package} is not installed, and only root can")
    quiet = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    _run([*quiet, "update"])
    # It is to be here, not to run: its own service must not start.
    _run([*quiet, "install", "-y", "--no-install-recommends", package])


def _run(command: list[str], cwd: Path | None = None) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    try:
        subprocess.run(
            command, cwd=cwd, env=env, check=True, timeout=PATIENCE, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        last = [line for line in error.stderr.splitlines() if line.strip()][-1:]
        said = "".join(last)[:160] or f"exit code {error.returncode}"
        raise Missing(f"{Path(command[0]).name} could not install it: {said}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{Path(command[0]).name}: {type(error).__name__}") from None
