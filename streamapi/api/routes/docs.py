"""The reference: `/openapi.json` (3.2), `/openapi-3.1.json` for programs that know no later
version, `/asyncapi.json`, and `/docs` to read them.

The page is Scalar's, and its script comes from an installed wheel, so nothing is loaded from
elsewhere. Scalar styles itself by `style` elements, so the page allows those; scripts come from
this server alone, and so do connections.
"""

from functools import cache
from importlib.resources import files

from quart import Quart, Response
from quart_schema import QuartSchema

from streamapi.api.authentication import PUBLIC, open_to_all
from streamapi.api.documents import asyncapi, openapi, streams
from streamapi.api.limits import CHEAP, unlimited
from streamapi.api.responses import file_response, tag
from streamapi.generation.event import encode

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
YEAR = "public, max-age=31536000, immutable"

START = """\
// By default Scalar loads fonts, uses a proxy and reports its use, all at its makers' servers.
Scalar.createApiReference('#reference', {
  url: '/openapi-3.1.json',
  telemetry: false,
  withDefaultFonts: false,
  showDeveloperTools: 'never',
  hideClientButton: true,
  agent: { disabled: true },
  mcp: { disabled: true },
  documentDownloadType: 'direct',
  defaultOpenFirstTag: true,
  orderSchemaPropertiesBy: 'preserve',
  orderRequiredPropertiesFirst: true,
});
"""

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The API · streamapi</title>
<link rel="icon" href="/static/page/favicon.svg">
<style>
  body { margin: 0 }
  :root {
    --scalar-font: system-ui, sans-serif; --scalar-font-code: ui-monospace, monospace;
    --scalar-custom-header-height: 40px;
  }
  .home {
    position: sticky; top: 0; z-index: 1; box-sizing: border-box; height: 40px; padding: 0 24px;
    display: flex; align-items: center; font: 14px var(--scalar-font);
    color: var(--scalar-color-1, CanvasText); background: var(--scalar-background-1, Canvas);
    border-bottom: 1px solid var(--scalar-border-color, GrayText);
  }
  .home a { color: inherit }
</style>
<nav class="home"><a href="/">← Try it on the page</a>&nbsp;·&nbsp;<a href="/manual">Manual</a>
</nav>
<div id="reference"></div>
<noscript>This page needs JavaScript. <a href="/openapi.json">/openapi.json</a> and
<a href="/asyncapi.json">/asyncapi.json</a> say the same.</noscript>
<script src="/docs/scalar.js?v={version}"></script>
<script src="/docs/start.js"></script>
</html>
"""


class Documentation(QuartSchema):
    """quart-schema, whose document is encoded once."""

    _bytes: bytes = b""

    @unlimited(CHEAP)
    @open_to_all(PUBLIC)
    async def openapi(self) -> Response:
        """The OpenAPI document."""
        if not self._bytes:
            self._bytes = encode(self.openapi_provider.schema())
        return await file_response(self._bytes, "application/json")


def register(app: Quart) -> None:
    """Serve the documentation."""
    documentation = Documentation(
        app,
        redoc_ui_path=None,
        scalar_ui_path=None,
        swagger_ui_path=None,
        info=openapi.info(),
        openapi_provider_class=openapi.Provider,
    )
    provider = documentation.openapi_provider
    assert isinstance(provider, openapi.Provider)
    older = cache(lambda: encode(streams.as_3_1(provider.schema())))
    events = cache(lambda: encode(asyncapi.document(provider.schemas)))

    @app.get("/openapi-3.1.json")
    @unlimited(CHEAP)
    @open_to_all(PUBLIC)
    async def openapi_3_1() -> Response:
        return await file_response(older(), "application/json")

    @app.get("/asyncapi.json")
    @unlimited(CHEAP)
    @open_to_all(PUBLIC)
    async def asyncapi_json() -> Response:
        return await file_response(events(), "application/json")

    @app.get("/docs")
    @unlimited(CHEAP)
    @open_to_all(PUBLIC)
    async def docs() -> Response:
        response = await file_response(_page(), "text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @app.get("/docs/scalar.js")
    @unlimited(CHEAP)
    @open_to_all(PUBLIC)
    async def scalar_js() -> Response:
        return await file_response(_script(), "text/javascript; charset=utf-8", YEAR)

    @app.get("/docs/start.js")
    @unlimited(CHEAP)
    @open_to_all(PUBLIC)
    async def start_js() -> Response:
        return await file_response(START.encode(), "text/javascript; charset=utf-8")


@cache
def _page() -> bytes:
    # The script's address changes with its bytes, so browsers may keep it for ever.
    return PAGE.replace("{version}", tag(_script())[:12]).encode()


@cache
def _script() -> bytes:
    """Scalar, 3.4 MB, from the package that carries it; none of the package's code is used."""
    package = files("flask_openapi3_scalar")
    return package.joinpath("templates", "scalar", "js", "scalar.standalone.js").read_bytes()
