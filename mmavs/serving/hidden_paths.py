"""Keep the directory of the server's files out of requests and answers: a public name stands for it."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

#: Name that clients see for the directory of the server's files.
PUBLIC_NAME = '/mmavs-files'
# Types of content whose bytes are searched; all others are files of users.
TEXTS = (b'application/json', b'text/', b'application/javascript')


class HiddenPaths:
    """ASGI middleware that replaces a directory by :data:`PUBLIC_NAME` in answers, and back in requests.

    Gradio names a file by its absolute path, in the answer to an upload and in the addresses of results.

    Args:
        app: The application.
        directory: The directory.
    """

    def __init__(self, app, directory: Path) -> None:
        self._app, self._directory = app, str(directory).encode()
        self._secrets = list(dict.fromkeys([self._directory, quote(str(directory)).encode()]))

    async def __call__(self, scope, receive, send) -> None:
        if scope['type'] != 'http':
            return await self._app(scope, receive, send)
        public, directory = PUBLIC_NAME, self._directory.decode()
        scope = dict(scope, path=scope['path'].replace(f'file={public}', f'file={directory}'))
        scope['raw_path'] = quote(scope['path']).encode()
        replacement = StreamReplacement(self._secrets, PUBLIC_NAME.encode())
        is_text = False

        async def send_public(message) -> None:
            nonlocal is_text
            if message['type'] == 'http.response.start':
                headers = list(message.get('headers', ()))
                is_text = any(name.lower() == b'content-type' and value.startswith(TEXTS) for name, value in headers)
                if is_text:
                    # The length changes: the server sends it in chunks.
                    message = dict(message, headers=[x for x in headers if x[0].lower() != b'content-length'])
            elif message['type'] == 'http.response.body' and is_text:
                more = message.get('more_body', False)
                message = dict(message, body=replacement.add(message.get('body', b''), last=not more))
            await send(message)

        async def receive_real():
            message = await receive()
            if message['type'] == 'http.request' and _is_json(scope):
                # RequestGuard, which comes before, hands bodies over as one part.
                message = dict(message, body=message['body'].replace(PUBLIC_NAME.encode(), self._directory))
            return message

        await self._app(_without_length(scope) if _is_json(scope) else scope, receive_real, send_public)


class StreamReplacement:
    """Replace words in bytes that come in parts, also where a word is cut by the end of a part.

    Args:
        words: Words to replace.
        replacement: Replacement of each.
    """

    def __init__(self, words: Iterable[bytes], replacement: bytes) -> None:
        self._words, self._replacement, self._kept = list(words), replacement, b''

    def add(self, part: bytes, last: bool) -> bytes:
        """Return what is certain after the next part; all of it after the last."""
        text = self._kept + part
        for word in self._words:
            text = text.replace(word, self._replacement)
        length = 0 if last else max(self._cut_length(text, word) for word in self._words)
        self._kept = text[len(text) - length:]
        return text[:len(text) - length]

    @staticmethod
    def _cut_length(text: bytes, word: bytes) -> int:
        """Length of the longest end of the text that a word may begin with."""
        return next((length for length in range(min(len(word) - 1, len(text)), 0, -1)
                     if text.endswith(word[:length])), 0)


def _is_json(scope) -> bool:
    return dict(scope['headers']).get(b'content-type', b'').startswith(b'application/json')


def _without_length(scope) -> dict:
    return dict(scope, headers=[x for x in scope['headers'] if x[0] != b'content-length'])
