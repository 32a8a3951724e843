"""A library that lacks what a patch relies on is noticed before the server starts."""

from collections.abc import Iterator
from typing import Any

import pytest

from streamapi.api import patches
from streamapi.api.patches.targets import MissingTarget, Replaces, Uses
from streamapi.app import create_app
from streamapi.settings import Settings

USES = [target for target in patches.TARGETS if isinstance(target, Uses)]
REPLACES = [target for target in patches.TARGETS if isinstance(target, Replaces)]


def start() -> None:
    create_app(Settings(google_api_key="k"))


def methods() -> Iterator[Any]:
    for target in USES:
        for name in target.methods:
            yield pytest.param(target.owner, name, id=f"{target.owner.__name__}.{name}")


def attributes() -> Iterator[Any]:
    for target in USES:
        for name in target.attributes:
            yield pytest.param(target.owner, name, id=f"{target.owner.__name__}.{name}")


def renames(owner: type, name: str) -> type:
    """A class as the next release may have it: the same, with one attribute renamed."""

    def renamed(function: Any) -> Any:
        code = function.__code__
        names = tuple("renamed" if it == name else it for it in code.co_names)
        return type(function)(
            code.replace(co_names=names), function.__globals__, None, None, function.__closure__
        )

    functions = {k: v for k, v in vars(owner).items() if hasattr(v, "__code__")}
    return type(owner.__name__, (), {k: renamed(v) for k, v in functions.items()})


@pytest.mark.parametrize(("owner", "name"), list(methods()))
def test_a_renamed_method_refuses_the_start(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    monkeypatch.setattr(owner, "renamed", vars(owner)[name], raising=False)
    monkeypatch.delattr(owner, name)
    with pytest.raises(
        MissingTarget, match=rf"{owner.__name__} has no `{name}`.*requirements.lock"
    ):
        start()


@pytest.mark.parametrize(("owner", "name"), list(attributes()))
def test_a_renamed_attribute_is_noticed(owner: type, name: str) -> None:
    with pytest.raises(MissingTarget, match=rf"{owner.__name__} does not use `{name}`"):
        Uses(renames(owner, name), attributes=(name,)).check()


@pytest.mark.parametrize("target", REPLACES, ids=lambda target: target.name)
def test_a_renamed_class_refuses_the_start(
    monkeypatch: pytest.MonkeyPatch, target: Replaces
) -> None:
    monkeypatch.delattr(target.module, target.name)
    with pytest.raises(MissingTarget, match=f"has no `{target.name}`"):
        start()


@pytest.mark.parametrize("target", REPLACES, ids=lambda target: target.name)
def test_a_class_that_nobody_uses_any_more_refuses_the_start(
    monkeypatch: pytest.MonkeyPatch, target: Replaces
) -> None:
    """The name is there, but the library takes the class from elsewhere."""
    user, function = target.used_by
    monkeypatch.setattr(user, function, lambda *args: None)
    with pytest.raises(MissingTarget, match=f"{function} does not use `{target.name}`"):
        start()


def test_nothing_is_replaced_where_something_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    start()
    target = REPLACES[-1]
    theirs = type("Theirs", (), {})
    monkeypatch.setattr(target.module, target.name, theirs)
    monkeypatch.delattr(REPLACES[0].module, REPLACES[0].name)
    with pytest.raises(MissingTarget):
        start()
    assert getattr(target.module, target.name) is theirs
