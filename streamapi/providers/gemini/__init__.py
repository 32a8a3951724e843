"""Google's Gemini: LangChain builds the requests, and our own code reads the streams.

models.py     the provider: its connections, and a `Model` for each card of the catalogue
request.py    LangChain's requests as templates, one per model and set of parameters
wire.py       our own reader of Gemini's stream
langchain.py  LangChain, which builds the requests and is the reference for `wire.py`
errors.py     Google's errors, translated to ours
"""
