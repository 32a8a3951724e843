"""Everything that can go wrong, as one tree, with one body for every transport.

    StreamapiError
    ├── CallerError      the request: correct it, and send it again
    │     MalformedRequest  MalformedJson  InvalidHeader  Unauthenticated  KeyExpired
    │     Forbidden  OriginNotAllowed  HostNotAllowed
    │     NotFound  MethodNotAllowed  TooLarge  UriTooLong  UnsupportedMediaType
    │     GenerationCancelled  GenerationExpired
    │     InvalidRequest  ModelNotFound  ContextTooLong  ContentBlocked  IdempotencyKeyReused
    │     RateLimited  QuotaExceeded  TooManyStreams
    ├── UpstreamError    the model, its provider or the connection to it
    │     UpstreamRejected (ModelGone, AccessRefused)  UpstreamTruncated  UpstreamInterrupted
    │     UpstreamUnavailable (UpstreamLimited)  UpstreamTimeout  ModelOutputInvalid
    │     OutputTooLarge
    └── ServiceError     this server
          Internal  ProducerLost  Overloaded  StoreUnavailable  ShuttingDown

The body is RFC 9457's `application/problem+json`. Before the first byte of an answer it is the
response; after that, the same object is in the data of the `failed` event. The docstring of a class
is the text of the page at /errors/<code>: it says what happened, and what the caller can do.

    error.py     the base class, the body, and the three classes of fault
    caller.py    errors of the request
    upstream.py  errors of the model and its provider
    service.py   errors of this server
"""

from streamapi.errors.caller import (
    ContentBlocked,
    ContextTooLong,
    Forbidden,
    GenerationCancelled,
    GenerationExpired,
    HostNotAllowed,
    IdempotencyKeyReused,
    InvalidHeader,
    InvalidRequest,
    KeyExpired,
    MalformedJson,
    MalformedRequest,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    OriginNotAllowed,
    QuotaExceeded,
    RateLimited,
    TooLarge,
    TooManyStreams,
    Unauthenticated,
    UnsupportedMediaType,
    UriTooLong,
)
from streamapi.errors.error import (
    CallerError,
    FieldError,
    Problem,
    ServiceError,
    StreamapiError,
    UpstreamError,
    escape,
    every_error,
)
from streamapi.errors.service import (
    Internal,
    Overloaded,
    ProducerLost,
    ShuttingDown,
    StoreUnavailable,
)
from streamapi.errors.upstream import (
    AccessRefused,
    ModelGone,
    ModelOutputInvalid,
    OutputTooLarge,
    UpstreamInterrupted,
    UpstreamLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnavailable,
)

__all__ = [
    "AccessRefused",
    "CallerError",
    "ContentBlocked",
    "ContextTooLong",
    "FieldError",
    "Forbidden",
    "GenerationCancelled",
    "GenerationExpired",
    "HostNotAllowed",
    "IdempotencyKeyReused",
    "Internal",
    "InvalidHeader",
    "InvalidRequest",
    "KeyExpired",
    "MalformedJson",
    "MalformedRequest",
    "MethodNotAllowed",
    "ModelGone",
    "ModelNotFound",
    "ModelOutputInvalid",
    "NotFound",
    "OriginNotAllowed",
    "OutputTooLarge",
    "Overloaded",
    "Problem",
    "ProducerLost",
    "QuotaExceeded",
    "RateLimited",
    "ServiceError",
    "ShuttingDown",
    "StoreUnavailable",
    "StreamapiError",
    "TooLarge",
    "TooManyStreams",
    "Unauthenticated",
    "UnsupportedMediaType",
    "UpstreamError",
    "UpstreamInterrupted",
    "UpstreamLimited",
    "UpstreamRejected",
    "UpstreamTimeout",
    "UpstreamTruncated",
    "UpstreamUnavailable",
    "UriTooLong",
    "escape",
    "every_error",
]
