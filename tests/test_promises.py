"""What the program promises as a whole, proved by walking it. Each failure says the mend."""

import argparse
import ast
import dataclasses
import importlib
import importlib.metadata
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from quart_rate_limiter import QUART_RATE_LIMITER_EXEMPT_ATTRIBUTE

import streamapi
from docs import generate
from docs.bounds import constants
from streamapi import cli, errors
from streamapi.app import create_app
from streamapi.emulator.models import MODELS
from streamapi.generation.event import EVENTS
from streamapi.providers.catalogue import CARDS
from streamapi.settings import Settings
from streamapi.tasks.task import Task

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "streamapi").rglob("*.py"))

MAY_IMPORT = {
    "errors": set(),
    "settings": set(),
    "version": set(),
    "package_files": set(),
    "emulator": set(),
    "validation": {"errors"},
    "redis_connection": {"errors"},
    "generation": {"errors"},
    "generation/redis": {"errors", "generation", "redis_connection"},
    "tasks": {"errors", "generation"},
    "providers": {"errors", "generation", "settings"},
    "records": {"errors", "settings"},
    "access": {"errors", "generation", "records", "redis_connection", "settings"},
    "telemetry": {"generation"},
    "services": {
        "access",
        "generation",
        "generation/redis",
        "providers",
        "settings",
        "tasks",
        "telemetry",
    },
    "intake": {"access", "errors", "generation", "providers", "services", "tasks", "validation"},
    "drain": {"generation", "services"},
    "api": {
        "access",
        "errors",
        "generation",
        "intake",
        "package_files",
        "providers",
        "services",
        "settings",
        "tasks",
        "telemetry",
        "validation",
        "version",
    },
    "app": {"api", "drain", "services", "settings"},
    "startup": {"emulator", "providers", "settings"},
    "server": {"app", "drain", "package_files", "services", "settings", "startup", "telemetry"},
    "supervisor": {"server", "settings", "startup", "telemetry"},
    # It works on the database itself, without a server, so it alone opens it besides `access`.
    "cli_keys": {"access", "errors", "providers", "records", "settings", "tasks"},
    "cli": {"app", "cli_keys", "emulator", "server", "settings", "supervisor", "version"},
    "__main__": {"cli"},
    "__init__": {"app", "settings"},
}
"""Which of our packages a package may import, besides itself: one way, from the heart outwards."""

WEB = {"__init__", "api", "app", "server"}
CORNERED = {
    "aiohttp": {"emulator", "providers"},
    "prometheus_client": {"telemetry"},
    "structlog": {"telemetry"},
    "markdown_it": {"api"},
    "quart": WEB,
    "quart_cors": WEB,
    "quart_rate_limiter": WEB,
    "quart_schema": WEB,
    "werkzeug": WEB,
    "hypercorn": {*WEB, "telemetry"},
    "google": {"providers"},
    "langchain_core": {"providers"},
    "langchain_google_genai": {"providers"},
    "redis": {"generation/redis", "redis_connection"},
    "alembic": {"records"},
    "aiosqlite": {"records"},
    "asyncpg": {"records"},
    "sqlite3": {"records"},
    "sqlalchemy": {"records"},
}
"""The only packages that may know an outside thing."""

HEART = {*sys.stdlib_module_names, "msgspec", "tenacity", "streamapi"}
"""What `generation` may import at all; `generation/redis` also redis."""

LINES, FUNCTION_LINES, WORTH_A_LOOK = 250, 60, 40
NAMESPACE = "http://www.w3.org/2000/svg"


def package(parts: Sequence[str]) -> str:
    """The name in `MAY_IMPORT` of the package that a module belongs to."""
    inner = "/".join(parts[:2])
    return inner if inner in MAY_IMPORT else parts[0]


def parts(path: Path) -> tuple[str, ...]:
    """The path of a file below `streamapi`, without its suffix."""
    return path.relative_to(ROOT / "streamapi").with_suffix("").parts


def imports(path: Path, *, at_run_time: bool = False) -> Iterator[str]:
    """The absolute names that a file imports, at its top or within a function; `at_run_time`
    leaves out those that only types need."""
    here = path.relative_to(ROOT).with_suffix("").parts
    tree = ast.parse(path.read_text())
    for_types = [it for it in ast.walk(tree) if isinstance(it, ast.If) and at_run_time]
    for_types = [it for it in for_types if ast.unparse(it.test) == "TYPE_CHECKING"]
    left_out = {part for block in for_types for part in ast.walk(block)}
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: -node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield from (f"{module}.{name.name}" for name in node.names)


@cache
def modules() -> list[Any]:
    """Every module of the package, imported."""
    found = pkgutil.walk_packages(streamapi.__path__, "streamapi.")
    return [streamapi, *(importlib.import_module(module.name) for module in found)]


def test_imports_run_one_way() -> None:
    wrong = []
    for path in SOURCES:
        here = package(parts(path))
        assert here in MAY_IMPORT, f"say in MAY_IMPORT what streamapi/{here} may import"
        for name in imports(path):
            top, *rest = name.split(".")
            there = package(rest) if top == "streamapi" and rest else here
            if there in MAY_IMPORT and there not in {here, *MAY_IMPORT[here]}:
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    mend = "move what is needed further in, or pass it as an argument:\n"
    assert not wrong, mend + "\n".join(wrong)


def test_no_imports_run_in_a_circle() -> None:
    """Neither among modules nor among folders; a module right under `streamapi` is its own."""
    paths = {".".join(("streamapi", *parts(it))).removesuffix(".__init__"): it for it in SOURCES}
    folder = {name: "/".join(parts(path)[:-1]) or parts(path)[0] for name, path in paths.items()}
    modules: dict[str, set[str]] = defaultdict(set)
    folders: dict[str, set[str]] = defaultdict(set)
    for name, path in paths.items():
        for imported in imports(path, at_run_time=True):
            there = imported if imported in paths else imported.rpartition(".")[0]
            if there in paths and there != name:
                modules[name].add(there)
            if there in paths and folder[there] != folder[name]:
                folders[folder[name]].add(folder[there])
    for graph in (modules, folders):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            raise AssertionError(f"move what both need: {' <- '.join(error.args[1])}") from None


def test_outside_things_are_cornered() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}; only {sorted(CORNERED[top])} may"
        for path in SOURCES
        for name in imports(path)
        if package(parts(path))
        not in CORNERED.get(top := name.partition(".")[0], {package(parts(path))})
    ]
    assert not wrong, "\n".join(wrong)


def test_only_intake_starts_generations() -> None:
    """A transport that went around it would skip a check, a limit or the cache."""
    starts = {
        path.relative_to(ROOT / "streamapi").as_posix()
        for path in SOURCES
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and re.search(r"(^|[._])(generations\.start|GenerationRequest)$", ast.unparse(call.func))
    }
    asks = {
        package(parts(path))
        for path in SOURCES
        if "streamapi.generation.request.GenerationRequest" in imports(path, at_run_time=True)
    }
    mend = "start a generation through intake.prepare and intake.start"
    assert starts == {"intake.py"}, f"{mend}, and not in {starts - {'intake.py'}}"
    assert asks == {"generation", "intake"}, f"{mend}; {asks} make a GenerationRequest"


def test_native_parsers_run_in_child_processes_only() -> None:
    """They are C over hostile text. Importing every module of ours imports none of them."""
    knows = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if any(name.startswith("tree_sitter") for name in imports(path))
    }
    assert knows == {"streamapi/tasks/syntax/child.py"}
    names = [module.__name__ for module in modules()]
    loads = (
        "import importlib, sys\n"
        f"for name in {names}: importlib.import_module(name)\n"
        "print(*[name for name in sys.modules if name.startswith('tree_sitter')])"
    )
    loaded = subprocess.check_output([sys.executable, "-c", loads], cwd=ROOT, text=True).split()
    assert not loaded, f"{loaded}: import it in a function of syntax/child.py, and call it there"


def test_the_heart_knows_nothing_of_the_world() -> None:
    inner = [path for path in SOURCES if package(parts(path)) == "generation"]
    names = {name for path in inner for name in imports(path)}
    foreign = sorted(name for name in names if name.partition(".")[0] not in HEART)
    assert not foreign, f"generation/ may import only the standard library and {HEART}: {foreign}"
    talking = {
        "/".join(parts(path))
        for path in SOURCES
        if any(name.partition(".")[0] == "redis" for name in imports(path))
    }
    assert talking == {"redis_connection", "generation/redis/follower"}, f"{talking} talk to Redis"


def test_every_package_is_an_index_of_its_modules() -> None:
    """A stranger reads the tree from its packages' docstrings. A module that `tasks` or
    `api/routes` finds by itself, because of its `TASK` or its `routes`, needs no line there."""
    missing = []
    packages = [
        it.name for it in pkgutil.walk_packages(streamapi.__path__, "streamapi.") if it.ispkg
    ]
    for parent in map(importlib.import_module, ["streamapi", *packages]):
        for found in pkgutil.iter_modules(parent.__path__):
            module = importlib.import_module(f"{parent.__name__}.{found.name}")
            name = found.name + ("/" if found.ispkg else ".py")
            by_itself = hasattr(module, "TASK") or hasattr(module, "routes")
            if not by_itself and not re.search(rf"(?<!\w){name} ", parent.__doc__ or ""):
                missing.append(f"{parent.__name__}: {name}")
    assert not missing, f"say in a line of their package's docstring what these are for: {missing}"


def test_a_server_without_redis_or_a_database_imports_neither() -> None:
    """They cost memory and time at the start, and an open server in memory needs none of them."""
    starts = (
        "import sys\n"
        "from streamapi.app import create_app\n"
        "from streamapi.settings import Settings\n"
        "create_app(Settings(), emulated=True)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("STREAMAPI_")}
    loaded = subprocess.check_output([sys.executable, "-c", starts], cwd=ROOT, text=True, env=env)
    heavy = {"redis", "sqlalchemy", "alembic", "langchain_core", "google", "markdown_it"}
    found = heavy & set(loaded.split())
    assert not found, f"{found}: import it where it is used first"


async def test_the_reference_says_what_the_code_says() -> None:
    """Every setting, error, event, metric, fault, model, command and address is in
    `docs/reference/`, in the code's own words."""
    written = {path.name: path.read_text() for path in generate.REFERENCE.glob("*.md")}
    wanted = await generate.pages()
    stale = sorted(name for name in {**written, **wanted} if written.get(name) != wanted.get(name))
    assert not stale, f"run `make reference`: docs/reference/ is not what the code says in {stale}"


def test_no_two_events_have_one_name() -> None:
    names = [kind.type for kind in EVENTS]
    assert len(set(names)) == len(EVENTS), "two events have one name"


def test_the_emulator_plays_every_model_of_the_catalogue() -> None:
    living = {card.id for card in CARDS if card.successor is None}
    assert living <= set(MODELS), f"add to emulator/models.py: {sorted(living - set(MODELS))}"


def test_the_command_line_names_its_commands() -> None:
    [commands] = [
        action
        for action in cli._parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    assert all(name in (cli.__doc__ or "") for name in commands.choices), "say so atop cli.py"


def test_every_constant_that_is_a_bound_has_its_reason() -> None:
    bare = [name for name, _, about in constants() if not about]
    assert not bare, f"write its unit, and what happens beyond it, in a docstring below: {bare}"


def test_every_error_explains_itself() -> None:
    kinds = list(errors.every_error())
    assert len({kind.code for kind in kinds}) == len(kinds), "two errors have one code"
    for kind in kinds:
        name = kind.__name__
        assert kind.title, f"{name} needs a title"
        assert 400 <= kind.status < 600, f"{name} needs a status"
        assert len(kind.__doc__ or "") > 30, f"{name} needs a docstring: it is the error's page"
        assert name in (errors.__doc__ or ""), f"{name} is not in the tree atop errors/__init__.py"
        waits = kind.default_retry_after is not None
        assert waits or kind.status not in (429, 503), f"{name} needs a default_retry_after"
        assert kind.retryable or not waits, f"{name} says when to try again, and not to"


def undocumented(module: Any) -> Iterator[str]:
    """What is public in a module and has no docstring. What implements a protocol, overrides a
    base or fills a field of `Task` is described there."""
    described = {field.name for field in dataclasses.fields(Task)} | protocol_methods()
    if not module.__doc__:
        yield module.__name__
    for name, value in vars(module).items():
        defined_here = getattr(value, "__module__", "") == module.__name__
        if name.startswith("_") or not defined_here or not hasattr(value, "__name__"):
            continue
        own = (inspect.unwrap(value).__doc__ or "").removeprefix(f"{name}(")
        if name not in described and not own.strip() and name == value.__name__:
            yield f"{module.__name__}.{name}"
        for method, function in vars(value).items() if inspect.isclass(value) else ():
            known = method in described or any(hasattr(base, method) for base in value.__mro__[1:])
            public = inspect.isfunction(function) and not method.startswith("_")
            if public and not known and not function.__doc__:
                yield f"{module.__name__}.{name}.{method}"


@cache
def protocol_methods() -> set[str]:
    """The methods that a protocol of ours describes."""
    classes = [c for module in modules() for c in vars(module).values() if inspect.isclass(c)]
    protocols = [c for c in classes if getattr(c, "_is_protocol", False)]
    return {name for c in protocols for name in vars(c) if not name.startswith("_")}


def test_everything_public_has_a_docstring() -> None:
    bare = [name for module in modules() for name in undocumented(module)]
    assert not bare, "write a docstring, or a leading underscore:\n" + "\n".join(bare)


def test_files_and_functions_stay_small() -> None:
    wrong = []
    for path in SOURCES:
        where, text = path.relative_to(ROOT), path.read_text()
        lines = sum(1 for line in text.splitlines() if line.strip())
        if lines > LINES:
            wrong.append(f"{where} has {lines} lines: it holds two nouns, part them")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > WORTH_A_LOOK:
                    print(f"worth a look: {where}:{node.lineno} {node.name} has {length} lines")
                if length > FUNCTION_LINES:
                    wrong.append(f"{where}:{node.lineno} {node.name} has {length} lines: part it")
    assert not wrong, "\n".join(wrong)


def test_every_route_has_a_limit_or_says_why_not() -> None:
    app = create_app(Settings(google_api_key="none"))
    bare = [
        name
        for name, view in app.view_functions.items()
        if getattr(view, QUART_RATE_LIMITER_EXEMPT_ATTRIBUTE, False)
        and not getattr(view, "unlimited", "")
    ]
    assert not bare, f"use @unlimited in the place of @rate_exempt, and say why: {bare}"


def test_nothing_names_another_origin() -> None:
    pages = [path for path in (ROOT / "static").rglob("*") if path.is_file()]
    for path in [*pages, ROOT / "requirements.lock", ROOT / "requirements-dev.lock"]:
        found = re.findall(r"https?://[\w.-]+\.\w[^\s'\"`)]*", path.read_text())
        other = [url for url in found if url != NAMESPACE]
        assert not other, f"{path.relative_to(ROOT)}: serve it yourself, or leave it out: {other}"
        assert "index-url" not in path.read_text(), f"{path.name}: use `make lock`"


def test_both_locks_agree() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / name).read_text()
        return dict(re.findall(r"^([\w.-]+(?:\[[\w,-]+\])?)==(\S+)", text, re.MULTILINE))

    development = pins("requirements-dev.lock")
    other = {k: v for k, v in pins("requirements.lock").items() if development.get(k) != v}
    assert not other, f"`make lock` pins both alike; these differ: {other}"


def test_the_locks_keep_extras() -> None:
    """pip 23.2 and older refuse `x==1` in a lock with hashes where something wants `x[extra]`."""
    wanted = set()
    for distribution in importlib.metadata.distributions():
        for requirement in map(Requirement, distribution.requires or ()):
            active = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if active and requirement.extras:
                wanted.add((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    assert wanted, "the installed tree has no extras: this test reads it wrongly"
    text = (ROOT / "requirements-dev.lock").read_text()
    for name, extras in wanted:
        found = re.search(rf"^{re.escape(name)}\[([\w,-]+)\]==", text, re.MULTILINE)
        assert found, f"{name}{sorted(extras)} is not in the lock: use `make lock`"
        assert extras <= set(found[1].split(",")), f"{name} lacks {sorted(extras)} in the lock"


def test_what_is_imported_is_declared() -> None:
    """A package that only another one brings can leave with it, or come in a new major."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {canonicalize_name(Requirement(it).name) for it in project["dependencies"]}
    owners = importlib.metadata.packages_distributions()
    tops = {name.partition(".")[0] for path in SOURCES for name in imports(path)}
    tops -= {*sys.stdlib_module_names, "streamapi", "google"}  # google is many packages
    undeclared = {
        top for top in tops if declared.isdisjoint(map(canonicalize_name, owners.get(top, [top])))
    }
    assert not undeclared, f"declare in pyproject.toml, with bounds: {sorted(undeclared)}"


def test_the_changelog_has_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"\n## {version}" in changelog, f"say in CHANGELOG.md what {version} brings"


def test_the_pages_name_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        named = set(re.findall(r"(?:^|`)make ([a-z][\w-]*)", page.read_text(), re.M))
        gone = sorted(named - targets)
        assert not gone, f"{page.relative_to(ROOT)}: the Makefile has no {gone}"
