"""Refuse requests that Gradio would serve and this server has no use for, before they reach it."""
from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator

from starlette.responses import JSONResponse

from .limits import MEGABYTE

# Routes of Gradio beside those of pages, files, uploads and the queue: proxies, conversion of recordings in the server
# process, monitoring and editing.
REFUSED_ROUTES = re.compile(r'/(proxy=|file=[a-z]+:|process_recording|monitoring|vibe|undo-vibe|run-history|deep_link|'
                            r'stream/|profiling|dev/)', re.IGNORECASE)
UPLOAD_ROUTE = re.compile(r'/gradio_api/upload/?$')
# Bytes of a request that is not an upload.
MAX_BODY = MEGABYTE
#: Header that says when a request came, in seconds of ``time.monotonic``.
ARRIVAL = 'x-mmavs-arrival'


class RequestGuard:
    """ASGI middleware that refuses requests with a sentence.

    Refused are routes that serve other purposes, bodies beyond 1 MB that are not uploads, files that are given as URLs,
    which the server would fetch, and uploads while the files of the server take more than they may.

    Args:
        app: The application.
        stored_bytes: Function that measures the files of the server.
        max_stored_bytes: Bytes that they may take.
        on_refusal: Called for each refusal.
    """

    def __init__(self, app, stored_bytes: Callable[[], int], max_stored_bytes: int,
                 on_refusal: Callable[[], None]) -> None:
        self._app, self._stored_bytes, self._max_stored_bytes = app, stored_bytes, max_stored_bytes
        self._on_refusal = on_refusal

    async def __call__(self, scope, receive, send) -> None:
        if scope['type'] != 'http':
            return await self._app(scope, receive, send)
        status, reason = 0, ''
        if REFUSED_ROUTES.search(scope['path']):
            status, reason = 404, 'This server does not have that address.'
        elif UPLOAD_ROUTE.search(scope['path']):
            if self._stored_bytes() > self._max_stored_bytes:
                status, reason = 507, 'The server holds too many files: try again when older ones have been deleted.'
        elif scope['method'] == 'POST':
            body = await _read_body(receive, MAX_BODY)
            if body is None:
                status, reason = 413, f'The request has more than {MAX_BODY} bytes: upload files first.'
            elif any(_is_url(path) for path in _file_paths(body)):
                status, reason = 422, 'A file is given by its URL: upload the file itself.'
            else:
                receive = _replay(body, receive)
        if status:
            self._on_refusal()
            return await JSONResponse(dict(detail=reason, error=reason), status)(scope, receive, send)
        headers = [x for x in scope['headers'] if x[0] != ARRIVAL.encode()]
        headers.append((ARRIVAL.encode(), repr(time.monotonic()).encode()))
        await self._app(dict(scope, headers=headers), receive, send)


async def _read_body(receive, limit: int) -> bytes | None:
    """Read the body of a request; None if it is longer than the limit."""
    body, more = b'', True
    while more:
        message = await receive()
        if message['type'] != 'http.request':
            return body
        body += message.get('body', b'')
        more = message.get('more_body', False)
        if len(body) > limit:
            return None
    return body


def _replay(body: bytes, receive):
    """Return a function that hands over a body that was read, then what comes after it."""
    waiting = [dict(type='http.request', body=body, more_body=False)]

    async def replayed():
        return waiting.pop() if waiting else await receive()

    return replayed


def _file_paths(body: bytes) -> Iterator[object]:
    """Values of the keys ``path`` in a JSON document, where Gradio has files; none in anything else."""
    try:
        nodes = [json.loads(body or b'null')]
    except (ValueError, RecursionError):
        return
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            yield node.get('path')
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node


def _is_url(path: object) -> bool:
    return isinstance(path, str) and re.match(r'\s*[a-z][a-z0-9+.-]*:', path, re.IGNORECASE) is not None
