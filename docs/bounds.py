"""The bounds that are constants, for `docs/reference/bounds.md`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOT_BOUNDS = {
    "access.keys.SECRET_DIGITS",
    "access.redis_limits.MICRO",
    "api.routes.socket.GOING_AWAY",
    "generation.log.LOST_AT",
    "generation.redis.holds.LAST",
    "generation.redis.orphans.NOW",
    "generation.redis.wire.FORMAT",
    "server.INTERRUPTED",
    "server.REFUSED",
    "tasks.syntax.child.GAVE_UP",
}
"""Numbers that bound nothing: codes, versions, positions."""


def constants() -> Iterator[tuple[str, str, str]]:
    """Each number at the top of a module that is a bound: its module and name, its value, and its
    docstring, which may be empty. Where several names share a line, the first one counts."""
    for path in sorted((ROOT / "streamapi").rglob("*.py")):
        parts = path.relative_to(ROOT / "streamapi").with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        body = ast.parse(path.read_text()).body
        for node, after in zip(body, [*body[1:], None], strict=True):
            if not isinstance(node, ast.Assign) or parts[0] == "emulator":
                continue
            names = re.findall(r"\b[A-Z][A-Z_]+\b", ast.unparse(node.targets[0]))
            values = _numbers(node.value)
            if names and values and f"{module}.{names[0]}" not in NOT_BOUNDS:
                yield f"{module}.{', '.join(names)}", values, _docstring(after)


def _numbers(node: ast.expr) -> str:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return ""
    values = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(it, int | float) and not isinstance(it, bool) for it in values):
        return ""
    return ", ".join(f"{it:,}" if it >= 1000 else f"{it:g}" for it in values)


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).split())
    return ""
