"""The only place that knows Quart: one file per resource.

services.py     what the routes stand on, and who is asking
body.py         requests, read strictly in one place
ask.py          a valid request becomes a generation
answer.py       what a caller sees of a generation, whatever the wire
sse.py          a log as Server-Sent Events
tasks.py        the doors of every task: JSON, SSE by POST and by GET, 202
socket.py       the WebSocket door, many generations on one socket
generations.py  a generation, its events, cancel, forget
models.py  health.py  pages.py  docs.py
problems.py     every error as problem+json
field_errors.py what is wrong with a field, in words
replays.py      what is read again is charged
ticket_claims.py what a ticket began or follows, and nothing else
limits.py       quart-rate-limiter's decorators over one atomic take
address.py      where a request came from
headers.py      request ids, CORS, origins
request_head.py what the head of a request may be
patches/        what is changed in Hypercorn, h11, wsproto and Quart
"""
