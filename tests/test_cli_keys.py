"""`streamapi keys`: the commands, as an operator runs them."""

import pytest

from streamapi import cli
from streamapi.access import keys


@pytest.fixture(autouse=True)
def _database(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("STREAMAPI_DATABASE_URL", database_url)


Said = pytest.CaptureFixture[str]


def run(capsys: Said, *words: str) -> tuple[int, str, str]:
    """The exit code of a command, and what it said on stdout and stderr."""
    code = cli.main(["keys", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_new_key_is_all_that_stands_on_stdout(capsys: Said) -> None:
    """So that `KEY=$(streamapi keys create ...)` works."""
    code, out, err = run(capsys, "create", "--owner", "acme")
    assert code == 0
    assert keys.well_formed(out.strip())
    assert "for text, code, classification" in err
    assert "shown this once" in err


def test_keys_are_listed_and_not_shown(capsys: Said) -> None:
    """With what is known of them."""
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


def test_a_revoked_key_is_dead(capsys: Said) -> None:
    """Twice is once; one that never was is said."""
    run(capsys, "create", "--owner", "acme")
    name = run(capsys, "list")[1].splitlines()[1].split()[0]
    for _ in range(2):
        code, _, err = run(capsys, "revoke", name)
        assert code == 0
        assert "30 s" in err
    assert run(capsys, "list")[1].splitlines()[1].endswith("revoked")
    for never in ("key_x", "key_\udcff"):  # a byte that is no UTF-8, as a shell hands it on
        code, _, err = run(capsys, "revoke", never)
        assert code == 1
        assert repr(never) in err


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
def test_what_cannot_be_is_a_sentence(capsys: Said, words: tuple[str, ...], named: str) -> None:
    """That names what is wrong; nothing stands on stdout."""
    code, out, err = run(capsys, "create", *words)
    assert (code, out) == (2, "")
    assert named in err


def test_a_database_that_is_not_there_is_a_sentence(
    capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a traceback."""
    monkeypatch.setenv("STREAMAPI_DATABASE_URL", "sqlite:////no/where.db")
    code, _, err = run(capsys, "list")
    assert code == 2
    assert "STREAMAPI_DATABASE_URL" in err
