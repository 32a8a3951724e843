"""What the server says about itself, for programs: OpenAPI 3.2 (and 3.1) and AsyncAPI 3.0.

Both documents are assembled from what the routes declare (`api/description.py`), and from the
tasks, the events and the tree of errors. Each is built once, when it is first asked for.

openapi.py      the OpenAPI document, on quart-schema's walk through the routes
operations.py   one operation, from the description of its route
components.py   headers, parameters and the key, which operations refer to
schemas.py      shapes and models as JSON schemas with one set of names
failures.py     the errors that each route can answer
streams.py      event streams, in OpenAPI 3.2 and in 3.1
asyncapi.py     the messages of the WebSockets
"""
