"""`make conformance`: schemathesis holds a running server to the document that it serves.

run.py             starts the emulator and the servers, and schemathesis against each
schemathesis.toml  what is checked, and within which bounds
requirements.in    schemathesis, in an environment of its own; requirements.txt pins it
"""
