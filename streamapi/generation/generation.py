"""A generation: one caller's hold on a log, and what the caller knows of it.

It is usually the only hold on its log. A request for the same again gets another generation on
the same log; a repeated idempotency key gets the same generation.
"""

from typing import Literal

import msgspec

OnDisconnect = Literal["grace", "cancel", "continue"]
CacheStatus = Literal["miss", "hit", "collapsed"]


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One caller's hold on a log: what the caller got for one request.

    `model` is the one asked for; `created` is in seconds since 1970. `owner` asked for it, and
    nobody else sees it; `key` is the id of the key that was shown, if any. `digest` stands for the
    request that began it. For `promise` seconds from its beginning an idempotency key stands for
    it, and it must not be forgotten (0: no key does).
    """

    id: str
    log: str
    owner: str
    key: str | None = None
    task: str
    model: str
    created: float
    metadata: dict[str, str] = {}
    digest: str = ""
    cache: CacheStatus = "miss"
    on_disconnect: OnDisconnect = "grace"
    promise: float = 0.0
