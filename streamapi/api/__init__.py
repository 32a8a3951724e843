"""The only place that knows Quart.

routes/           the routes: one file per family of addresses
socket/           the WebSocket transport
documents/        OpenAPI and AsyncAPI
patches/          what is changed in Hypercorn, h11, wsproto and Quart
context.py        the services, and the caller of the current request or socket
authentication.py a credential becomes a caller: keys, tickets, loopback
address.py        where a request came from
origins.py        which hosts and pages may ask
headers.py        request ids, CORS, the last look at a response
description.py    what a route takes and gives, declared where the route stands
shapes.py         what several routes answer, as types
parameters.py     what several routes take
limits.py         quart-rate-limiter's decorators over one atomic take
body.py           bodies and query parameters, read strictly
start.py          the current request starts a generation, by way of `intake.py`
idempotency.py    the idempotency key of a request
ticket_claims.py  the one generation that a ticket stands for
answer.py         a generation as its caller sees it, on every transport
sse.py            the events of a log as Server-Sent Events
cursor.py         the last event that a client has seen
resume.py         the stream behind that event
reconnect.py      readers of a stream are asked to reconnect
replays.py        replays are counted and limited
markdown.py       Markdown as HTML, for the manual
responses.py      responses of JSON, and of files that a client may keep
problems.py       every error as problem+json
"""
