"""The providers of a server, each of which is imported when it is first used.

A provider is a folder here, and a line in `MODULES`. Its module has a function `connect`, which
takes the settings and returns a `Provider`. The cards of the catalogue name their provider.
"""

import asyncio
from contextlib import AsyncExitStack
from importlib import import_module
from typing import Protocol

from streamapi.generation.model import Model
from streamapi.providers.catalogue import ModelCard
from streamapi.settings.upstream import UpstreamSettings

MODULES = {"gemini": "streamapi.providers.gemini.models"}
"""The module of each provider, by the provider's name."""


class Provider(Protocol):
    """The connection to one provider, which all requests share."""

    async def open(self, card: ModelCard) -> None:
        """Do what the first request for this model would have to wait for, such as imports."""

    def model(self, card: ModelCard) -> Model:
        """The model of this card. Nothing is sent to the provider yet."""

    async def aclose(self) -> None:
        """Close all connections to the provider."""


class Providers:
    """The providers that have been used so far, by name."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self._settings = settings
        self._connected: dict[str, Provider] = {}

    async def open(self, card: ModelCard) -> None:
        """Prepare for the first request for this model."""
        # An import takes a second or two: the event loop goes on meanwhile.
        provider = await asyncio.to_thread(self._provider, card.provider)
        await provider.open(card)

    def model(self, card: ModelCard) -> Model:
        """The model of this card. Its provider is imported if this is its first use."""
        return self._provider(card.provider).model(card)

    async def aclose(self) -> None:
        """Close all connections of all providers."""
        async with AsyncExitStack() as closing:  # closes each of them, although one fails
            for provider in self._connected.values():
                closing.push_async_callback(provider.aclose)

    def _provider(self, name: str) -> Provider:
        provider = self._connected.get(name)
        if provider is None:
            provider = import_module(MODULES[name]).connect(self._settings)
            self._connected[name] = provider
        return provider
