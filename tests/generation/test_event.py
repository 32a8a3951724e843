"""Events as values: what a log folds to, and how one line of JSON carries any text."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapi.errors import UpstreamTruncated
from streamapi.generation.event import (
    Cancelled,
    Delta,
    Done,
    Event,
    Failed,
    Fold,
    Label,
    Served,
    Start,
    Timings,
    Usage,
    Wait,
    encode,
    fold,
)

START = Start("text", 0.0)
DONE = Done({"text": "all"}, Usage(1, 2), "stop", Served("m"), Timings(), 0.0)
FAILED = Failed(UpstreamTruncated("cut").problem(), Usage(3, 4))
CANCELLED = Cancelled("caller", Usage(5, 6))

any_text = st.text(st.characters(exclude_categories=["Cs"]))
breaks = st.text(st.sampled_from('\r\n\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e a"\\é\U0001f600'))


@given(any_text | breaks)
def test_any_text_is_one_line(text: str) -> None:
    """Whatever a model says, its JSON is one line by every reader's idea of a line."""
    data = encode(Delta(text, "text"))
    assert len(data.decode().splitlines()) == 1
    assert len(data.splitlines()) == 1
    assert not re.search(rb"[\x00-\x1f]", data)


@given(any_text | breaks)
def test_escaping_keeps_the_meaning(text: str) -> None:
    """A reader of JSON gets back exactly what was said."""
    assert json.loads(encode(Delta(text, "code"))) == {"text": text, "part": "code"}


@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\x85"])
@given(before=any_text, after=any_text)
def test_unicode_line_breaks_are_escaped_wherever_they_stand(
    char: str, before: str, after: str
) -> None:
    """The line breaks that JSON lets through raw are escaped, between any neighbours."""
    text = before + char + after
    data = encode([text, {text: 1}])
    assert char not in data.decode()
    assert json.loads(data) == [text, {text: 1}]


def test_bytes_that_only_look_like_a_line_break_stay() -> None:
    """U+2027, U+202A and Latin letters share bytes with line breaks, and are not touched."""
    text = "\u2027\u202a\x84\x86Å…"
    assert encode(text) == f'"{text}"'.encode()


def test_a_log_without_an_ending_runs() -> None:
    """Before anything was said there is no result."""
    assert fold([START]) == Fold("running", None, None)
    assert fold([START, Wait("retry", 2, 0.5, "m")]) == Fold("running", None, None)


def test_the_parts_are_put_together() -> None:
    """A running log's result is what has come, by part."""
    events = [START, Delta("a", "code"), Delta("b", "explanation"), Delta("c", "code")]
    assert fold(events).result == {"code": "ac", "explanation": "b"}


def test_labels_are_put_together() -> None:
    """The labels of a running classification, in their order."""
    events = [START, Label("x", 0.9), Label("y", 0.2)]
    assert fold(events).result == {
        "labels": [{"label": "x", "score": 0.9}, {"label": "y", "score": 0.2}]
    }


def test_done_carries_the_tasks_own_result() -> None:
    """The result of a finished log is what the task made of it."""
    assert fold([START, Delta("other", "text"), DONE]) == Fold("done", {"text": "all"}, DONE)


@pytest.mark.parametrize(("ending", "status"), [(FAILED, "failed"), (CANCELLED, "cancelled")])
def test_content_before_a_failure_stands(ending: Failed | Cancelled, status: str) -> None:
    """A log that failed or was cancelled keeps its partial result."""
    assert fold([START, Delta("so far", "text"), ending]) == Fold(
        status, {"text": "so far"}, ending
    )


@pytest.mark.parametrize(("ending", "status"), [(FAILED, "failed"), (CANCELLED, "cancelled")])
def test_a_failure_without_content_has_no_result(ending: Event, status: str) -> None:
    """Null, not an empty object, when nothing came."""
    assert fold([START, ending]).result is None
    assert fold([START, ending]).status == status


@given(st.lists(st.tuples(any_text, st.sampled_from(["text", "code", "explanation", "thought"]))))
def test_the_fold_is_the_text_whatever_its_pieces(pieces: list[tuple[str, str]]) -> None:
    """However a text was cut into deltas, the fold has it whole."""
    folded = fold([START, *(Delta(text, part) for text, part in pieces)])  # type: ignore[arg-type]
    for part in {part for _, part in pieces}:
        assert folded.result is not None
        assert folded.result[part] == "".join(text for text, other in pieces if other == part)


@pytest.mark.parametrize("event", [START, DONE, FAILED, CANCELLED, Delta("a", "text")])
def test_events_do_not_change(event: Event) -> None:
    """Events are frozen: one log serves many readers."""
    with pytest.raises(AttributeError):
        event.text = "other"  # type: ignore[attr-defined]
