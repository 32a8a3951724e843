"""Who answers: the catalogue of models, and the providers that reach them.

    catalogue.py  the models that there are, and what each takes
    gemini/       Google's Gemini

The only place that knows LangChain and the providers' SDKs. A provider is imported when it is
first used: each costs one to two seconds and 60 to 100 MB.
"""
