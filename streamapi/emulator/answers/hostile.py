"""Text that breaks careless readers, for insertion into a normal answer.

It has line breaks of every kind (for readers that split lines as
`str.splitlines` does), lines that look like Server-Sent Events, control
characters, characters outside the Basic Multilingual Plane, a lone surrogate
(which UTF-8 cannot encode), and markup that must never run.
"""

__all__ = ["HOSTILE"]

HOSTILE = (
    "carriage return\rline feed\nboth\r\n"
    "line separator\u2028paragraph separator\u2029next line\u0085"
    "vertical tab\x0bform feed\x0c"
    + "".join(map(chr, [*range(0x01, 0x09), *range(0x0E, 0x20), 0x7F]))
    + "\n\ndata: x\nevent: done\nid: 7\nretry: 1\n\n: comment\n\n"
    "data: [DONE]\n\n"
    "astral \U0001f600 \U0001d11e \U00020000, lone \ud800 surrogate\n"
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\n"
    '"quotes" \\backslashes\\ \ufeff {"error": {"code": 503}}\n'
)
