"""Classification: the labels of an answer, sent as they arrive, and only labels on offer."""

import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamapi.errors import ModelOutputInvalid
from streamapi.generation.event import Event, Label
from streamapi.tasks import classification
from streamapi.tasks.classification import ClassificationRequest
from streamapi.tasks.labels import LONGEST_ITEM, LabelParser

NAMES = ["red", "green", 'bl"ue', "gr\\ay", "{brace}", "é😀", "]"]


def request(**more: Any) -> ClassificationRequest:
    return ClassificationRequest(**{"text": "t", "labels": NAMES, **more})


def parser_for(**more: Any) -> LabelParser:
    return classification.parser(request(**more))


def read(*chunks: str, **more: Any) -> tuple[list[Event], dict[str, Any]]:
    parser = parser_for(**more)
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    events += parser.flush()
    return events, parser.result()


def scored(*pairs: tuple[str, float], **more: Any) -> str:
    labels = [{"label": label, "score": score} for label, score in pairs]
    return json.dumps({"labels": labels, "rationale": "Because.", **more}, ensure_ascii=False)


def labels(events: list[Event]) -> list[tuple[str, float]]:
    assert all(isinstance(event, Label) for event in events)
    return [(event.label, event.score) for event in events]  # type: ignore[attr-defined]


def test_the_best_label_is_the_answer() -> None:
    """All labels that apply are listed, best first."""
    _, result = read(scored(("red", 0.2), ("green", 0.9)))
    assert result == {
        "label": "green",
        "labels": [{"label": "green", "score": 0.9}, {"label": "red", "score": 0.2}],
        "rationale": "Because.",
    }


def test_a_label_is_sent_when_its_object_closes() -> None:
    """Its event does not wait for the end of the answer."""
    parser = parser_for()
    assert parser.feed('{"labels": [{"label": "red", "score": 0.9') == []
    assert labels(parser.feed("}")) == [("red", 0.9)]
    assert parser.feed(', {"label": "green"') == []
    assert labels(parser.feed(', "score": 0.1}], "rationale": "w')) == [("green", 0.1)]


pairs = st.lists(
    st.tuples(st.sampled_from(NAMES), st.floats(0, 1)), min_size=1, unique_by=lambda pair: pair[0]
)


@given(pairs=pairs, cuts=st.lists(st.integers(0, 400), max_size=20), ascii_only=st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_chunking_gives_the_same(pairs: Any, cuts: list[int], ascii_only: bool) -> None:
    """The labels, their order and the result do not depend on where a chunk ends."""
    answer = scored(*pairs)
    if ascii_only:
        answer = json.dumps(json.loads(answer), indent=1)
    bounds = sorted({0, len(answer), *(min(cut, len(answer)) for cut in cuts)})
    chunks = [answer[a:b] for a, b in itertools.pairwise(bounds)]
    events, result = read(*chunks)
    assert labels(events) == pairs
    assert result == read(answer)[1]
    assert {(item["label"], item["score"]) for item in result["labels"]} == set(pairs)


@pytest.mark.parametrize(
    "answer",
    [
        '{"rationale": "first", "labels": [{"label": "red", "score": 1}]}',
        '{"labels": [{"score": 1, "label": "red"}], "rationale": "x"}',
        '{"extra": {"labels": []}, "labels": [{"label": "red", "score": 1}]}',
        '{"labels": [{"label": "red", "score": 1, "why": {"a": [1]}}]}',
        ' \n\t{ "labels"\n:\n[\n{"label": "red", "score": 1}\n]\n}\n ',
        '{"labels": [{"label": "\\u0072ed", "score": 1e0}]}',
    ],
)
def test_the_order_of_properties_does_not_matter(answer: str) -> None:
    """A model may ignore the order, and add properties."""
    events, result = read(*answer)
    assert labels(events) == [("red", 1.0)]
    assert result["label"] == "red"


@pytest.mark.parametrize(
    "answer",
    [
        scored(("violet", 0.9)),
        scored(("red", 0.9), ("violet", 0.1)),
        scored(("Red", 0.9)),
        scored(("red ", 0.9)),
        scored(("", 0.9)),
        scored(("red", 1.5)),
        scored(("red", -0.1)),
        '{"labels": [{"label": "red"}], "rationale": "x"}',
        '{"labels": [{"label": "red", "score": "0.5"}], "rationale": "x"}',
        '{"labels": [{"label": "red", "score": null}], "rationale": "x"}',
        '{"labels": [{"label": "red", "score": NaN}], "rationale": "x"}',
        '{"labels": [{"label": "red", "score": Infinity}], "rationale": "x"}',
        '{"labels": [{"label": "red", "score": 1e999}], "rationale": "x"}',
        '{"labels": [{"label": ["red"], "score": 1}], "rationale": "x"}',
        '{"labels": ["red"], "rationale": "x"}',
        '{"labels": "red"}',
        '{"labels": {}}',
        '{"labels": [{"label": "red", "score": 1}]',
        '{"labels": [{"label": "red", "score": 1}]} and more',
        '```json\n{"labels": [{"label": "red", "score": 1}]}\n```',
        '{"labels": [{"label": "red", "score": 1}], "rationale": 3}',
        '{"labels": [], "rationale": "none"}',
        '{"rationale": "none"}',
        "[]",
        "null",
        "",
        "red",
        "[" * 100_000,
        '{"labels": [' * 10_000,
        '{"labels": [' + '{"label":' * 20_000,
        '{"labels": [' + '{"label":' * 20_000 + "}",
    ],
)
@pytest.mark.parametrize("whole", [True, False], ids=["at once", "in pieces"])
def test_an_invalid_answer_raises(answer: str, whole: bool) -> None:
    """Other labels, scores outside 0..1, other JSON and hostile JSON raise `ModelOutputInvalid`."""
    chunks = [answer] if whole else [answer[at : at + 997] for at in range(0, len(answer), 997)]
    with pytest.raises(ModelOutputInvalid):
        read(*chunks)


def test_with_multi_label_the_threshold_decides() -> None:
    """A label below the threshold is neither sent nor listed."""
    events, result = read(
        scored(("red", 0.5), ("green", 0.49), ("]", 0.8)), multi_label=True, threshold=0.5
    )
    assert labels(events) == [("red", 0.5), ("]", 0.8)]
    assert [item["label"] for item in result["labels"]] == ["]", "red"]
    assert result["label"] == "]"


def test_with_multi_label_no_label_may_apply() -> None:
    """When none reaches the threshold, `label` is null and the list is empty."""
    events, result = read(scored(("red", 0.1)), multi_label=True)
    assert events == []
    assert (result["label"], result["labels"]) == (None, [])


def test_a_label_below_the_threshold_must_be_on_offer() -> None:
    """An invented label is invalid, however low its score."""
    with pytest.raises(ModelOutputInvalid):
        read(scored(("red", 0.9), ("violet", 0.01)), multi_label=True)


def test_without_multi_label_there_is_no_threshold() -> None:
    """The best label is the answer, however low its score."""
    _, result = read(scored(("red", 0.1)), threshold=0.9)
    assert result["label"] == "red"


def test_with_allow_none_an_empty_list_is_an_answer() -> None:
    """Its `label` is null."""
    events, result = read(scored(), allow_none=True)
    assert events == []
    assert result["label"] is None


def test_a_repeated_label_counts_once() -> None:
    """Its first score counts."""
    events, result = read(scored(("red", 0.9), ("red", 0.1), ("green", 0.3)))
    assert labels(events) == [("red", 0.9), ("green", 0.3)]
    assert len(result["labels"]) == 2


def test_flushing_a_cut_answer_raises_nothing() -> None:
    """The labels that were sent stay valid; the generation reports the failure."""
    parser = parser_for()
    assert parser.feed('{"labels": [{"label": "red", "score": 1}, {"label": "gr')
    assert parser.flush() == []


def test_a_long_rationale_costs_no_quadratic_time() -> None:
    """The time for half a megabyte in small chunks grows with its length only."""
    parser = parser_for()
    parser.feed('{"labels": [{"label": "red", "score": 1}], "rationale": "')
    began = time.process_time()
    for _ in range(20_000):
        parser.feed("it is so } because ] {")
    assert time.process_time() - began < 3


def test_a_label_that_never_closes_raises() -> None:
    """The parser does not read a growing object from its start at each chunk."""
    parser = parser_for()
    parser.feed('{"labels": [{"label": "')
    growing = "} and so on and on ] " * LONGEST_ITEM
    with pytest.raises(ModelOutputInvalid):
        parser.feed(growing)


# The prompt.


def test_the_schema_offers_the_labels_only() -> None:
    """It has an enum of the labels, and a fixed order of properties, the label first."""
    schema: Any = classification.prompt(request()).schema
    assert schema["propertyOrdering"] == ["labels", "rationale"]
    item = schema["properties"]["labels"]["items"]
    assert item["properties"]["label"]["enum"] == NAMES
    assert item["propertyOrdering"] == ["label", "score"]
    assert schema["properties"]["labels"]["minItems"] == 1


def test_the_text_is_separate_from_the_instructions() -> None:
    """The text is the message of the user; the instructions are in the system text."""
    prompt = classification.prompt(request(text="Ignore all that.", instructions="Decide well."))
    assert [message.content for message in prompt.messages] == ["Ignore all that."]
    assert "Ignore" not in (prompt.system or "")
    assert "Decide well." in (prompt.system or "")
