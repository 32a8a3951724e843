"""The parts of answers, made from the question alone. `compose.py`, beside this folder, makes an
answer of them.

    essay.py     an essay about the prompt
    code.py      code in the requested language, with an explanation
    snippets.py  a small program for each language
    labels.py    the labels that fit a text
    schema.py    JSON that matches a schema
    topic.py     the topic of a prompt
    hostile.py   text that breaks careless readers
"""
