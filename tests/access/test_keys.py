"""A key: its form, its checksum and its digest."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapi.access import keys


def test_a_key_has_its_form() -> None:
    """A prefix that scanners can search for, then letters and digits."""
    key = keys.make()
    assert re.fullmatch(r"sk-streamapi-[0-9A-Za-z]{49}", key)
    assert keys.well_formed(key)


def test_keys_are_unique() -> None:
    """So are their digests and their ids."""
    made = [keys.make() for _ in range(1000)]
    assert len(set(made)) == len({keys.digest(key) for key in made}) == 1000
    assert len({keys.make_id() for _ in range(1000)}) == 1000


def test_the_digits_hold_all_bits() -> None:
    """The largest secret fits, and so does the largest checksum."""
    assert 62**keys.SECRET_DIGITS >= 2**256
    assert 62**keys.CHECKSUM_DIGITS >= 2**32


@given(place=st.integers(13, 61), digit=st.sampled_from(keys.DIGITS))
def test_a_typing_error_is_noticed(place: int, digit: str) -> None:
    """The checksum shows any single wrong character, without a look-up."""
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
def test_other_text_is_not_well_formed(text: str) -> None:
    """Text of any kind and length."""
    assert not keys.well_formed(text)


def test_text_around_a_key_is_not_well_formed() -> None:
    """Not even a line break after it."""
    key = keys.make()
    for wrong in (f"{key}\n", f" {key}", f"{key}0", key[:-1], key.lower(), key.upper()):
        assert not keys.well_formed(wrong)


def test_a_key_is_found_within_text() -> None:
    """Such as a URL."""
    key = keys.make()
    assert keys.contains_key(f"a={key}&b")
    assert not keys.contains_key("what is sk-streamapi-?")
    assert not keys.contains_key(key[:-1])


def test_digests_are_compared() -> None:
    """Equal keys have equal digests, and a digest does not contain its key."""
    key = keys.make()
    assert keys.digests_equal(keys.digest(key), keys.digest(key))
    assert not keys.digests_equal(keys.digest(key), keys.digest(keys.make()))
    assert key not in keys.digest(key)
