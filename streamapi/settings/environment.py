"""Environment variables that look like settings and are not.

Otherwise a misspelt name would be ignored in silence, and its setting would keep its default. These
are functions over values: the caller passes the environment in.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches

PREFIX = "STREAMAPI_"

LIKENESS = 0.6
"""How similar a misspelt name must be to a setting to be named with it: 0 to 1, by `difflib`."""

_INJECTED = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")


def unread(environ: Mapping[str, str], fields: Iterable[str]) -> list[tuple[str, str | None]]:
    """A sentence for each variable that looks like a setting and is not one of `fields`, with the
    name of the most similar setting, if there is one."""
    sentences = []
    for name, nearest in _unknown(environ, {f"{PREFIX}{field.upper()}" for field in fields}):
        guess = f"did you mean {nearest}?" if nearest else "`streamapi config` prints all settings."
        sentences.append((f"{name} is not a setting; {guess}", nearest))
    if environ.get("GEMINI_API_KEY") and not environ.get("GOOGLE_API_KEY"):
        sentences.append(("GEMINI_API_KEY is not read: set GOOGLE_API_KEY.", None))
    return sentences


def _unknown(
    environ: Mapping[str, str], known: Collection[str]
) -> Iterator[tuple[str, str | None]]:
    """Each variable with our prefix that is not a setting, and the most similar setting.

    Skips the variables that Kubernetes sets in every container for a service named `streamapi` or,
    for example, `streamapi-redis`."""
    for name, value in sorted(environ.items()):
        upper = name.upper()  # pydantic-settings ignores the case of a name
        if not upper.startswith(PREFIX) or upper in known:
            continue
        if _INJECTED.fullmatch(upper) or (
            upper.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(value)
        ):
            continue
        names = {it.removeprefix(PREFIX): it for it in known if it.startswith(PREFIX)}
        similar = get_close_matches(upper.removeprefix(PREFIX), names, 1, LIKENESS)
        yield name, names[similar[0]] if similar else None
