"""Variables of the environment that look like settings and are none.

A name with a typing error would be ignored in silence, and its setting not be in force. Pure: the
environment is passed in.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches

PREFIX = "STREAMAPI_"

LIKENESS = 0.6
"""How alike two names must be (0 to 1, as `difflib` has it) to be taken for the same."""

_INJECTED = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")


def unread(environ: Mapping[str, str], fields: Iterable[str]) -> list[tuple[str, str | None]]:
    """A sentence for each variable that looks like one of the settings (by their fields) and is
    none, and the setting that it is most like."""
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
    """Each variable with our prefix that is no setting, and the setting that it is most like.

    Kubernetes sets such variables in every container beside a service named `streamapi` (or
    `streamapi-redis`): they are passed over."""
    for name, value in sorted(environ.items()):
        said = name.upper()  # the case of a name does not matter
        if not said.startswith(PREFIX) or said in known:
            continue
        if _INJECTED.fullmatch(said) or (
            said.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(value)
        ):
            continue
        names = {it.removeprefix(PREFIX): it for it in known if it.startswith(PREFIX)}
        alike = get_close_matches(said.removeprefix(PREFIX), names, 1, LIKENESS)
        yield name, names[alike[0]] if alike else None
