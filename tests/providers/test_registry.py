"""The providers of a server: one folder and one line each, imported when first used."""

import subprocess
import sys

import pytest

from streamapi.generation.model import Prompt
from streamapi.providers.catalogue import CARDS, Catalogue
from streamapi.providers.registry import MODULES, Providers
from streamapi.settings import Settings

CARD = Catalogue().serving("gemini-3.8-flash")


def test_every_model_has_a_provider() -> None:
    """The catalogue names no provider that the registry does not know."""
    assert {card.provider for card in CARDS} <= set(MODULES)


def test_a_provider_is_imported_when_it_is_first_used() -> None:
    """A server starts without the SDKs of providers that nobody asks."""
    starts = (
        "import sys\n"
        "from streamapi.app import create_app\n"
        "from streamapi.settings import Settings\n"
        "create_app(Settings(), emulated=True)\n"
        "print(*[name for name in sys.modules if name.startswith('streamapi.providers.')])"
    )
    loaded = subprocess.check_output([sys.executable, "-c", starts], text=True).split()
    assert sorted(loaded) == ["streamapi.providers.catalogue", "streamapi.providers.registry"]


async def test_the_models_of_a_provider_share_one_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is made once, and closed with the server."""
    closed = []

    class Fake:
        async def aclose(self) -> None:
            closed.append(self)

        def model(self, card: object) -> "Fake":
            return self

    monkeypatch.setattr("streamapi.providers.gemini.models.connect", lambda settings: Fake())
    providers = Providers(Settings())
    first, second = providers.model(CARD), providers.model(CARD)
    assert first is second
    await providers.aclose()
    assert closed == [first]


async def test_gemini_is_the_provider_of_its_models() -> None:
    """By default, with what the settings say."""
    providers = Providers(Settings(google_api_key="key", gemini_base_url="http://127.0.0.1:1"))
    model = providers.model(CARD)
    assert model.name == CARD.id
    assert model.dropped(Prompt(())) == ()
    await providers.aclose()
