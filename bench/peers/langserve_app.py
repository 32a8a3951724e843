"""LangServe's own example, with Gemini for a model."""

import os

from fastapi import FastAPI
from langchain_google_genai import ChatGoogleGenerativeAI
from langserve import add_routes

app = FastAPI()
llm = ChatGoogleGenerativeAI(
    model="gemini-3.8-flash", base_url=os.environ["BENCH_UPSTREAM"], vertexai=False, max_retries=1
)
add_routes(app, llm, path="/chat")
