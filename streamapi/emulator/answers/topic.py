"""The topic of a prompt: a title, its important words, and a name for a function.

A prompt that a program made often has instructions around the text that
matters. When that text is marked (`<text>...</text>`, or a line `Text:`), the
topic is that of the marked text.
"""

import re
from dataclasses import dataclass
from typing import Self

__all__ = ["Topic", "stem", "words_of"]

MAX_TITLE = 60
#: Characters of a prompt that are read to find its words.
MAX_READ = 20_000

OPENED = re.compile(r"<(text|task|prompt|input|question)>", re.IGNORECASE)
ANNOUNCED = re.compile(r"^(?:text|task|prompt|input|question)[ \t]*:", re.IGNORECASE | re.MULTILINE)
#: The first words of a typical request. The line has one space before each word.
LEAD_IN = re.compile(
    r"^(?: (?:please|can you|could you|i want you to|i need))*"
    r"(?: (?:write|tell|explain|describe|give|create|make|discuss|summari[sz]e|show|implement):?)?"
    r"(?: (?:me|us))?(?:(?: (?:an?|the|some))?(?: (?:short|long|brief|simple|detailed))*"
    r" (?:essay|story|text|article|poem|paragraph|note|summary|function|program|script|code))?"
    r"(?: (?:about|on|of|for|to|that|which))? ",
    re.IGNORECASE,
)
_STOP = (
    "essay story article poem paragraph words sentence sentences short long "
    "a about all also an and any are as at be because been but by can code could describe did "
    "do does each explain for from function get give had has have here how i if in into is it "
    "its just let like make me more most my need no not of on one only or our out over please "
    "program return returns script should show so some such take takes tell text than that the "
    "their them then there these they this those to up us use using very want was we were what "
    "when where which who why will with would write you your python javascript typescript "
    "golang rust java bash ruby php css html json sql"
)
STOP = frozenset(_STOP.split())


def words_of(text: str) -> list[str]:
    """The important words of a text in lower case, each once, in their order."""
    words = re.findall(r"[^\W_]+(?:['\u2019][^\W_]+)?", text[:MAX_READ].lower())
    return list(dict.fromkeys(w for w in words if w not in STOP and (len(w) > 1)))


def stem(word: str) -> str:
    """A word without a common ending, roughly."""
    for ending in ("ments", "ment", "ings", "ing", "ies", "ied", "ed", "es", "s", "ly", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


@dataclass(frozen=True, slots=True)
class Topic:
    """The topic of a prompt. Its title and words have no line breaks and no control characters."""

    prompt: str
    subject: str
    title: str
    words: tuple[str, ...]

    @classmethod
    def of(cls, prompt: str) -> Self:
        """The topic of a prompt."""
        subject = _subject(prompt)
        line = " ".join(subject[:MAX_READ].split())
        line = "".join(c for c in line if c.isprintable() and c not in "<>`*#_[]|\\")
        bare = re.split(r"[.?!:;]\s", LEAD_IN.sub("", f" {line}", count=1))[0].strip(" .?!:;,\"'")
        title = _shorten(bare) or "The open question"
        words = tuple(words_of(line)[:24]) or ("question", "answer")
        return cls(prompt, subject, title[0].upper() + title[1:], words)

    @property
    def phrase(self) -> str:
        """The title, as it stands inside a sentence."""
        first = self.title.split(" ")[0]
        if self.subject.endswith("?"):
            return f"the question *{self.title}?*"
        if (first.isupper() and len(first) > 1) or any(c.isupper() for c in first[1:]):
            return self.title
        return self.title[0].lower() + self.title[1:]

    @property
    def name(self) -> str:
        """An identifier for the topic, in snake_case, of ASCII letters and digits."""
        plain = [re.sub(r"[^a-z0-9]", "", word) for word in words_of(self.title)]
        names = [word for word in plain if word and word not in STOP][:4]
        if not names or not names[0][0].isalpha():
            names = ["compute", *names]
        if len(names) == 1:
            names = ["compute", *names] if names != ["compute"] else ["compute", "answer"]
        return "_".join(names)[:48].strip("_")


def _subject(prompt: str) -> str:
    if opened := OPENED.search(prompt):
        return prompt[opened.end() :].partition(f"</{opened[1]}>")[0].strip()
    if announced := ANNOUNCED.search(prompt):
        return prompt[announced.end() :].strip() or prompt
    return prompt.strip()


def _shorten(text: str) -> str:
    if len(text) <= MAX_TITLE:
        return text
    return text[:MAX_TITLE].rsplit(" ", 1)[0].rstrip(" ,;-")
