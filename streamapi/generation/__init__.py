"""The heart: a model writes a log; a generation is one caller's hold on it; readers read it.

    generation.py       a generation: what one caller got for one request
    request.py          who asks, and what for
    event.py            what can happen, as frozen values, and the fold that makes an answer of them
    model.py            what the heart knows of a model and of a task's parser
    log.py              the verbs and laws of a log backend
    stored_log.py       one log in memory
    stored_logs.py      all logs, generations and claims in memory, within their bounds
    log_bounds.py       those bounds
    finished.py         which finished log is dropped when memory is full
    remembered.py       which generation is dropped then, and which must not be
    memory_log.py       the verbs over them: the backend that needs nothing else
    redis/              the backend that processes share
    background_tasks.py tasks that run again when they fail
    producer.py         the one writer of a log: gate, deadlines, exactly one ending
    model_calls.py      asks the models of a chain until one has content
    chain.py            the rules of that: which model is next, how often, for how long
    health.py           which models answer: a circuit per model
    attempt.py          one request to one model
    admission.py        a bound on calls to a model, shared fairly between keys
    charge.py           what a new log costs, reserved at its start and settled at its ending
    ended.py            the record of a log that has ended, and its observers
    timers.py           deadlines that move at every token, and cost nothing for it
    replay_pacer.py     replays share the event loop
    sharing.py          cache, single-flight and idempotency keys: one claim
    pending_log.py      the log of a generation until its producer starts
    readers.py          who reads which generation, and what follows when the last one leaves
    generations.py      start, find, read, cancel and forget generations

Nothing here knows HTTP, SQL or any provider.
"""
