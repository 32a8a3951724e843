"""What most would write first: Quart, LangChain's `astream`, and a generator of events."""

import json
import os

from langchain_google_genai import ChatGoogleGenerativeAI
from quart import Quart, Response, request

app = Quart(__name__)
llm = ChatGoogleGenerativeAI(
    model="gemini-3.8-flash", base_url=os.environ["BENCH_UPSTREAM"], vertexai=False, max_retries=1
)


@app.post("/stream")
async def stream():
    """The answer as Server-Sent Events."""
    prompt = (await request.get_json())["prompt"]

    async def events():
        async for chunk in llm.astream(prompt):
            yield f"data: {json.dumps({'text': chunk.text})}\n\n".encode()

    response = Response(events(), mimetype="text/event-stream")
    response.timeout = None
    return response
