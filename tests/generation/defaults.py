"""Bounds as the settings have them, for tests that change one or two."""

from typing import Any

from msgspec.structs import replace

from streamapi import services
from streamapi.generation.admission import Admission
from streamapi.generation.chain import RetryPolicy
from streamapi.generation.log_bounds import LogBounds
from streamapi.generation.memory_log import MemoryLogs
from streamapi.settings.storage import StorageSettings
from streamapi.settings.upstream import UpstreamSettings

UPSTREAM, STORAGE = UpstreamSettings(), StorageSettings()


def log_bounds(**changes: Any) -> LogBounds:
    """The bounds of logs."""
    return replace(services.log_bounds(STORAGE), **changes)


def memory_logs(**changes: Any) -> MemoryLogs:
    """Logs in memory."""
    return MemoryLogs(log_bounds(**changes))


def retry_policy(**changes: Any) -> RetryPolicy:
    """How often a producer tries, and how long it waits."""
    return replace(services.retry_policy(UPSTREAM, STORAGE.log_max_bytes), **changes)


def admission(**changes: Any) -> Admission:
    """The bounds on calls to models."""
    return Admission(replace(services.admission_bounds(UPSTREAM), **changes))
