"""The only place that knows Quart.

routes/           the routes: one file per family of addresses
socket/           the WebSocket transport
documents/        OpenAPI and AsyncAPI
patches/          what is changed in Hypercorn, h11, wsproto and Quart
context.py        what a route finds around it: the parts, and who is asking
who.py            who asks: keys, tickets, loopback
address.py        where a request came from
origins.py        which hosts and pages may ask
request_head.py   what the head of a request may be
headers.py        request ids, CORS, the last look at a response
description.py    what a route takes and gives, declared where the route stands
shapes.py         what several routes answer, as types
parameters.py     what several routes take
limits.py         quart-rate-limiter's decorators over one atomic take
body.py           requests, read strictly in one place
start.py          the current request starts a generation, by way of `intake.py`
idempotency.py    the idempotency key of a request
ticket_claims.py  what a ticket began or follows, and nothing else
answer.py         what a caller sees of a generation, whatever the wire
sse.py            a log as Server-Sent Events
replays.py        what is read again is charged
markdown.py       Markdown as HTML, for the manual
problems.py       every error as problem+json
"""
