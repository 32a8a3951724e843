"""The bounds of the logs of a process; the settings have their defaults."""

import msgspec


class LogBounds(msgspec.Struct, frozen=True, kw_only=True):
    """`ttl`: seconds that a log lives after its ending; `expired_ttl`: that its generation is
    remembered after that. `max_bytes` and `max_events` bound one log; `max_logs`,
    `max_total_bytes` and `max_generations` bound all of them."""

    ttl: float
    expired_ttl: float
    max_bytes: int
    max_events: int
    max_logs: int
    max_total_bytes: int
    max_generations: int
