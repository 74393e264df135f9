"""The demonstration page, for machines without Apache."""

from pathlib import Path

from flask import Flask, send_from_directory
from werkzeug.wrappers import Response

from imgprocessor.request.hints import ACCEPT_CH

PAGE_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""`Content-Security-Policy` of the demonstration page, which has scripts."""


def add_page(web: Flask, folder: Path) -> None:
    """Serve the demonstration page as well, where there is no Apache to do it."""

    @web.route("/", defaults={"file": "index.html"})
    @web.route("/<file>")
    def static_file(file: str) -> Response:
        response = send_from_directory(folder, file)
        if response.mimetype == "text/html":
            response.headers["Accept-CH"] = ACCEPT_CH
            response.headers["Content-Security-Policy"] = PAGE_SECURITY
        return response
