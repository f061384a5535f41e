"""The page's API, from another program."""

import contextlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from coloproxy.errors import ColoproxyError

PATIENCE = 5.0  # seconds without a word after which the proxy counts as gone; it speaks twice a second


class Lost(Exception):
    """The proxy cannot be reached, or no longer. The text says why."""


class Client:
    """Asks a proxy that was started with `--http`. url: as that proxy says it, or HOST:PORT, or a port."""

    def __init__(self, url: str) -> None:
        text = f"127.0.0.1:{url}" if url.isdecimal() else url
        self.url = (text if "://" in text else f"http://{text}").rstrip("/")
        if not self.url.startswith("http://"):
            raise ColoproxyError(f"address {url!r}: write http://HOST:PORT, HOST:PORT, or a port of this machine.")

    def ask(self, path: str) -> Any:
        """An answer. Raises Lost."""
        with losing(), self._open(path) as answer:
            return json.load(answer)

    def live(self, *, connections: bool) -> Iterator[tuple[str, Any]]:
        """What the proxy tells, as it tells it: (name, data). Ends, or raises Lost, when it tells no more."""
        with losing(), self._open("api/live?connections" if connections else "api/live") as answer:
            name = ""
            for line in answer:
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)

    def _open(self, path: str) -> Any:
        return urllib.request.urlopen(f"{self.url}/{path}", timeout=PATIENCE)


@contextlib.contextmanager
def losing() -> Iterator[None]:
    """Whatever goes wrong, before the answer or in it, means that the proxy is lost. Raises Lost."""
    try:
        yield
    except urllib.error.HTTPError as error:
        raise Lost(f"it answers with status {error.code}") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise Lost("what it answers is not a proxy's") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Lost(getattr(reason, "strerror", None) or str(reason)) from None
