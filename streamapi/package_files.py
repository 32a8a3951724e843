"""Files that come with the package: inside it when it is installed, beside it in a checkout."""

from pathlib import Path

_HERE = Path(__file__).parent


def find(name: str) -> Path:
    """The path of such a file or folder. Raises `StopIteration` when the package lacks it."""
    return next(path for path in (_HERE / name, _HERE.parent / name) if path.exists())
