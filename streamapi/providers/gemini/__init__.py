"""Google's Gemini: LangChain builds the requests, and we read the streams.

models.py     the provider: one session, and a `Model` per card of the catalogue
request.py    requests as LangChain builds them, taken once per model and kind
wire.py       Gemini's stream, decoded by us
langchain.py  the same through LangChain alone: the reference for `wire.py`
errors.py     Google's errors as ours
"""
