"""A key by itself: its form, its checksum, its hash."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapi.access import keys


def test_a_key_has_its_form() -> None:
    """A prefix that can be searched for, and one word."""
    key = keys.make()
    assert re.fullmatch(r"sk-streamapi-[0-9A-Za-z]{49}", key)
    assert keys.well_formed(key)


def test_no_two_keys_are_alike() -> None:
    """Nor their digests, nor their ids."""
    made = [keys.make() for _ in range(1000)]
    assert len(set(made)) == len({keys.digest(key) for key in made}) == 1000
    assert len({keys.make_id() for _ in range(1000)}) == 1000


def test_the_digits_hold_all_bits() -> None:
    """The largest secret fits, and so does the largest checksum."""
    assert 62**keys.SECRET >= 2**256
    assert 62**keys.CHECK >= 2**32


@given(place=st.integers(13, 61), digit=st.sampled_from(keys.DIGITS))
def test_a_typing_error_is_seen(place: int, digit: str) -> None:
    """Without a look-up: any single wrong character."""
    key = keys.make()
    wrong = key[:place] + digit + key[place + 1 :]
    assert keys.well_formed(wrong) is (wrong == key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "sk-streamapi-",
        "sk-" + "a" * 48,
        "x" * 100_000,
        "sk-streamapi-" + "é" * 49,
        "sk-streamapi-" + "\0" * 49,
        "sk-streamapi-' OR 1=1; --" + "0" * 37,
        "sk-streamapi-" + "٣" * 49,
    ],
)
def test_what_never_was_a_key_is_not_one(text: str) -> None:
    """Whatever it is."""
    assert not keys.well_formed(text)


def test_what_surrounds_a_key_makes_it_none() -> None:
    """A line break behind it too."""
    key = keys.make()
    for wrong in (f"{key}\n", f" {key}", f"{key}0", key[:-1], key.lower(), key.upper()):
        assert not keys.well_formed(wrong)


def test_a_key_is_found_where_it_stands() -> None:
    """In an address, say."""
    key = keys.make()
    assert keys.contains_key(f"a={key}&b")
    assert not keys.contains_key("what is sk-streamapi-?")
    assert not keys.contains_key(key[:-1])


def test_digests_are_compared() -> None:
    """A key is what has its digest."""
    key = keys.make()
    assert keys.same(keys.digest(key), keys.digest(key))
    assert not keys.same(keys.digest(key), keys.digest(keys.make()))
    assert key not in keys.digest(key)
