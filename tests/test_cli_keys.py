"""The commands `streamapi keys`, as an operator runs them."""

import pytest

from streamapi import cli
from streamapi.access import keys


@pytest.fixture(autouse=True)
def _database(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("STREAMAPI_DATABASE_URL", database_url)


Captured = pytest.CaptureFixture[str]


def run(capsys: Captured, *words: str) -> tuple[int, str, str]:
    """The exit code of a command, and its text on stdout and stderr."""
    code = cli.main(["keys", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_stdout_has_only_the_new_key(capsys: Captured) -> None:
    """So `KEY=$(streamapi keys create ...)` works."""
    code, out, err = run(capsys, "create", "--owner", "acme")
    assert code == 0
    assert keys.well_formed(out.strip())
    assert "for text, code, classification" in err
    assert "shown this once" in err


def test_the_list_has_no_keys(capsys: Captured) -> None:
    """It has their records."""
    _, first, _ = run(
        capsys, "create", "--owner", "ops", "--scope", "admin", "--scope", "usage", "--name", "me"
    )
    run(capsys, "create", "--owner", "acme", "--expires", "90d", "--model", "gemini-3.8-flash")
    code, out, _ = run(capsys, "list")
    assert code == 0
    header, newest, oldest = out.splitlines()
    assert header.split()[:3] == ["id", "owner", "name"]
    assert "acme" in newest
    assert "until 2" in newest
    assert "ops" in oldest
    assert "admin,usage" in oldest
    assert first.strip() not in out


def test_a_key_is_revoked(capsys: Captured) -> None:
    """A second time changes nothing; an unknown id is an error."""
    run(capsys, "create", "--owner", "acme")
    name = run(capsys, "list")[1].splitlines()[1].split()[0]
    for _ in range(2):
        code, _, err = run(capsys, "revoke", name)
        assert code == 0
        assert "30 s" in err
    assert run(capsys, "list")[1].splitlines()[1].endswith("revoked")
    for unknown in ("key_x", "key_\udcff"):  # an argument that is not UTF-8 has a surrogate
        code, _, err = run(capsys, "revoke", unknown)
        assert code == 1
        assert repr(unknown) in err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--owner", "a b"), "owner"),
        (("--owner", "anonymous"), "owner"),
        (("--owner", "a", "--scope", "all"), "scopes"),
        (("--owner", "a", "--model", "gpt"), "models"),
        (("--owner", "a", "--expires", "soon"), "expires"),
        (("--owner", "a", "--expires", "2020-01-01"), "expires"),
        (("--owner", "a", "--expires", "99999999d"), "expires"),
        (("--owner", "a", "--expires", "9999-12-31T23:59:59-14:00"), "expires"),
        (("--owner", "a", "--streams", "-1"), "streams"),
    ],
)
def test_an_invalid_argument_is_a_sentence_on_stderr(
    capsys: Captured, words: tuple[str, ...], named: str
) -> None:
    """The sentence names the argument; stdout is empty."""
    code, out, err = run(capsys, "create", *words)
    assert (code, out) == (2, "")
    assert named in err


def test_a_missing_database_is_a_sentence_on_stderr(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the setting."""
    monkeypatch.setenv("STREAMAPI_DATABASE_URL", "sqlite:////no/where.db")
    code, _, err = run(capsys, "list")
    assert code == 2
    assert "STREAMAPI_DATABASE_URL" in err
