"""LangChain's own client works with the emulator as with Google."""

import pytest
from langchain_google_genai import ChatGoogleGenerativeAI
from pydantic import BaseModel

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")


def model(emulator, **more) -> ChatGoogleGenerativeAI:
    return ChatGoogleGenerativeAI(
        model="gemini-3.8-flash",
        base_url=emulator.url,
        vertexai=False,
        max_retries=1,
        api_key="x",
        **more,
    )


async def test_langchain_streams(emulator):
    chunks = [chunk async for chunk in model(emulator).astream("The tides of the sea")]
    text = "".join(chunk.text for chunk in chunks)
    assert text.startswith("# The tides of the sea")
    assert "STOP" in [chunk.response_metadata.get("finish_reason") for chunk in chunks]
    total = sum(chunk.usage_metadata["output_tokens"] for chunk in chunks if chunk.usage_metadata)
    assert total == -(-len(text) // 4)


async def test_langchain_invokes_with_all_it_can_send(emulator):
    answer = await model(
        emulator,
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        max_output_tokens=50,
        seed=1,
        include_thoughts=True,
        stop=["never"],
    ).ainvoke([("system", "Be brief."), ("user", "Hello"), ("ai", "Hi"), ("user", "The tides")])
    assert answer.response_metadata["finish_reason"] == "MAX_TOKENS"


class Tide(BaseModel):
    place: str
    height: float
    neap: bool


async def test_langchain_reads_structured_answers(emulator):
    tide = await model(emulator).with_structured_output(Tide, method="json_schema").ainvoke("Tides")
    assert isinstance(tide, Tide)
