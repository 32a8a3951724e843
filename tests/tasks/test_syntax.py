"""Syntax verdicts, for every grammar."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamapi.tasks.syntax import ALIASES, GRAMMARS, Syntax, language_name
from streamapi.tasks.syntax.pool import SyntaxPool

GOOD = {
    "bash": 'for f in *; do\n  echo "$f"\ndone\n',
    "c": "int main(void) {\n  return 0;\n}\n",
    "cpp": "#include <vector>\nint main() {\n  std::vector<int> a{1, 2};\n  return a[0];\n}\n",
    "css": "a:hover {\n  color: red;\n}\n",
    "go": "package main\n\nfunc main() {\n\tprintln(1)\n}\n",
    "html": "<!doctype html>\n<p>Hello <b>you</b></p>\n",
    "java": "class A {\n  int f() {\n    return 1;\n  }\n}\n",
    "javascript": "const f = async (a) => {\n  return a ?? 1;\n};\n",
    "json": '{\n  "a": [1, 2, null]\n}\n',
    "php": "<?php\nfunction f($a) {\n  return $a;\n}\n",
    "python": "async def f(a: int) -> int:\n    match a:\n        case 1:\n            return 1\n",
    "rust": 'fn main() {\n    println!("{}", 1);\n}\n',
    "sql": "SELECT a, count(*) FROM t WHERE b > 1 GROUP BY a;\n",
    "tsx": "const A = (p: { a: string }) => <p>{p.a}</p>;\n",
    "typescript": "interface A {\n  a: string;\n}\nconst f = (a: A): string => a.a;\n",
}
BAD = {
    "bash": "for f in *; do\n  echo (((\n",
    "c": "int main(void) {\n  return 0 +;\n}\n",
    "cpp": "int main() {\n  int a = ;\n}\n",
    "css": "a {\n  color: red;\n",
    "go": "package main\n\nfunc main() {\n\tif {\n}\n",
    "html": "<p>a</p\n<b",
    "java": "class A {\n  int f( {\n  }\n}\n",
    "javascript": "const f = (a => {\n  return 1;\n};\n",
    "json": '{\n  "a": [1, 2\n}\n',
    "php": "<?php\nfunction f($a {\n  return $a;\n}\n",
    "python": "def f(:\n    return 1\n",
    "rust": "fn main() {\n    let a = ;\n}\n",
    "sql": "SELECT FROM WHERE a = ;;(\n",
    "tsx": "const A = () => <p>{1}</b\n",
    "typescript": "interface A {\n  a: string\nconst\n",
}


def test_every_grammar_has_its_cases() -> None:
    """There are fifteen, and each is tested below."""
    assert set(GOOD) == set(GRAMMARS) == set(BAD)
    assert len(GRAMMARS) == 15


@pytest.mark.parametrize("language", GRAMMARS)
async def test_good_code_parses(syntax: SyntaxPool, language: str) -> None:
    """The verdict on valid code has no line and no column."""
    assert await syntax.check(GOOD[language], language) == Syntax(True)


@pytest.mark.parametrize("language", GRAMMARS)
async def test_bad_code_has_a_line_and_a_column(syntax: SyntaxPool, language: str) -> None:
    """They are within the code, and count from 1."""
    verdict = await syntax.check(BAD[language], language)
    assert verdict is not None
    assert not verdict.valid
    assert verdict.line is not None
    assert verdict.column is not None
    assert 1 <= verdict.line <= BAD[language].count("\n") + 1
    assert verdict.column >= 1


async def test_ruby_has_no_verdict(syntax: SyntaxPool) -> None:
    """Its grammar (tree-sitter-ruby 0.23.1) writes past its buffer on a long heredoc name, and so
    ends the process: 1,019 letters after `<<~` were enough."""
    assert await syntax.check(f"puts <<~{'A' * 1019}\n", "ruby") is None
    assert await syntax.check("puts 1\n", "rb") is None


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
async def test_aliases_have_a_grammar(syntax: SyntaxPool, alias: str, name: str) -> None:
    """An alias names its language, in upper and lower case."""
    assert name in GRAMMARS
    assert language_name(f" {alias.upper()} ") == name
    assert await syntax.check(GOOD[name], alias) == Syntax(True)


@pytest.mark.parametrize("language", [None, "", "cobol", "../../etc/passwd", "os", "__init__"])
async def test_without_a_grammar_there_is_no_verdict(
    syntax: SyntaxPool, language: str | None
) -> None:
    """Code of an unknown language is not checked."""
    assert await syntax.check("anything", language) is None


async def test_the_column_of_an_error_counts_characters(syntax: SyntaxPool) -> None:
    """It does not count bytes; lines count from 1."""
    verdict = await syntax.check('a = 1\nb = "äöü€😀" + $ 1\n', "python")
    assert verdict == Syntax(False, 2, len('b = "äöü€😀" + ') + 1)


@pytest.mark.parametrize("code", ["", "\n", "   \n\n"])
async def test_empty_code_parses(syntax: SyntaxPool, code: str) -> None:
    """Code without a token has no error."""
    assert await syntax.check(code, "python") == Syntax(True)


@pytest.mark.parametrize(
    "code",
    ["(" * 50_000, "[" * 50_000, "if x:\n " * 5_000, "\x01" * 20_000, "a" * 500_000, "😀" * 20_000],
    ids=["parentheses", "brackets", "ifs", "controls", "a", "emoji"],
)
@pytest.mark.parametrize("language", ["python", "cpp", "html", "bash"])
async def test_hostile_code_is_bounded_in_time(
    syntax: SyntaxPool, language: str, code: str
) -> None:
    """A parse that takes too long has no verdict; its process goes on."""
    before = set(syntax.pids)
    await syntax.check(code, language)
    assert before <= set(syntax.pids)


async def test_no_character_crashes_a_grammar() -> None:
    """Bash is the exception: its scanner passes a character after `{` to C's isdigit, which looks
    it up in a table without bounds (tree-sitter-bash 0.25)."""
    outcomes: list[tuple[str, str]] = []
    pool = SyntaxPool(1, lambda *outcome: outcomes.append(outcome))
    points = (*range(0x100, 0xD800, 997), *range(0xE000, 0x110000, 997))
    for language in set(GRAMMARS) - {"bash"}:
        for point in points:
            await pool.check("{" + chr(point), language)
    await pool.aclose()
    assert not [outcome for outcome in outcomes if outcome[1] == "crashed"]
    assert len(outcomes) == 14 * len(points)


async def test_bash_may_contain_any_character(syntax: SyntaxPool) -> None:
    """Text beyond Latin-1 is part of a word, and counts as one character."""
    assert await syntax.check('echo "中文 😀"\n', "bash") == Syntax(True)
    expected = await syntax.check("echo aa a a )\n", "bash")
    assert await syntax.check("echo 中文 😀 \U000f0000 )\n", "bash") == expected


def resident(pid: int) -> int:
    """The bytes of memory that a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


async def test_checked_code_is_freed() -> None:
    """A process that checks code all day does not grow."""
    pool, code = SyntaxPool(1), "a = 1\n" * 2_000
    for _ in range(20):
        await pool.check(code, "python")
    [pid] = pool.pids
    before = resident(pid)
    for _ in range(200):
        await pool.check(code, "python")
    assert resident(pid) - before < 20 * len(code)
    await pool.aclose()


@given(code=st.text(max_size=200), language=st.sampled_from(sorted(GRAMMARS)))
@settings(max_examples=200, deadline=None)
async def test_any_text_has_a_verdict(syntax: SyntaxPool, code: str, language: str) -> None:
    """No text breaks a parser; only a verdict on bad code has a line."""
    try:
        code.encode()
    except UnicodeEncodeError:
        return  # lone surrogates never come this far
    verdict = await syntax.check(code, language)
    if verdict is not None:
        assert (verdict.line is None) == verdict.valid == (verdict.column is None)
