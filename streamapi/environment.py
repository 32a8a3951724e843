"""Variables of the environment that look like settings and are none.

A name with a typing error would be ignored in silence, and its setting not be in force. Pure: the
environment is passed in.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches

PREFIX = "STREAMAPI_"

LIKENESS = 0.6
"""How alike two names must be (0 to 1, as `difflib` has it) to be taken for the same."""

_INJECTED = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")


def unknown(environ: Mapping[str, str], known: Collection[str]) -> Iterator[tuple[str, str | None]]:
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
