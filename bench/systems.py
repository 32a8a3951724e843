"""The systems that are measured: how each is started, asked, and understood.

Each is set up as its documentation says for production, in one process, with its access log on
where it has one. How a peer is installed is in `install.py`; the servers that we had to write
for a library are in `peers/`.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.client import http
from bench.install import NGINX, PEERS

ROOT = Path(__file__).parent.parent
MODEL = "gemini-3.8-flash"
KEY = "sk-bench-0000000000000000"


class Place(NamedTuple):
    """Where a system is to run: its port, the upstream's, a folder of its own."""

    port: int
    upstream: int
    folder: Path

    @property
    def gemini(self) -> str:
        return f"http://127.0.0.1:{self.upstream}"


class System(NamedTuple):
    """One system. `ask` gives the bytes of a request for a prompt; `peer` names the environment
    that it needs."""

    name: str
    title: str
    format: str
    command: Callable[[Place], list[str]]
    ask: Callable[[Place, str], bytes]
    peer: str | None = None
    env: Callable[[Place], Mapping[str, str]] = lambda place: {}
    extra: bool = False


def _post(path: str, body: Callable[[str], object], headers: str = "") -> Callable:
    return lambda place, prompt: http(
        "POST", path, place.port, json.dumps(body(prompt)).encode(), headers
    )


def _chat(prompt: str) -> object:
    messages = [{"role": "user", "content": prompt}]
    return {"model": MODEL, "messages": messages, "stream": True}


def _gemini(prompt: str) -> object:
    return {"contents": [{"parts": [{"text": prompt}], "role": "user"}]}


def _litellm(place: Place) -> list[str]:
    """https://docs.litellm.ai/docs/proxy/prod: one worker per core, no debug, JSON logs."""
    config = {
        "model_list": [
            {
                "model_name": MODEL,
                "litellm_params": {
                    "model": f"gemini/{MODEL}",
                    "api_key": "bench",
                    "api_base": f"{place.gemini}/v1beta",
                },
            }
        ],
        "litellm_settings": {"request_timeout": 600, "set_verbose": False, "json_logs": True},
        "general_settings": {"master_key": KEY},
    }
    path = place.folder / "litellm.json"  # JSON is YAML
    path.write_text(json.dumps(config))
    return [
        str(PEERS / "litellm/bin/litellm"), "--config", str(path), "--host", "127.0.0.1",
        "--port", str(place.port), "--num_workers", "1",
    ]  # fmt: skip


def _nginx(place: Place) -> list[str]:
    path = place.folder / "nginx.conf"
    path.write_text(f"""
        daemon off; worker_processes 1; pid {place.folder}/nginx.pid; error_log stderr;
        events {{ worker_connections 8192; }}
        http {{
          access_log {place.folder}/access.log;
          client_body_temp_path {place.folder}/body; proxy_temp_path {place.folder}/proxy;
          fastcgi_temp_path {place.folder}/f; uwsgi_temp_path {place.folder}/u;
          scgi_temp_path {place.folder}/s;
          upstream gemini {{ server 127.0.0.1:{place.upstream}; keepalive 64; }}
          server {{
            listen 127.0.0.1:{place.port} backlog=2048;
            location / {{
              proxy_pass http://gemini; proxy_http_version 1.1; proxy_set_header Connection "";
              proxy_buffering off; proxy_read_timeout 600s;
            }}
          }}
        }}""")
    return [NGINX, "-e", "stderr", "-c", str(path), "-p", str(place.folder)]


def _portkey(place: Place, prompt: str) -> bytes:
    headers = (
        "x-portkey-provider: google\r\nAuthorization: Bearer bench\r\n"
        f"x-portkey-custom-host: {place.gemini}/v1beta\r\n"
    )
    return _post("/v1/chat/completions", _chat, headers)(place, prompt)


def _uvicorn(name: str) -> Callable[[Place], list[str]]:
    return lambda place: [
        str(PEERS / name / "bin/uvicorn"), f"bench.peers.{name}_app:app", "--host", "127.0.0.1",
        "--port", str(place.port), "--workers", "1", "--loop", "uvloop", "--http", "httptools",
    ]  # fmt: skip


def _told(place: Place) -> Mapping[str, str]:
    return {
        "BENCH_UPSTREAM": place.gemini,
        "BENCH_PORT": str(place.port),
        "GOOGLE_API_KEY": "bench",
        "NODE_ENV": "production",
        "LANGSMITH_TRACING": "false",
    }


def streamapi_env(place: Place, **settings: str) -> Mapping[str, str]:
    """Production's defaults, but for the limits of one caller: the load has one address."""
    return {
        "STREAMAPI_BIND": f"127.0.0.1:{place.port}",
        "STREAMAPI_GEMINI_BASE_URL": place.gemini,
        "STREAMAPI_RATE_LIMIT": "off",
        "STREAMAPI_UPSTREAM_CALLS": "10000",
        "STREAMAPI_TOKENS_PER_MINUTE": "0",
        "STREAMAPI_TOKENS_PER_DAY": "0",
        "STREAMAPI_MAX_STREAMS": "0",
        "GOOGLE_API_KEY": "bench",
        **{f"STREAMAPI_{name}": value for name, value in settings.items()},
    }


GEMINI_PATH = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"

DIRECT = System(
    "direct", "the upstream itself", "gemini",
    command=lambda place: [], ask=_post(GEMINI_PATH, _gemini),
)  # fmt: skip

STREAMAPI = System(
    "streamapi", "streamapi", "streamapi",
    command=lambda place: [sys.executable, "-m", "streamapi", "serve"],
    ask=_post("/v1/text/stream", lambda prompt: {"prompt": prompt}),
    env=streamapi_env,
)  # fmt: skip

SYSTEMS = (
    STREAMAPI,
    System(
        "nginx", "nginx, copying bytes (the floor)", "gemini", peer="nginx",
        command=_nginx, ask=_post(GEMINI_PATH, _gemini, "x-goog-api-key: bench\r\n"),
    ),
    System(
        "portkey", "Portkey gateway (Node)", "openai", peer="portkey", env=_told,
        command=lambda place: [
            "node", str(PEERS / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"),
            f"--port={place.port}", "--headless",
        ],
        ask=_portkey,
    ),
    System(
        "naive", "Quart on LangChain's astream", "plain", peer="naive", env=_told,
        command=lambda place: [
            str(PEERS / "naive/bin/hypercorn"), "bench.peers.naive_app:app", "--worker-class",
            "uvloop", "--workers", "1", "--backlog", "1024",
            "--bind", f"127.0.0.1:{place.port}",
            "--access-logfile", "-",
        ],
        ask=_post("/stream", lambda prompt: {"prompt": prompt}),
    ),
    System(
        "litellm", "LiteLLM proxy", "openai", peer="litellm",
        env=lambda place: {
            "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        },
        command=_litellm,
        ask=_post("/v1/chat/completions", _chat, f"Authorization: Bearer {KEY}\r\n"),
    ),
    System(
        "langserve", "LangServe", "langserve", peer="langserve", env=_told, extra=True,
        command=_uvicorn("langserve"),
        ask=_post("/chat/stream", lambda prompt: {"input": prompt}),
    ),
    System(
        "genai", "FastAPI on the google-genai SDK", "plain", peer="genai", env=_told, extra=True,
        command=_uvicorn("genai"), ask=_post("/stream", lambda prompt: {"prompt": prompt}),
    ),
    System(
        "aisdk", "Hono on Vercel's AI SDK (Node)", "aisdk", peer="hono", env=_told, extra=True,
        command=lambda place: ["node", str(PEERS / "hono/server.mjs")],
        ask=_post("/stream", lambda prompt: {"prompt": prompt}),
    ),
)  # fmt: skip
