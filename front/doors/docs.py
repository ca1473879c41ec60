"""`/docs`: the API's description for people, with every part from this server.

The framework's own page loads its scripts from a public CDN, which then learns who administers which receiver and
could run whatever it likes beside an API key that somebody types in. Here the same Swagger UI comes from an installed
package, and the browser is told to contact nobody else.
"""

import base64
import hashlib

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

PATH = "/docs"
ASSETS_PATH = f"{PATH}/assets"
_ASSETS = ("fastapi_offline", "static")

# A validator would be asked by sending it our description.
_START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null})'

# Addresses are relative, so the page works behind any prefix of a reverse proxy.
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluice</title>
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
<link rel="icon" href="docs/assets/favicon.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script>{_START}</script>
</body>
</html>
"""

_START_DIGEST = base64.b64encode(hashlib.sha256(_START.encode()).digest()).decode()
_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src 'self' 'sha256-{_START_DIGEST}'",
        "style-src 'self' 'unsafe-inline'",  # Swagger UI sets styles on its elements
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {"content-security-policy": _POLICY, "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}


def install(app: FastAPI) -> None:
    """Serve the page and its parts; who opens the bare address of a front is led to it."""
    app.add_route("/", _lead, methods=["GET"], include_in_schema=False)
    app.add_route(PATH, _page, methods=["GET"], include_in_schema=False)
    app.mount(ASSETS_PATH, StaticFiles(packages=[_ASSETS]), name="docs-assets")


async def _lead(_request: Request) -> Response:
    return Response(status_code=307, headers={"location": PATH.removeprefix("/")})


async def _page(_request: Request) -> Response:
    return HTMLResponse(_PAGE, headers=_HEADERS)
