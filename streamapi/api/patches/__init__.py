"""What is changed in Hypercorn, h11, wsproto and Quart: one file per concern, each with its
incident. Each asserts at the start that what it replaces is there, so that a release that renames
a private part is noticed when the server starts, and not by an attacker.

connections.py  bounds of connections and of the time for a head
heads.py        HTTP/1.1 only, and only heads that can be read in one way
http1.py        early answers, the time for a head, chunks written directly
websocket.py    bounds of frames and messages
answers.py      problems that are answered before the app is asked
"""

from streamapi.api.patches import connections, http1, websocket


def apply() -> None:
    """Let Hypercorn serve with these. It offers no setting for any of them."""
    connections.apply()
    http1.apply()
    websocket.apply()
