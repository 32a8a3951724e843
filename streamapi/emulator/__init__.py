"""The Gemini REST API over real HTTP, with a script in place of a model.

    async with Emulator() as emulator:
        client = AnyGeminiClient(base_url=emulator.url, api_key="anything")

It speaks the wire as Google does: `/v1beta/models`, `generateContent`,
`streamGenerateContent` (`?alt=sse` or a JSON array), `countTokens`. Any key will
do, but there must be one. The same question always gets the same answer: an
essay about the prompt, code where a "fenced code block" is asked for, JSON
where a response schema is given.

Markers in the last turn of the user change how it is answered:

    [[pace:0.005]]      seconds between chunks
    [[chunk:8]]         characters in a chunk
    [[words:2000]]      length of the answer
    [[fault:NAME after=3 delay=2.5 times=1]]
                        `after` so many chunks of text; `delay` in seconds for
                        RetryInfo and Retry-After; only the first `times` requests
                        with this very prompt (else all). Several faults in one
                        prompt are played in turn.

From loopback only, `/control` tells and scripts:

    GET    /control             requests, open, left, and the last calls
    GET    /control?prompt=X    the calls whose prompt contains X
    DELETE /control             forget all that, and the faults in the queue
    GET    /control/faults      the table of faults
    POST   /control/faults      {"fault": NAME, "times": 1, "after": 3, "delay": 2.5}
                                for the next requests

A call's `outcome` is `finished`, `fault` (a fault was played to its end),
`client_left`, or `closed` (the emulator was). Times are `time.monotonic()`.

Its modules:

    server.py   the web server, and its routes
    request.py  what was asked
    markers.py  what a prompt says to the emulator rather than to the model
    answers/    what a model would say, made from the question alone
    script.py   what will be played, as plain values
    faults.py   the faults, in one table
    stage.py    a script played to a client, at its pace
    wire.py     Google's shapes: errors, messages, frames
    models.py   the models that it knows
    ledger.py   who called, what was played, when the client left
    control.py  `/control`

The faults (a non-streaming request meets the same, as far as one body can):

{faults}
"""

from .faults import FAULTS, table
from .server import CHUNK_CHARS, PACE, Emulator, run

__all__ = ["CHUNK_CHARS", "FAULTS", "PACE", "Emulator", "run"]

if __doc__ is not None:  # it is, unless Python runs with -OO
    __doc__ = __doc__.replace("{faults}", table())
