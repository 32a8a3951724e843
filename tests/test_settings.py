"""Settings are read once, frozen, bounded, and refused when they are unsafe."""

from typing import Any

import pytest
from pydantic import ValidationError

from streamapi.app import create_app
from streamapi.cli import main
from streamapi.server import run
from streamapi.settings import (
    Settings,
    UnsafeSettings,
    environment_name,
    read_settings,
    unread_variables,
)
from streamapi.startup import listen

ISSUE = """BIND GEMINI_BASE_URL DEFAULT_MODEL RETRY_ATTEMPTS RETRY_BACKOFF ATTEMPT_TIMEOUT
FIRST_CONTENT_TIMEOUT IDLE_TIMEOUT TOTAL_TIMEOUT SEND_TIMEOUT PING_INTERVAL STREAM_OPEN_AFTER
DISCONNECT_GRACE DRAIN_TIMEOUT LOG_TTL LOG_MAX_BYTES MAX_BODY_BYTES RATE_LIMIT"""


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(environment_name(field), raising=False)


@pytest.mark.parametrize("name", ISSUE.split())
def test_the_promised_settings_exist(name: str) -> None:
    """Each has its environment variable, and a sentence that says what it is for."""
    field = Settings.model_fields[name.lower()]
    assert environment_name(name.lower()) == f"STREAMAPI_{name}"
    assert field.description


def test_every_setting_is_described() -> None:
    """Each setting has a description, which its table shows."""
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """`STREAMAPI_...` and `GOOGLE_API_KEY`; fractions of seconds are allowed."""
    monkeypatch.setenv("STREAMAPI_PING_INTERVAL", "0.25")
    monkeypatch.setenv("STREAMAPI_FALLBACK_MODELS", "a, b,,c ")
    monkeypatch.setenv("GOOGLE_API_KEY", "k")
    settings = read_settings()
    assert settings.ping_interval == 0.25
    assert settings.fallback_models == ("a", "b", "c")
    assert settings.google_api_key is not None
    assert settings.google_api_key.get_secret_value() == "k"


def test_arguments_beat_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A keyword argument overrides the variable."""
    monkeypatch.setenv("STREAMAPI_RETRY_ATTEMPTS", "7")
    assert read_settings(retry_attempts=2).retry_attempts == 2


def test_settings_do_not_change() -> None:
    """They are frozen."""
    with pytest.raises(ValidationError):
        Settings().retry_attempts = 9  # type: ignore[misc]


@pytest.mark.parametrize("key", ["", " ", "\t"])
def test_an_empty_key_is_none(key: str) -> None:
    """An unset variable in a compose file is an empty one."""
    assert read_settings(google_api_key=key).google_api_key is None


def test_the_key_is_not_shown() -> None:
    """Printing the settings does not show the key."""
    settings = read_settings(google_api_key="AIza-secret")
    assert "AIza-secret" not in repr(settings) + str(settings) + settings.model_dump_json()


WRONG: list[tuple[str, Any]] = [
    ("bind", "8000"),
    ("bind", "127.0.0.1:99999"),
    ("bind", "127.0.0.1:http"),
    ("gemini_base_url", "ftp://x"),
    ("gemini_base_url", "https://"),
    ("gemini_base_url", "https://example.com:99999"),
    ("gemini_proxy", "proxy.example.com:3128"),
    ("gemini_proxy", "socks5://proxy.example.com"),
    ("redis_url", "localhost:6379"),
    ("redis_url", "http://localhost:6379"),
    ("redis_url", "redis://localhost:six"),
    ("redis_url", "redis://:pass#word@localhost"),
    ("redis_prefix", ""),
    ("redis_timeout", 0),
    ("redis_timeout", 2.5),
    ("redis_prefix", "a b"),
    ("connect_timeout", 0),
    ("retry_attempts", 0),
    ("retry_attempts", 21),
    ("retry_backoff", 0),
    ("attempt_timeout", -1),
    ("idle_timeout", "nan"),
    ("total_timeout", "inf"),
    ("ping_interval", 0),
    ("stream_open_after", -0.1),
    ("disconnect_grace", -1),
    ("log_max_bytes", 1),
    ("max_body_bytes", 10**12),
    ("rate_limit", "many"),
    ("rate_limit", "0/minute"),
    ("rate_limit", "10/fortnight"),
    ("rate_limit", "-1/minute"),
    ("rate_limit", ""),
    ("cors_origins", "example.com"),
    ("cors_origins", "https://*.example.com"),
    ("cors_origins", "https://example.com/path"),
    ("log_level", "loud"),
    ("auth", "some"),
    ("database_url", "streamapi.db"),
    ("database_url", "mysql://localhost/streamapi"),
    ("database_url", "sqlite:///"),
    ("key_ttl", 0),
    ("key_grace", -1),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=repr)
def test_what_is_out_of_bounds_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    """The sentence names the variable."""
    monkeypatch.setenv(environment_name(name), str(value))
    with pytest.raises(UnsafeSettings) as refused:
        read_settings()
    assert environment_name(name) in str(refused.value)
    assert "Value error" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("redis_url", "redis://localhost:6379"),
        ("redis_url", "rediss://user:p%40ss@[::1]:6380/1"),
        ("redis_url", "unix://user@/run/redis.sock?db=1"),
        ("database_url", "sqlite:////data/streamapi.db"),
        ("gemini_base_url", "http://127.0.0.1:8001/gateway"),
        ("gemini_proxy", "http://user:secret@proxy.example.com:3128"),
        ("gemini_proxy", ""),
    ],
)
def test_an_address_stays_as_it_was_given(name: str, value: str) -> None:
    """The client that connects to it reads it, not pydantic."""
    assert getattr(read_settings(**{name: value}), name) == value


def test_deadlines_that_do_not_nest_are_refused() -> None:
    """The time to the first content must fit into the total time."""
    with pytest.raises(UnsafeSettings, match="FIRST_CONTENT_TIMEOUT"):
        read_settings(first_content_timeout=20, total_timeout=10)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("120/minute", (120, 60.0)),
        ("1/second", (1, 1.0)),
        ("5/hour", (5, 3600.0)),
        ("9/day", (9, 86_400.0)),
        ("off", None),
    ],
)
def test_a_rate_is_read(text: str, rate: tuple[int, float] | None) -> None:
    """A rate is a number per period, or off."""
    assert read_settings(rate_limit=text).rate() == rate


@pytest.mark.parametrize(
    ("bind", "loopback"),
    [
        ("127.0.0.1:8000", True),
        ("127.9.9.9:1", True),
        ("[::1]:8000", True),
        ("localhost:8000", True),
        ("0.0.0.0:8000", False),
        ("[::]:8000", False),
        (":8000", False),
        ("192.168.1.1:8000", False),
        ("example.com:80", False),
        ("127.0.0.1.example.com:80", False),
    ],
)
def test_loopback_is_known(bind: str, loopback: bool) -> None:
    """The settings know whether only this machine can reach the server."""
    assert read_settings(bind=bind).on_loopback is loopback


def test_an_open_address_without_a_key_does_not_start() -> None:
    """The server would show an emulator to everyone, or fail at every request."""
    with pytest.raises(UnsafeSettings, match="GOOGLE_API_KEY"):
        run(read_settings(bind="0.0.0.0:0"))


def test_google_without_a_key_does_not_start() -> None:
    """The app alone starts no emulator. The error says what to set."""
    with pytest.raises(UnsafeSettings, match="GOOGLE_API_KEY"):
        create_app(read_settings())


def test_an_address_in_use_is_a_sentence() -> None:
    """The error is a sentence, and no traceback."""
    with listen(read_settings(bind="127.0.0.1:0")) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnsafeSettings, match=str(port)):
            listen(read_settings(bind=f"127.0.0.1:{port}"))


@pytest.mark.parametrize("name", ["default_model", "fast_model", "fallback_models"])
def test_an_unknown_model_is_a_sentence(name: str) -> None:
    """A misspelt model name is found at the start, and not by the first caller."""
    with pytest.raises(UnsafeSettings, match="gemini-9"):
        create_app(read_settings(gemini_base_url="http://127.0.0.1:1", **{name: "gemini-9"}))


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("STREAMAPI_RATE_LIMITS", "1/day", "STREAMAPI_RATE_LIMIT"),
        ("STREAMAPI_MAXLOGS", "5", "STREAMAPI_MAX_LOGS"),
        ("streamapi_redis_ur", "x", "STREAMAPI_REDIS_URL"),
        ("STREAMAPI_COLOUR", "red", None),
    ],
)
def test_a_variable_that_is_no_setting_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    nearest: str | None,
) -> None:
    """A warning on stderr names it, and the setting that is probably meant. The server starts."""
    monkeypatch.setenv(name, value)
    assert main(["config"]) == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"streamapi: warning: {name} is not a setting")
    assert nearest is None or line.endswith(f"; did you mean {nearest}?")


@pytest.mark.parametrize(
    "name", ["STREAMAPI_AUHT", "STREAMAPI_ALLOWED_HOST", "STREAMAPI_TRUSTED_HOP"]
)
def test_a_misspelt_setting_of_access_does_not_start(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Otherwise the server would be more open than its operator wants, without a sign of it."""
    monkeypatch.setenv(name, "keys")
    with pytest.raises(UnsafeSettings, match=f"{name} is not a setting; did you mean STREAMAPI_"):
        read_settings()


def test_variables_of_an_orchestrator_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes sets variables in every container, with the names of the services beside it."""
    for name, value in {
        "STREAMAPI_SERVICE_HOST": "10.0.0.1",
        "STREAMAPI_SERVICE_PORT": "8000",
        "STREAMAPI_SERVICE_PORT_HTTP": "8000",
        "STREAMAPI_PORT": "tcp://10.0.0.1:8000",
        "STREAMAPI_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "STREAMAPI_PORT_8000_TCP_ADDR": "10.0.0.1",
        "STREAMAPI_REDIS_SERVICE_HOST": "10.0.0.2",
        "STREAMAPI_REDIS_PORT": "tcp://10.0.0.2:6379",
    }.items():
        monkeypatch.setenv(name, value)
    assert unread_variables() == []
    monkeypatch.setenv("STREAMAPI_PORT", "8000")  # that is no orchestrator's
    assert len(unread_variables()) == 1


def test_the_other_name_of_googles_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's own tools read both variables. We read one, and the warning says so."""
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", "secret-value")
    assert unread_variables() == ["GEMINI_API_KEY is not read: set GOOGLE_API_KEY."]
    monkeypatch.setenv("GOOGLE_API_KEY", "secret-value")
    assert unread_variables() == []
