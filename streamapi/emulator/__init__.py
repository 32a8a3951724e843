"""The Gemini REST API over real HTTP, with a script in place of a model.

    async with Emulator() as emulator:
        client = AnyGeminiClient(base_url=emulator.url, api_key="anything")

It serves `/v1beta/models`, `generateContent`, `streamGenerateContent` (`?alt=sse`
or a JSON array) and `countTokens`, with Google's shapes. It accepts any key, but
needs one. The same question always gets the same answer: an essay about the
prompt, code when the prompt asks for a "fenced code block", or JSON when the
request has a response schema.

Markers in the last turn of the user change the answer:

    [[pace:0.005]]      seconds between chunks
    [[chunk:8]]         characters in a chunk
    [[words:2000]]      length of the answer
    [[fault:NAME after=3 delay=2.5 times=1]]
                        a fault: `after` this many chunks of text, with a
                        `delay` in seconds for RetryInfo and Retry-After, for the
                        first `times` requests with exactly this prompt (default:
                        all). Several faults in one prompt take effect in turn.

Clients on loopback can read and control the emulator:

    GET    /control             counts (requests, open, left), and the last calls
    GET    /control?prompt=X    the calls whose prompt contains X
    DELETE /control             forget the calls, the counts and the queued faults
    GET    /control/faults      the table of faults
    POST   /control/faults      {"fault": NAME, "times": 1, "after": 3, "delay": 2.5}
                                queue a fault for the next requests

The `outcome` of a call is `finished`, `fault` (a fault was played to its end),
`client_left`, or `closed` (the emulator was closed). Times are
`time.monotonic()`.

Its modules:

    server.py   the web server, and its routes
    request.py  the body of a request, checked
    markers.py  the markers in a prompt
    compose.py  the answer to a question, made from the question alone
    answers/    the parts of answers: essays, code, JSON, labels
    script.py   the script of a response: a list of steps, as plain values
    faults.py   the faults, in one table
    player.py   plays a script to a client, at its pace
    wire.py     Google's shapes: errors, messages, frames
    models.py   the models
    history.py  the calls so far, and the queued faults
    control.py  the routes under `/control`

The faults (a request without streaming gets the same ones, as far as one body
can show them):

{faults}
"""

from .faults import FAULTS, table
from .server import CHUNK_CHARS, PACE, Emulator, run

__all__ = ["CHUNK_CHARS", "FAULTS", "PACE", "Emulator", "run"]

if __doc__ is not None:  # it is, unless Python runs with -OO
    __doc__ = __doc__.replace("{faults}", table())
