"""Feed every grammar hostile code, beside a server that must live (`make fuzz`).

The checks go through the pool of a running server, which is asked for `/healthz` all the while and
for a real answer at the end. Crashes of the pool's processes are expected, and reported by grammar
with their shortest text; anything that reaches the server is a failure.
"""

import asyncio
import random
import sys
import time
from collections import Counter

import httpx

from streamapi.emulator import Emulator
from streamapi.tasks.syntax import GRAMMARS
from streamapi.tasks.syntax import pool as bounds
from tests.conftest import PATIENT, Running, running
from tests.tasks.test_syntax import BAD, GOOD

AT_ONCE = 2
"""Checks under way."""

MOST = 20_000
"""Characters of a text: the bugs that were found took a few thousand."""

TOKENS = [
    *"()[]{}<>\"'`#$%&*/\\|~^;:,.!?@=+-_\n\r\t\0 ",
    *("<<", "<<~", "<<-", "<<<", "${", "$((", "((", "[[", "/*", "*/", "//", "<!--", "-->"),
    *('"""', "'''", 'f"{', "f'''{", 'R"', 'r##"', "b'", "%w(", "#{", "`${", "?>", "<?php "),
    *("<script>", "<style>", "</", "<![CDATA[", "=>", "::", "...", "\\u{", "\\\n", "\\x", "0x"),
    *("1e", "if ", "for ", "\n    "),
]
HIGH = [0x7F, 0x80, 0xFF, 0x100, 0x1FF, 0x3000, 0xD7FF, 0xFFFD, 0x1F600, 0xF0000, 0x10FFFF]


def name(rng: random.Random) -> str:
    """A name, mostly too long: scanners copy names into buffers."""
    size = rng.choice([1, 10, 127, 255, 256, 1000, 1019, 1023, 1024, 1025, 4096, 10_000])
    return rng.choice("Aaz_é中") * size


def random_text(rng: random.Random) -> str:
    """Anything, at any code point but surrogates."""
    top = rng.choice([0x80, 0x100, 0x3000, 0xD800, 0x110000])
    points = (rng.randrange(top) for _ in range(rng.randrange(1, 400)))
    return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)


def tokens(rng: random.Random) -> str:
    """What grammars look out for, in any order, with names."""
    pieces = (rng.choice(TOKENS) if rng.random() < 0.9 else name(rng) for _ in range(60))
    return "".join(pieces)


def nested(rng: random.Random) -> str:
    """One or two tokens, very often."""
    opening = "".join(rng.choice(TOKENS) for _ in range(rng.randrange(1, 4)))
    middle = rng.choice(["", "1", name(rng), "</"])
    closing = rng.choice(["", ")", "]", "}", "\n", '"'])
    depth = rng.randrange(1, MOST // len(opening))
    return opening * depth + middle + closing * rng.choice([0, depth])


def heredoc(rng: random.Random) -> str:
    """What ends with the name that it began with: heredocs, raw strings, tags."""
    key, other = name(rng), name(rng)
    begin, end = rng.choice(
        [
            ("cat <<{}\n", "\n{}\n"), ("cat <<-'{}'\n", "\n\t{}\n"), ("<?php <<<{}\n", "\n{};\n"),
            ('R"{}(', '){}"'), ("<{}>", "</{}>"), ("`${{{}", "}}{}`"), ("$q${}$", "${}$"),
        ]
    )  # fmt: skip
    return begin.format(key) + tokens(rng) + end.format(rng.choice([key, other, key[:-1]]))


def mutated(rng: random.Random, snippet: str) -> str:
    """A good or bad snippet, changed at a few places."""
    text = snippet * rng.choice([1, 1, 2, 50])
    for _ in range(rng.randrange(1, 12)):
        at = rng.randrange(len(text) + 1)
        to = min(len(text), at + rng.choice([0, 0, 1, 5, 50]))
        change = rng.choice(
            [
                "",
                text[at:to] * 20,
                chr(rng.choice(HIGH)),
                rng.choice(TOKENS) * rng.choice([1, 2, 500]),
                name(rng),
            ]
        )
        text = text[:at] + change + text[to:]
    return text


def hostile(rng: random.Random, language: str) -> str:
    """A text for a language's grammar."""
    if rng.random() < 0.5:
        return mutated(rng, rng.choice([GOOD, BAD])[language])[:MOST]
    prefix = "<?php " if language == "php" and rng.random() < 0.8 else ""
    return (prefix + rng.choice([random_text, tokens, nested, heredoc])(rng))[:MOST]


class Fuzzer:
    """Counts outcomes, and keeps the shortest text that crashed each grammar."""

    def __init__(self, server: Running, seed: int) -> None:
        self.outcomes: dict[str, Counter[str]] = {language: Counter() for language in GRAMMARS}
        self.shortest: dict[str, str] = {}
        self.slowest = 0.0
        self.rng = random.Random(seed)
        self._server = server

    async def feed(self, until: float) -> None:
        """Check one text after another."""
        while time.monotonic() < until:
            language = self.rng.choice(list(GRAMMARS))
            text = hostile(self.rng, language)
            crashed = self.outcomes[language]["crashed"]
            await self._server.parts.syntax.check(text, language)
            if self.outcomes[language]["crashed"] > crashed:
                shortest = self.shortest.get(language)
                if shortest is None or len(text) < len(shortest):
                    self.shortest[language] = text

    async def watch(self, until: float) -> None:
        """Ask for `/healthz` ten times a second: the server lives, and is not held up."""
        async with httpx.AsyncClient(base_url=self._server.url, timeout=5) as client:
            while time.monotonic() < until:
                began = time.monotonic()
                assert (await client.get("/healthz")).status_code == 200
                self.slowest = max(self.slowest, time.monotonic() - began)
                await asyncio.sleep(0.1)

    def count(self, language: str, outcome: str) -> None:
        """A check ended."""
        self.outcomes[language][outcome] += 1

    def report(self) -> None:
        """Print what came of it, by grammar."""
        print(f"{'grammar':<12}{'checks':>9}{'invalid':>9}{'gave up':>9}{'crashed':>9}")
        for language, found in self.outcomes.items():
            columns = (found.total(), found["invalid"], found["gave_up"], found["crashed"])
            print(f"{language:<12}" + "".join(f"{number:>9,}" for number in columns))
        for language, text in self.shortest.items():
            print(f"{language} crashed on {len(text):,} characters: {text[:200]!r}")
        print(f"the slowest /healthz took {self.slowest * 1000:.0f} ms")


async def main(seconds: float, seed: int) -> None:
    """Fuzz so long; fails when the server is hurt."""
    print(f"fuzzing {len(GRAMMARS)} grammars for {seconds:g} s, seed {seed}", flush=True)
    bounds.WITHIN = 0.0  # a crash loop is what is wanted here
    async with Emulator(pace=0.001) as emulator, running(emulator, **PATIENT) as server:
        fuzzer = Fuzzer(server, seed)
        server.parts.syntax._checked = fuzzer.count
        until = time.monotonic() + seconds
        await asyncio.gather(*(fuzzer.feed(until) for _ in range(AT_ONCE)), fuzzer.watch(until))
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            request = {"prompt": "A function", "language": "python"}
            answer = (await client.post("/v1/code", json=request)).json()
        fuzzer.report()
        assert answer["result"]["syntax"]["valid"], answer
    assert not [module for module in sys.modules if module.startswith("tree_sitter")]
    assert sum(found.total() for found in fuzzer.outcomes.values()) > seconds


if __name__ == "__main__":
    wanted = [*sys.argv[1:], str(random.randrange(10**6))]
    asyncio.run(main(float(wanted[0]), int(wanted[1])))
