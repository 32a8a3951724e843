"""The log backend that processes share: memory, and beside it Redis or Valkey.

logs.py      the backend: verbs served from memory, with these beside
mirror.py    what is written here, into Redis
follower.py  what is written elsewhere, into memory
orphans.py   logs whose writer is gone, ended in its place
scripts.py   what must be decided at once, decided in Redis
wire.py      what it all looks like there
"""
