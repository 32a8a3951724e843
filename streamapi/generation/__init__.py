"""The heart: a model writes a log; a generation is one caller's hold on it; readers read it.

    event.py        what can happen, as frozen values, and the fold that makes an answer of them
    model.py        what the heart knows of a model and of a task's parser
    log.py          the verbs and laws of a log backend
    kept.py         one log in memory
    finished.py     which finished log gives way when memory is full
    remembered.py   which generation does, and which must not
    memory_log.py   the backend that needs nothing else
    redis_log.py    the backend that processes share: memory, and beside it
        redis_lane.py     the connection, and the circuit that guards it
        redis_mirror.py   what is written here, into Redis
        redis_tail.py     what is written elsewhere, into memory
        redis_scripts.py  what must be decided at once, decided in Redis
        redis_wire.py     what it all looks like there
    background_tasks.py  tasks that run again when they fail
    producer.py     the one writer of a log: gate, deadlines, exactly one ending
    asking.py       asks the models of a chain until one has content
    chain.py        the rules of that: who is next, how often, for how long
    health.py       which models answer: a circuit per model
    attempt.py      one request to one model
    toll.py         what a new log costs, paid at its start and settled at its ending
    watch.py        deadlines that move at every token, and cost nothing for it
    replay_pacer.py replays take turns
    generations.py  holds: start, find, read, cancel, forget

Nothing here knows HTTP, SQL or any provider.
"""
