"""Writes `docs/reference/` from the code: `make reference`.

Each page says what the program says of itself: settings by their descriptions, errors by their
docstrings, requests and events by `/openapi.json` and `/asyncapi.json`. A promise test compares the
files with these functions, so a page cannot disagree with the program.
"""

import argparse
import asyncio
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from docs.bounds import constants
from streamapi import cli, errors
from streamapi.app import create_app
from streamapi.emulator import FAULTS
from streamapi.generation.ended import Ended
from streamapi.generation.event import Cancelled
from streamapi.generation.generation import Generation
from streamapi.providers.catalogue import CARDS
from streamapi.settings import Settings, environment_name
from streamapi.telemetry.metrics import Metrics

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- `make reference` writes this page from the code. -->\n\n"
BOUNDS = {
    "minimum": "from {:,}",
    "maximum": "to {:,}",
    "maxLength": "up to {:,} characters",
    "maxItems": "up to {:,} items",
}
METHODS = ("get", "post", "put", "patch", "delete")

Document = dict[str, Any]


async def pages() -> dict[str, str]:
    """The text of each page, by the name of its file."""
    client = create_app(Settings(google_api_key="none")).test_client()
    openapi, asyncapi = [
        await (await client.get(path)).get_json() for path in ("/openapi.json", "/asyncapi.json")
    ]
    found = {
        "settings.md": settings(),
        "bounds.md": bounds(),
        "errors.md": every_error(),
        "events.md": events(openapi),
        "metrics.md": metrics(),
        "faults.md": faults(),
        "commands.md": commands(),
        "models.md": models(),
        "requests.md": requests(openapi),
        "websocket.md": websocket(asyncapi),
    }
    return {name: f"{NOTE}{text.rstrip()}\n" for name, text in found.items()}


def settings() -> str:
    """Every setting, by section."""
    page = [
        "# Settings",
        "Look up the name, the default and the meaning of every setting.",
        "Settings are environment variables. The server reads them once, at the start. Times are "
        "in seconds, and fractions are allowed. `streamapi config` prints the values in force.",
    ]
    for section in reversed(Settings.__mro__):
        fields = inspect.get_annotations(section)
        rows = [_setting(name) for name in fields if name in Settings.model_fields]
        if section is not Settings and rows:
            title = section.__module__.rpartition(".")[2].capitalize()
            about = inspect.cleandoc(sys.modules[section.__module__].__doc__ or "").partition(
                "\n\n"
            )[0]
            page += [f"## {title}", _line(about), table(("name", "default", "meaning"), rows)]
    return "\n\n".join(page)


def _setting(name: str) -> tuple[str, str, object]:
    field = Settings.model_fields[name]
    default = f"{field.default:g}" if type(field.default) is float else field.default
    shown = "none" if default in (None, (), "") else f"`{default}`"
    return f"`{environment_name(name)}`", shown, field.description


def bounds() -> str:
    """Every bound that is a constant of the code."""
    rows = [(f"`{name}`", value, about) for name, value, about in constants()]
    page = [
        "# Bounds",
        "Look up a bound of the server that is not a setting.",
        "These numbers are constants of the code: an operator has no reason to change them. The "
        "bounds that an operator may want to change are [settings](settings.md).",
        table(("constant", "value", "meaning"), rows),
    ]
    return "\n\n".join(page)


def every_error() -> str:
    """Every error code, by whose fault it is."""
    page = [
        "# Errors",
        "Look up what each error code means, and what to do about it.",
        "Every error has the same body, which the [guide](../guide/errors.md) describes. *Retry* "
        "says whether the same request can succeed later. A server explains each code at "
        "`/errors/{code}`.",
    ]
    parts: tuple[tuple[str, type[errors.StreamapiError]], ...] = (
        ("The request", errors.CallerError),
        ("The model, or the way to it", errors.UpstreamError),
        ("The server", errors.ServiceError),
    )
    for title, base in parts:
        rows = [
            (f"`{kind.code}`", kind.status, "yes" if kind.retryable else "no", kind.__doc__)
            for kind in errors.every_error()
            if issubclass(kind, base)
        ]
        page += [f"## {title}", table(("code", "status", "retry", "meaning"), rows)]
    return "\n\n".join(page)


def events(openapi: Document) -> str:
    """Every event of a stream, and its fields."""
    stream = openapi["paths"]["/v1/generations/{generation_id}/events"]["get"]
    [media] = stream["responses"]["200"]["content"].values()
    items = [item["properties"] for item in media["itemSchema"]["oneOf"]]
    page = [
        "# Events",
        "Look up the fields of each event of a stream.",
        "Server-Sent Events and WebSocket messages carry the same events. The "
        "[guide](../guide/streaming.md) shows how to read them.",
    ]
    named: list[str] = []
    for item in items:
        if "contentSchema" in item["data"]:
            page.append(f"## `{item['event']['const']}`")
            page.append(_fields(openapi, item["data"]["contentSchema"], named))
    page += _parts(openapi, named)
    return "\n\n".join(page)


def requests(openapi: Document) -> str:
    """Every address, and the fields of its body."""
    page = [
        "# Requests",
        "Look up every address of the API, and every field that it takes.",
        "`/docs` on a running server shows the same with examples, and sends requests.",
    ]
    named: list[str] = []
    for tag in openapi["tags"]:
        page += [f"## {tag['name']}", _line(tag["description"])]
        rows, bodies = [], {}
        for path, operations in openapi["paths"].items():
            for method, operation in operations.items():
                if method not in METHODS or tag["name"] not in operation["tags"]:
                    continue
                request = f"`{method.upper()} {path}`"
                good = ", ".join(code for code in operation["responses"] if code < "300")
                rows.append((request, operation["summary"], good))
                for media in operation.get("requestBody", {}).get("content", {}).values():
                    bodies.setdefault(media["schema"]["$ref"], []).append(request)
        page.append(table(("request", "does", "answers"), rows))
        for ref, users in bodies.items():
            page += [f"The body of {' and '.join(users)}:", _fields(openapi, {"$ref": ref}, named)]
    page += _parts(openapi, named)
    shared = {it["name"]: it for it in openapi["components"]["parameters"].values()}
    rows = [(f"`{name}`", it["in"], it["description"]) for name, it in shared.items()]
    page += ["## Headers and parameters", table(("name", "stands in", "meaning"), rows)]
    return "\n\n".join(page)


def websocket(asyncapi: Document) -> str:
    """Every message of a socket, and every close code."""
    channel = asyncapi["channels"]["any"]
    page = [
        "# WebSocket messages",
        "Look up every message of a WebSocket, and every close code.",
        "The [guide](../guide/websocket.md) shows how to use them.",
    ]
    for title, side in (("You send", "client."), ("You get", "server.")):
        rows = []
        for name in channel["messages"]:
            message = asyncapi["components"]["messages"][name]
            if name.startswith(side):
                rows.append((f"`{message['name']}`", _names(asyncapi, message["payload"])))
        page += [f"## {title}", table(("`type`", "other fields"), rows)]
    closes = [(f"`{code}`", meaning) for code, meaning in channel["x-close-codes"].items()]
    page += ["## Close codes", table(("code", "meaning"), closes)]
    return "\n\n".join(page)


def metrics() -> str:
    """Every metric of our own."""
    measured = Metrics()
    measured.read(lambda: 0, lambda: True)
    generation = Generation(id="gen_1", log="log_1", owner="", task="text", model="m", created=0.0)
    measured.ended(Ended.of(generation, Cancelled("caller")))
    measured.syntax_checked("python", "valid")
    rows = []
    for family in measured.registry.collect():
        if family.name.startswith("streamapi_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = ", ".join(family.samples[0].labels) or "none"
            rows.append((f"`{name}`", family.type, labels, family.documentation))
    return "\n\n".join(
        [
            "# Metrics",
            "Look up what each metric of `/metrics` counts.",
            "The [logs and metrics](../operate/logs-and-metrics.md) page shows how to collect "
            "them. The `process_*` metrics of every Prometheus exporter stand beside them.",
            table(("metric", "type", "labels", "meaning"), rows),
        ]
    )


def faults() -> str:
    """Every fault of the emulator."""
    rows = [(f"`{fault.name}`", fault.meaning) for fault in FAULTS.values()]
    return "\n\n".join(
        [
            "# Faults of the emulator",
            "Look up the name of each fault that the emulator can play.",
            "The [emulator](../operate/emulator.md) page shows how to ask for one.",
            table(("fault", "what the emulator does"), rows),
        ]
    )


def models() -> str:
    """Every model of the catalogue."""
    rows = [
        (
            f"`{card.id}`",
            card.title,
            f"{card.input_tokens:,}",
            f"{card.output_tokens:,}",
            "yes" if card.temperature else "no",
            f"`{card.successor}`" if card.successor else "itself",
        )
        for card in CARDS
    ]
    heads = ("name", "model", "input tokens", "output tokens", "takes `temperature`", "served by")
    return "\n\n".join(
        [
            "# Models",
            "Look up every model name that a request can have.",
            "The [guide](../guide/models.md) shows how to choose one.",
            table(heads, rows),
        ]
    )


def commands() -> str:
    """Every command and its options."""
    page = [
        "# Commands",
        "Look up every command and every option of the command line.",
        "`make run` installs the command as `.venv/bin/streamapi`. `python -m streamapi` is the "
        "same command.",
    ]
    for name, parser, about in _commands(cli._parser(), "streamapi"):
        page += [f"## {name}", f"{about[:1].upper()}{about[1:]}."]
        rows = [_option(action) for action in parser._actions if _shown(action)]
        if rows:
            page.append(table(("option", "meaning"), rows))
    return "\n\n".join(page)


def _commands(
    parser: argparse.ArgumentParser, name: str
) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            about = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for word, inner in action.choices.items():
                if any(isinstance(it, argparse._SubParsersAction) for it in inner._actions):
                    yield from _commands(inner, f"{name} {word}")
                else:
                    yield f"{name} {word}", inner, about[word]


def _shown(action: argparse.Action) -> bool:
    return action.help != argparse.SUPPRESS and action.dest != "help"


def _option(action: argparse.Action) -> tuple[str, str]:
    word = (action.metavar or action.dest).upper() if action.nargs != 0 else ""
    shown = f"{action.option_strings[0]} {word}" if action.option_strings else word
    about = (action.help or "") % {**vars(action), "metavar": action.metavar}
    if action.default is not None and "default" not in about:
        about += f"; default: {action.default}" if action.default != "" else ""
    return f"`{shown.strip()}`", about.lstrip("; ")


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in lines)


def _cell(value: object) -> str:
    return _line(str(value or "")).replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(text.split())


def _fields(document: Document, schema: Document, named: list[str]) -> str:
    """A schema's description, and a table of its fields. The schemas that those use are added to
    `named`."""
    found = _resolved(document, schema)
    wanted = found.get("required", [])
    rows = []
    for name, field in found.get("properties", {}).items():
        needed = "required" if name in wanted and "default" not in field else _default(field)
        about = field.get("description", "")
        rows.append((f"`{name}`", _type(field, named), needed, about))
    if all(row[2] == "required" for row in rows):
        short = table(("field", "type", "meaning"), [(a, b, d) for a, b, _, d in rows])
    else:
        short = table(("field", "type", "default", "meaning"), rows)
    return f"{_line(found.get('description', ''))}\n\n{short}".strip()


def _parts(document: Document, named: list[str]) -> list[str]:
    """A section for each schema that was named, and for those that they name."""
    page: list[str] = []
    for name in named:  # which grows
        page += [f"## {name}", _fields(document, {"$ref": name}, named)]
    return page


def _default(field: Document) -> str:
    value = field.get("default")
    return "none" if value in (None, "", []) else f"`{str(value).lower()}`"


def _type(field: Document, named: list[str]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        if name not in named:
            named.append(name)
        return f"[{name}](#{name.lower()})"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{it}`" if it is not None else "null" for it in field["enum"])
    if branches := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(_type(branch, named) for branch in branches)
    kinds = field.get("type", "any")
    kind = kinds if isinstance(kinds, str) else " or ".join(kinds)
    if "items" in field:
        items = {key: it for key, it in field["items"].items() if key not in BOUNDS}
        kind = kind.replace("array", f"list of {_type(items, named)}")
    said = [words.format(field[key]) for key, words in BOUNDS.items() if key in field]
    return ", ".join((kind, " ".join(said))) if said else kind


def _resolved(document: Document, schema: Document) -> Document:
    """The schema itself, where only its name is given; several in one are merged."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _resolved(document, document["components"]["schemas"][name])
    if "allOf" not in schema:
        return schema
    merged: Document = {"properties": {}, "required": []}
    for part in schema["allOf"]:
        found = _resolved(document, part)
        merged["properties"] |= found.get("properties", {})
        merged["required"] += found.get("required", [])
    return merged


def _names(document: Document, schema: Document) -> str:
    """The fields of a message, the optional ones with a question mark."""
    found = _resolved(document, schema)
    wanted = found.get("required", [])
    names = [name for name in found.get("properties", {}) if name != "type"]
    return ", ".join(f"`{name}`" + ("" if name in wanted else "?") for name in names)


def main() -> None:
    """Write every page, and remove those that are no more."""
    found = asyncio.run(pages())
    REFERENCE.mkdir(exist_ok=True)
    for path in REFERENCE.glob("*.md"):
        if path.name not in found:
            path.unlink()
    for name, text in found.items():
        (REFERENCE / name).write_text(text)


if __name__ == "__main__":
    main()
