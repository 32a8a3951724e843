"""The command line: `streamapi serve | emulate | keys | config | openapi`."""

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Sequence

from streamapi.settings import (
    Settings,
    UnsafeSettings,
    environment_name,
    read_settings,
    unread_variables,
)
from streamapi.version import version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code. `UnsafeSettings` becomes a sentence on stderr and
    exit code 2."""
    options = _parser().parse_args(arguments)
    try:
        if getattr(options, "child", None) is None:  # else the parent has printed them
            for sentence in unread_variables():
                print(f"streamapi: warning: {sentence}", file=sys.stderr, flush=True)
        return int(options.command(options) or 0)
    except BrokenPipeError:  # `streamapi config | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UnsafeSettings as error:
        print(f"streamapi: {error}", file=sys.stderr)
        return 2


def _serve(options: argparse.Namespace) -> int:
    given = {"bind": options.bind, "workers": options.workers}
    settings = read_settings(**{name: value for name, value in given.items() if value is not None})
    from streamapi import server

    if options.child is not None:
        server.run_child(settings, server.Child.from_argument(options.child))
    elif settings.workers > 1:
        from streamapi import supervisor

        return supervisor.run(settings)
    else:
        server.run(settings)
    return 0


def _emulate(options: argparse.Namespace) -> None:
    from streamapi import emulator

    host, _, port = options.bind.rpartition(":")
    emulator.run(host, int(port), options.pace, options.chunk)


def _config(options: argparse.Namespace) -> None:
    settings = read_settings()
    for name in Settings.model_fields:
        value = getattr(settings, name)
        shown = ",".join(value) if isinstance(value, tuple) else "" if value is None else value
        hidden = re.sub(r"//[^@/]+@", "//**********@", str(shown))  # a password in a URL
        print(f"{environment_name(name)}={hidden}")


def _openapi(options: argparse.Namespace) -> None:
    from streamapi.app import create_app

    async def fetch() -> object:
        response = (
            await create_app(read_settings(), emulated=True).test_client().get("/openapi.json")
        )
        return await response.get_json()

    json.dump(asyncio.run(fetch()), sys.stdout, indent=2, ensure_ascii=False)
    print()


def _keys(options: argparse.Namespace) -> int:
    from streamapi import cli_keys

    return cli_keys.run(options)


def _keys_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    create = commands.add_parser("create", help="make a key, and print it this once")
    create.add_argument(
        "--owner",
        required=True,
        help="the owner; all keys of an owner see the same generations",
    )
    create.add_argument("--name", default="", help="a label that says what the key is for")
    create.add_argument(
        "--scope",
        dest="scopes",
        metavar="SCOPE",
        action="append",
        help="what the key may do; may be repeated; default: every task",
    )
    create.add_argument(
        "--model",
        dest="models",
        metavar="MODEL",
        action="append",
        help="a model that the key may use; may be repeated; default: every model",
    )
    create.add_argument(
        "--expires", help="a date (2027-01-31) or days from now (90d); default: never"
    )
    for name in ("requests-per-minute", "tokens-per-minute", "tokens-per-day", "streams"):
        create.add_argument(
            f"--{name}", type=int, metavar="N", help="0: no limit; default: the server's setting"
        )
    create.set_defaults(command=_keys, action="create")
    listing = commands.add_parser("list", help="print the record of each key, never the key itself")
    listing.set_defaults(command=_keys, action="list")
    revoke = commands.add_parser("revoke", help="revoke a key, and end its open streams")
    revoke.add_argument("id", help="the id in `streamapi keys list`: key_...")
    revoke.set_defaults(command=_keys, action="revoke")


class _Version(argparse.Action):
    """Prints the version. `argparse`'s own action would look it up for every command."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"streamapi {version()}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="streamapi", description="A streaming-first LLM API.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, metavar="command")
    serve = commands.add_parser("serve", help="serve the API")
    serve.add_argument("--bind", help="address and port; default: STREAMAPI_BIND")
    serve.add_argument("--workers", help="number of processes; default: STREAMAPI_WORKERS")
    serve.add_argument("--child", help=argparse.SUPPRESS)  # for the supervisor only
    serve.set_defaults(command=_serve)
    emulate = commands.add_parser("emulate", help="serve Gemini's API, with scripted answers")
    emulate.add_argument(
        "--bind", default="127.0.0.1:8001", help="address and port; default: %(default)s"
    )
    emulate.add_argument("--pace", type=float, default=0.02, help="seconds between chunks")
    emulate.add_argument("--chunk", type=int, default=24, help="characters in a chunk")
    emulate.set_defaults(command=_emulate)
    keys = commands.add_parser("keys", help="make, list and revoke API keys")
    _keys_arguments(keys.add_subparsers(required=True, metavar="action"))
    config = commands.add_parser("config", help="print every setting and its value")
    config.set_defaults(command=_config)
    openapi = commands.add_parser("openapi", help="print the OpenAPI document")
    openapi.set_defaults(command=_openapi)
    return parser


if __name__ == "__main__":
    sys.exit(main())
