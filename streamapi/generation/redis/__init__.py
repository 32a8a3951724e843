"""The log backend that processes share: memory, and beside it Redis or Valkey.

logs.py         the backend: verbs served from memory, with these beside
mirror.py       what is written here, into Redis
follower.py     what other processes write, into memory
followed_log.py one log of them
holds.py        who holds which log
orphans.py      logs whose writer is gone, ended in its place
scripts.py      what must be decided at once, decided in Redis
wire.py         how entries and generations travel, and how long keys live
"""
