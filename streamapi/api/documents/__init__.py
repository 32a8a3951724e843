"""What the server says about itself, for programs: OpenAPI 3.2 (and 3.1) and AsyncAPI 3.0.

Both are made from what is there (the routes, the tasks, the events, the error tree), once, when
first asked for; only what a program cannot see in the code is written down here.

shapes.py      what stands on the wire, as types
schemas.py     shapes and the tasks' models as JSON schemas with one set of names
failures.py    which error can come where
parts.py       headers, parameters, kinds of responses
streams.py     event streams, in OpenAPI 3.2 and in 3.1
operations.py  what each route takes and gives
doors.py       the same for the doors of every task
openapi.py     the OpenAPI document, on quart-schema's walk through the routes
asyncapi.py    the WebSocket doors
"""
