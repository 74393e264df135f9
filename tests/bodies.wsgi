"""What stands behind Apache in tests of bodies: tells what arrived, in its answer and in a file."""

import json
from pathlib import Path
from urllib.parse import parse_qsl

import mod_wsgi

ARRIVED = Path(__file__).with_name("arrived")


def application(environ, start_response):
    """Do what the query says; read the body in pieces of 4,096 bytes, or not at all."""
    query, said = dict(parse_qsl(environ["QUERY_STRING"])), {"group": mod_wsgi.process_group}
    said |= {"method": environ["REQUEST_METHOD"], "body": 0, "broken": False}
    said["token"] = environ.get("HTTP_AUTHORIZATION", "")
    said["by"] = environ.get("HTTP_X_FORWARDED_FOR", "")
    try:
        while "unread" not in query and (piece := environ["wsgi.input"].read(4096)):
            said["body"] += len(piece)
            if "tell" in query:
                _note({"came": query["tell"]})
    except OSError:
        said["broken"] = True
    if not environ["PATH_INFO"].endswith("/-/health"):  # Varnish's own
        _note(said)
    headers = {"X-Content-Type-Options": "nosniff", "Content-Type": "application/json"}
    headers |= {name: value for name, value in query.items() if name[0].isupper()}
    body = b"" if "Location" in headers else json.dumps(said).encode()
    headers["Content-Length"] = str(len(body))
    start_response(f"{query.get('status', '200')} told", list(headers.items()))
    return [body]


def _note(line):
    with ARRIVED.open("a") as file:
        file.write(json.dumps(line) + "\n")
