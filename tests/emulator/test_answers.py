"""Answers look real: essays, code that parses, JSON that matches its schema."""

import importlib
import json

import pytest
from tree_sitter import Language, Parser

from streamapi.emulator.answers.code import language_of
from streamapi.emulator.answers.snippets import SNIPPETS
from streamapi.emulator.answers.topic import Topic

CODE = "Write code in {}. Answer with one fenced code block first, then explain it."
PROMPTS = [
    "A function that merges two sorted lists",
    "class return */ --> ?> */ <script> ''' \"\"\" ${x} `rm -rf` \\ %d",
    "été 你好 \U0001f600",
    "404",
]


def grammar(name: str) -> Language:
    module = importlib.import_module(f"tree_sitter_{name}")
    special = {"typescript": "language_typescript", "php": "language_php"}
    return Language(getattr(module, special.get(name, "language"))())


@pytest.mark.parametrize("language", SNIPPETS)
@pytest.mark.parametrize("prompt", PROMPTS)
async def test_code_parses(client, language, prompt):
    text = (await client.generate(prompt, CODE.format(language))).text
    opening, _, rest = text.partition("\n")
    code, _, explanation = rest.partition("\n```\n")
    assert opening == f"```{language}"
    assert not Parser(grammar(language)).parse(code.encode()).root_node.has_error, code
    assert explanation.strip()


@pytest.mark.parametrize(
    ("system", "prompt", "language"),
    [
        ("Write code in C++.", "", "cpp"),
        ("Write code in C.", "in python", "c"),
        ("Write code. Answer with one fenced code block first", "Sort, in Go", "go"),
        ("Language: `TypeScript`", "", "typescript"),
        ("", "a javascript function", "javascript"),
        ("", "increase a counter as closely as you can", "python"),
    ],
)
def test_the_language_is_read_from_the_question(system, prompt, language):
    assert language_of(system, prompt) == language


def test_a_function_is_named_after_its_prompt():
    assert Topic.of("A function that merges two sorted lists").name == "merges_two_sorted_lists"
    assert Topic.of("42!").name == "compute_42"


async def test_an_essay_is_markdown_about_the_prompt(client):
    text = (await client.generate("Write an essay about the tides of the sea")).text
    assert text.startswith("# The tides of the sea\n\n")
    assert 150 <= len(text.split()) <= 300
    assert all(mark in text for mark in ("\n## ", "\n- **", "*"))


async def test_markers_change_the_form_and_not_the_words(client):
    plain = await client.stream("The tides")
    marked = await client.stream("The tides [[pace:0.0001]] [[chunk:80]]")
    assert marked.text == plain.text
    assert len(marked.messages) == -(-len(plain.text) // 80)
    assert len((await client.generate("The tides [[words:5000]]")).text.split()) == 5000


SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 12},
        "kind": {"type": "string", "enum": ["land", "tides"]},
        "count": {"type": "integer", "minimum": 3, "maximum": 5},
        "share": {"type": "number", "minimum": 0, "maximum": 1},
        "sure": {"type": "boolean"},
        "gone": {"type": "null"},
        "day": {"type": "string", "format": "date"},
        "maybe": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Item"}]},
        "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}, "minItems": 2, "maxItems": 2},
    },
    "required": ["title"],
    "$defs": {
        "Item": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "inner": {"$ref": "#/$defs/Item"}},
        }
    },
}


async def test_json_obeys_its_schema(client):
    text = (
        await client.generate(
            "The tides", responseMimeType="application/json", responseJsonSchema=SCHEMA
        )
    ).text
    value = json.loads(text)
    assert list(value) == list(SCHEMA["properties"])
    assert len(value["title"]) <= 12
    assert value["kind"] == "tides"
    assert 3 <= value["count"] <= 5
    assert 0 <= value["share"] <= 1
    assert value["sure"] in (True, False)
    assert value["gone"] is None
    assert value["day"] == "2026-01-15"
    assert isinstance(value["maybe"]["name"], str)
    assert len(value["items"]) == 2


def classification(least: int) -> dict:
    item = {
        "type": "OBJECT",
        "properties": {
            "score": {"type": "NUMBER", "minimum": 0, "maximum": 1},
            "label": {"type": "STRING", "enum": ["shipping", "billing", "praise"]},
        },
        "propertyOrdering": ["label", "score"],
    }
    labels = {"type": "ARRAY", "items": item, "minItems": str(least), "maxItems": "3"}
    return {
        "type": "OBJECT",
        "properties": {"rationale": {"type": "STRING"}, "labels": labels},
        "propertyOrdering": ["labels", "rationale"],
    }


async def classify(client, text: str, least: int) -> dict:
    asked = await client.generate(
        text,
        "Labels:\n- shipping\n- billing: invoices and money\n- praise",
        responseMimeType="application/json",
        responseSchema=classification(least),
    )
    return json.loads(asked.text)


async def test_labels_fit_the_text(client):
    value = await classify(client, "My invoice is wrong, and the parcel never came.", 3)
    assert list(value) == ["labels", "rationale"]
    assert list(value["labels"][0]) == ["label", "score"]
    assert {entry["label"] for entry in value["labels"][:2]} == {"billing", "shipping"}
    scores = [entry["score"] for entry in value["labels"]]
    assert scores == sorted(scores, reverse=True)
    assert 1 >= scores[1] > 0.5 > scores[2] >= 0
    assert value["rationale"].endswith(".")


async def test_no_label_may_fit(client):
    assert (await classify(client, "Zebras graze.", 0))["labels"] == []
    assert len((await classify(client, "Zebras graze.", 1))["labels"]) == 1


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": 5},
        {"type": "array", "minItems": 10**9, "items": {"type": "array", "minItems": 10**9}},
        {"$ref": "#"},
        {"$ref": "#/nowhere/at/all"},
        {"anyOf": []},
        {"enum": [{"a": 1}, None]},
        {"type": "string", "minLength": 10**12},
        {"type": "number", "minimum": 9, "maximum": 3},
        {"type": "integer", "minimum": "x", "maximum": 1e300},
        {"type": "object", "properties": [], "propertyOrdering": [{}, [], 5]},
        {"type": "object", "properties": {"a": 5, "b": None}, "propertyOrdering": [{}]},
        {"type": "array", "items": {"properties": {"label": {"enum": [[]]}, "score": 1}}},
    ],
    ids=lambda schema: str(schema)[:60],
)
async def test_a_strange_schema_still_gets_json(client, schema):
    asked = await client.generate(
        "x", responseMimeType="application/json", responseJsonSchema=schema
    )
    assert asked.status == 200
    if asked.finish != ["MAX_TOKENS"]:
        json.loads(asked.text)
