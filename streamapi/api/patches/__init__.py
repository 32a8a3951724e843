"""What is changed in Hypercorn, h11, wsproto and Quart: one file per concern, each with its
incident. None of them offers a setting for it.

Each patch names what it relies on, and a server whose libraries lack one of these names does not
start. So a release that renames a private part is noticed by us, and not by an attacker.

targets.py      what the patches rely on, and how that is checked
connections.py  bounds of connections and of the time for a head
heads.py        HTTP/1.1 only, and only heads that can be read in one way
request_head.py what the head of a request may be: rules without I/O
http1.py        how a connection reads requests and writes responses
closing.py      how a connection ends: early answers, refused heads, timers
websocket.py    bounds of frames and messages
answers.py      problems that are answered before the app gets the request
"""

from quart import Quart

from streamapi.api.patches import closing, connections, heads, http1, targets, websocket
from streamapi.settings import Settings

TARGETS = (
    *connections.TARGETS,
    *heads.TARGETS,
    *closing.TARGETS,
    *http1.TARGETS,
    *websocket.TARGETS,
)


def apply(app: Quart, settings: Settings) -> None:
    """Let Hypercorn serve the app with these patches. Raises `MissingTarget` where an installed
    library is not one that they fit."""
    targets.apply(*TARGETS)
    connections.apply(app, settings)
    heads.apply(app)
    websocket.apply(app)
