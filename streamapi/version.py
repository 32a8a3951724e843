"""The version of this program: that of the installed distribution, else that of the checkout."""

import tomllib
from importlib import metadata
from pathlib import Path


def version() -> str:
    """The version, as `pyproject.toml` has it."""
    try:
        return metadata.version("streamapi")
    except metadata.PackageNotFoundError:  # `make run`, in a checkout that was never installed
        project = Path(__file__).parent.parent / "pyproject.toml"
        return str(tomllib.loads(project.read_text())["project"]["version"])
