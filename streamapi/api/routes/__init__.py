"""The routes: one file per family of addresses.

tasks.py        every task: JSON, Server-Sent Events by POST and by GET, 202
socket.py       WebSocket: many generations on one socket
generations.py  a generation, its events, cancel, forget
models.py       the catalogue
keys.py         keys, for administrators
tickets.py      one-minute tickets for browsers
health.py       `/healthz`, `/readyz`
metrics.py      `/metrics`
docs.py         `/docs`, `/openapi.json`, `/asyncapi.json`
pages.py        the playground at `/`, its files, and a page per error code
"""
