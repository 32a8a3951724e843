"""The WebSocket transport (RFC 6455): text frames of JSON, many generations on one socket.

conversation.py    one socket: reads its messages and does what they ask
authentication.py  the first message of a socket whose handshake has no key
followers.py       the generations that a socket follows
writer.py          frames to the client; a client that does not read is dropped
messages.py        the shapes of all messages, and the close codes
"""
