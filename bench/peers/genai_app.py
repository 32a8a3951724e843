"""FastAPI and Google's SDK, as its documentation streams."""

import json
import os

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from google import genai
from google.genai import types
from pydantic import BaseModel

app = FastAPI()
client = genai.Client(
    api_key=os.environ["GOOGLE_API_KEY"],
    http_options=types.HttpOptions(base_url=os.environ["BENCH_UPSTREAM"]),
)


class Ask(BaseModel):
    """A prompt."""

    prompt: str


@app.post("/stream")
async def stream(ask: Ask):
    """The answer as Server-Sent Events."""

    async def events():
        answer = await client.aio.models.generate_content_stream(
            model="gemini-3.8-flash", contents=ask.prompt
        )
        async for chunk in answer:
            yield f"data: {json.dumps({'text': chunk.text})}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")
