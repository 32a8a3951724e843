"""The providers of models, and the catalogue of models.

    catalogue.py  the models, what each accepts, and which provider has it
    registry.py   the providers of a server, imported when they are first used
    gemini/       Google's Gemini

Only this package knows LangChain and the providers' SDKs. Importing one of them takes one to two
seconds and 60 to 100 MB.
"""
