"""The JSON body of a request becomes a `Question`, or Google's error.

Names may be in camelCase or snake_case, as in protobuf's JSON. An unknown name
gets a 400 at the top and in `generationConfig`, where a mistake would otherwise
have no effect. Deeper down unknown names are accepted, because the emulator
ignores tools, images and safety settings.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from .models import Model
from .script import tokens
from .wire import Refusal

__all__ = ["Config", "Question", "decode", "parse", "parse_count"]

_TOP = (
    "contents systemInstruction generationConfig safetySettings tools toolConfig cachedContent "
    "model serviceTier store labels"
)
TOP = frozenset(_TOP.split())
_CONFIG = (
    "stopSequences responseMimeType responseSchema responseJsonSchema responseModalities "
    "candidateCount maxOutputTokens temperature topP topK seed presencePenalty frequencyPenalty "
    "responseLogprobs logprobs enableEnhancedCivicAnswers speechConfig thinkingConfig "
    "imageConfig mediaResolution"
)
CONFIG = frozenset(_CONFIG.split())
MIME_TYPES = ("text/plain", "application/json", "text/x.enum")
INT32 = 2**31
#: Levels of JSON, as in protobuf. Code after `decode` may recurse.
MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Config:
    """The part of `generationConfig` that changes an answer."""

    max_output_tokens: int | None = None
    stop_sequences: tuple[str, ...] = ()
    mime_type: str = "text/plain"
    schema: Mapping[str, Any] | None = None
    include_thoughts: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """The question of one request to one model. `prompt` is the last turn of the user, `context`
    the text of all turns."""

    model: Model
    prompt: str
    system: str
    context: str
    config: Config

    @property
    def tokens(self) -> int:
        """An estimate of the tokens of the input."""
        return tokens(len(self.context) + len(self.system))


def decode(body: bytes) -> Any:
    """The body as JSON. Raises Google's 400."""
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"Invalid JSON payload received. {str(error)[:200]}") from None
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [one for items in inner for one in items if isinstance(one, dict | list)]
        if not level:
            return value
    raise Refusal(400, "Invalid JSON payload received. Message too deep.")


def parse(body: Any, model: Model) -> Question:
    """The question in the body of `generateContent`. Raises Google's 400."""
    top = _object(body, "")
    _known(top, TOP, "")
    turns = [_turn(turn, index) for index, turn in enumerate(_list(top, "contents"))]
    asked = [text for role, text in turns if role == "user"]
    if not asked:
        raise _bad("contents", "* GenerateContentRequest.contents: contents is not specified")
    instruction = top.get("systemInstruction")
    question = Question(
        model=model,
        prompt=asked[-1],
        system=_turn(instruction, None)[1] if instruction is not None else "",
        context="\n\n".join(text for _, text in turns),
        config=_config(top.get("generationConfig")),
    )
    if question.tokens > model.input_tokens:
        raise Refusal(
            400,
            f"The input token count ({question.tokens}) exceeds the maximum number of tokens "
            f"allowed ({model.input_tokens}).",
        )
    return question


def parse_count(body: Any) -> int:
    """The number of tokens in the body of `countTokens`. Raises Google's 400."""
    top = _object(body, "")
    _known(top, frozenset({"contents", "generateContentRequest"}), "")
    if "generateContentRequest" in top:
        top = _object(top["generateContentRequest"], "generateContentRequest")
        _known(top, TOP, "generateContentRequest")
    texts = [_turn(turn, index)[1] for index, turn in enumerate(_list(top, "contents"))]
    if top.get("systemInstruction") is not None:
        texts.append(_turn(top["systemInstruction"], None)[1])
    return tokens(sum(map(len, texts)))


def _config(value: Any) -> Config:
    if value is None:
        return Config()
    config = _object(value, "generationConfig")
    _known(config, CONFIG, "generationConfig")
    mime = config.get("responseMimeType") or "text/plain"
    if mime not in MIME_TYPES:
        raise _bad(
            "generationConfig.responseMimeType",
            f"* GenerateContentRequest.generation_config.response_mime_type: allowed mimetypes "
            f"are {', '.join(f'`{name}`' for name in MIME_TYPES)}.",
        )
    schema = config.get("responseJsonSchema", config.get("responseSchema"))
    if schema is not None and mime == "text/plain":
        raise _bad(
            "generationConfig.responseSchema",
            "A response schema needs the response mimetype `application/json`.",
        )
    thinking = _object(config.get("thinkingConfig") or {}, "generationConfig.thinkingConfig")
    return Config(
        max_output_tokens=_limit(config.get("maxOutputTokens")),
        stop_sequences=_stops(config.get("stopSequences")),
        mime_type=mime,
        schema=None if schema is None else _object(schema, "generationConfig.responseSchema"),
        include_thoughts=thinking.get("includeThoughts") is True,
    )


def _limit(value: Any) -> int | None:
    if value is None:
        return None
    path = "generationConfig.maxOutputTokens"
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:11])
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value // 1:
        raise _type(path, "TYPE_INT32", value)
    if not 0 < value < INT32:
        raise _bad(path, "max_output_tokens must be positive.")
    return int(value)


def _stops(value: Any) -> tuple[str, ...]:
    path = "generationConfig.stopSequences"
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(stop, str) for stop in value):
        raise _type(path, "TYPE_STRING", value)
    if len(value) > 5:
        raise _bad(path, f"At most 5 stop sequences are allowed, not {len(value)}.")
    return tuple(filter(None, value))


def _turn(value: Any, index: int | None) -> tuple[str, str]:
    """The role and the text of a `Content`. The index is None for the system instruction."""
    path = "systemInstruction" if index is None else f"contents[{index}]"
    turn = _object(value, path)
    role = turn.get("role") or "user"
    if role not in ("user", "model", "function") and index is not None:
        raise _bad(path, "Please use a valid role: user, model.")
    texts = []
    for part in _list(turn, "parts", path):
        text = _object(part, f"{path}.parts").get("text", "")
        if not isinstance(text, str):
            raise _type(f"{path}.parts.text", "TYPE_STRING", text)
        texts.append(text)
    if not texts and index is not None:
        raise _bad(
            path, f"* GenerateContentRequest.{path}.parts: contents.parts must not be empty."
        )
    return str(role), "".join(texts)


def _object(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _type(path or "(root)", "an object", value)
    if path.endswith("Schema"):
        return value
    return {_camel(name): item for name, item in value.items()}


def _list(value: dict[str, Any], name: str, path: str = "") -> list[Any]:
    items = value.get(name)
    if items is None:
        return []
    if isinstance(items, dict):
        return [items]
    if not isinstance(items, list):
        raise _type(f"{path}.{name}".lstrip("."), "an array", items)
    return items


def _known(value: dict[str, Any], names: frozenset[str], path: str) -> None:
    if unknown := value.keys() - names:
        name = min(unknown)
        place = f" at '{_snake(path)}'" if path else ""
        raise _bad(
            f"{path}.{name}".lstrip("."),
            f'Invalid JSON payload received. Unknown name "{name[:100]}"{place}: '
            "Cannot find field.",
        )


def _type(path: str, kind: str, value: Any) -> Refusal:
    return _bad(path, f"Invalid value at '{_snake(path)}' ({kind}), {str(value)[:40]!r}")


def _bad(path: str, message: str) -> Refusal:
    return Refusal(400, message, fields=(_snake(path)[:200],))


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name)
