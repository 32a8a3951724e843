"""Code: one fenced block in the language asked for, then a few words about it.

What the programs do is modest (they count what they are given); their names,
comments and sample data come from the prompt. Names are made of ASCII letters,
comments of harmless characters, so that every program parses.
"""

import random
import re
from string import Template

from .essay import prose
from .snippets import SNIPPETS
from .topic import Topic

__all__ = ["code_answer", "language_of", "wants_code"]

ALIASES = {
    **{name: name for name in SNIPPETS},
    "py": "python",
    "python3": "python",
    "js": "javascript",
    "node.js": "javascript",
    "ts": "typescript",
    "golang": "go",
    "rs": "rust",
    "c++": "cpp",
    "sh": "bash",
    "shell": "bash",
    "rb": "ruby",
    "sqlite": "sql",
    "postgresql": "sql",
}
#: Names that are also English words count only where they are announced.
MAX_READ = 20_000
PLAIN = ALIASES.keys() - {"go", "c", "rs", "shell", "node.js", "rust"}


def _names(aliases: list[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(aliases, key=len, reverse=True))


ANNOUNCED = re.compile(
    r"(?:\b(?:in|language|using|with|as)\b|```)(?:is\b|the\b|language\b|of\b|an?\b|[:=`'\"*\s])*"
    rf"({_names(list(ALIASES))})(?![\w+#])",
    re.IGNORECASE,
)
MENTIONED = re.compile(rf"(?<![\w.])({_names(list(PLAIN))})(?![\w+#])", re.IGNORECASE)


def wants_code(system: str, prompt: str) -> bool:
    """Whether the question asks for a fenced code block."""
    return any("fenced code block" in " ".join(t.lower().split()) for t in (system, prompt))


def language_of(system: str, prompt: str) -> str:
    """The requested language: one that is announced, else one that is mentioned, else Python."""
    for pattern in (ANNOUNCED, MENTIONED):
        for text in (system, prompt):
            if match := pattern.search(text[:MAX_READ]):
                return ALIASES[match[1].lower()]
    return "python"


def code_answer(
    system: str, topic: Topic, rng: random.Random, words: int | None = None, insert: str = ""
) -> str:
    """A fenced block of code about the topic, and an explanation of at least `words` words."""
    language = language_of(system, topic.prompt)
    code = Template(SNIPPETS[language]).substitute(_slots(topic)).strip()
    block = f"```{language}\n{code}\n```\n"
    if "nothing else" in system.lower():
        return block
    name = topic.name if language not in ("html", "css", "json") else topic.name.replace("_", "-")
    lines = [
        f"`{name}` is about *{topic.phrase}*. It takes its input piece by piece, leaves out what "
        "is empty, and counts the rest.",
        *([insert] if insert else []),
        prose(topic, rng, 2),
    ]
    length = sum(len(line.split()) for line in lines)
    while words is not None and length < words:
        lines.append(prose(topic, rng, 5))
        length += len(lines[-1].split())
    return f"{block}\n" + "\n\n".join(lines) + "\n"


def _slots(topic: Topic) -> dict[str, str]:
    """The values of a snippet's slots."""
    parts = topic.name.split("_")
    pascal = "".join(part.capitalize() for part in parts)
    about = re.sub(r"[^\w ,.]", " ", topic.title, flags=re.ASCII)
    samples = [re.sub(r"[^a-z0-9]", "", word) for word in topic.words]
    one, two, *_ = [*(s for s in samples if s[:1].isalpha()), "alpha", "beta"]
    return {
        "name": topic.name,
        "camel": parts[0] + pascal[len(parts[0]) :],
        "pascal": pascal,
        "kebab": "-".join(parts),
        "about": " ".join(about.split()) or "The answer",
        "one": one,
        "two": two,
    }
