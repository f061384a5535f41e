"""What is served: metrics, health, the page and its API. All that changes something needs the token."""

import asyncio
import contextlib
import hmac
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from coloproxy.compare.events import Reason
from coloproxy.watch.explanations import explanation
from coloproxy.watch.proposal import propose, toml
from coloproxy.watch.service.audience import Reader, event
from coloproxy.watch.service.guard import Guard
from coloproxy.watch.service.history import Point
from coloproxy.watch.service.hub import Hub, summary
from coloproxy.watch.service.metrics import registry
from coloproxy.watch.service.vault import Entry, pcapng

PAGE = Path(__file__).parents[1] / "page"
REFUSED, SILENT = 403, 504
KEEP_ALIVE = 15.0  # seconds after which a comment is sent, so that a reader who has gone is noticed

encode = msgspec.json.Encoder().encode


class Json(Response):
    """An answer from msgspec."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return encode(content)


def no(status: int, why: str) -> Json:
    return Json({"error": why}, status)


class Live:
    """Server-sent events, as long as the reader keeps up."""

    def __init__(self, hub: Hub, reader: Reader) -> None:
        self._hub = hub
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader, hub = self._reader, self._hub
        reader.task = asyncio.create_task(self._speak(send))
        hub.audience.join(reader)
        gone = asyncio.create_task(disconnected(receive))
        with contextlib.suppress(asyncio.CancelledError):  # the service ends
            await asyncio.wait((reader.task, gone), return_when=asyncio.FIRST_COMPLETED)
        hub.audience.leave(reader)
        for task in (reader.task, gone):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # the service ends, and will not wait for who reads nothing
            await asyncio.gather(reader.task, gone, return_exceptions=True)
            if not reader.slow:
                await send({"type": "http.response.body", "body": b""})

    async def _speak(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        beginning = b"retry: 1000\n\n" + event("hello", encode(hello(self._hub)))
        beginning += event("picture", encode(self._hub.now()))
        await send({"type": "http.response.body", "body": beginning, "more_body": True})
        while True:
            try:
                message = await asyncio.wait_for(self._reader.queue.get(), KEEP_ALIVE)
            except TimeoutError:
                message = b":\n\n"
            await send({"type": "http.response.body", "body": message, "more_body": True})


async def disconnected(receive: Receive) -> None:
    """Returns when the reader has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def hello(hub: Hub) -> dict[str, Any]:
    """Who this is; the token is nobody's business."""
    told = hub.hello
    if told is None:
        return {}
    shown = {name: getattr(told, name) for name in ("name", "command", "version", "started", "compiled", "timeout")}
    return shown | {"control": told.token is not None}


def full(entry: Entry) -> dict[str, Any]:
    """A divergence with all that is known of it."""
    rule = propose(entry.divergence)
    return {
        **summary(entry),
        "divergence": entry.divergence,
        "connection": str(entry.divergence.connection or ""),
        "frames": [
            {"side": seen.side, "wall": seen.wall, "length": len(seen.data) - seen.vnet_len,
             "data": seen.data[seen.vnet_len :].hex()}
            for seen in entry.frames
        ],
        "more": entry.more,
        "rule_to_ignore": toml(rule) if rule is not None else None,
    }  # fmt: skip


class Api:
    """The answers."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.registry = registry(hub)

    async def metrics(self, _request: Request) -> Response:
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

    async def healthz(self, _request: Request) -> Response:
        alive = self.hub.alive
        return PlainTextResponse("ok\n" if alive else "the proxy does not show itself\n", 200 if alive else 503)

    async def readyz(self, _request: Request) -> Response:
        state, _, why, _ = self.hub.protection
        ready = self.hub.alive and state in ("protected", "waiting", "alone", "idle")
        return PlainTextResponse(f"{why}\n", 200 if ready else 503)

    async def now(self, _request: Request) -> Response:
        return Json({"hello": hello(self.hub), **self.hub.now()})

    async def history(self, _request: Request) -> Response:
        points = self.hub.history.points
        columns = {name: [getattr(point, name) for point in points] for name in Point._fields}
        return Json({"points": columns, "marks": list(self.hub.marks)})

    async def live(self, request: Request) -> ASGIApp:
        if self.hub.closed:
            return no(503, "the proxy is gone")
        asked = request.query_params
        return Live(self.hub, Reader("connections" in asked, asked.get("streams")))

    async def divergences(self, _request: Request) -> Response:
        return Json([summary(entry) for entry in self.hub.vault.entries.values()])

    async def divergence(self, request: Request) -> Response:
        entry = self.hub.vault.entries.get(request.path_params["number"])
        return Json(full(entry)) if entry is not None else no(404, "this divergence is not known, or no longer")

    async def evidence(self, request: Request) -> Response:
        entry = self.hub.vault.entries.get(request.path_params["number"])
        if entry is None or not entry.frames:
            return no(404, "there are no frames of this divergence, or no longer")
        name = f"{entry.number:04}-{entry.divergence.reason}.pcapng"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(pcapng(entry), media_type="application/vnd.tcpdump.pcap", headers=headers)

    async def reason(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in list(Reason):
            return no(404, "there is no such reason")
        return Json(explanation(Reason(name)))

    async def rules(self, _request: Request) -> Response:
        try:
            answer = await self.hub.rules()
        except TimeoutError:
            return no(SILENT, "the proxy does not answer")
        return Json({name: [toml(rule) for rule in rules] for name, rules in answer.rules.items()})

    async def ignore(self, request: Request) -> Response:
        """Have what differed not compared any more: the rule that `divergence` shows."""
        if (refusal := self._refused(request)) is not None:
            return refusal
        entry = self.hub.vault.entries.get(request.path_params["number"])
        rule = propose(entry.divergence) if entry is not None else None
        if rule is None:
            return no(404, "there is no rule for this")
        try:
            answer = await self.hub.add(rule)
        except TimeoutError:
            return no(SILENT, "the proxy does not answer")
        return no(400, answer.error) if answer.error else Json({"rule": toml(rule)})

    async def check(self, request: Request) -> Response:
        """Whether a token is good."""
        return self._refused(request) or Json({})

    def _refused(self, request: Request) -> Response | None:
        token = self.hub.hello.token if self.hub.hello is not None else None
        if token is None:
            return no(REFUSED, "control is off: start the proxy with --control FILE")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), token.encode()):
            return no(REFUSED, "the token is missing or wrong")
        return None


def app(hub: Hub) -> ASGIApp:
    """The application."""
    api = Api(hub)
    routes: list[Route | Mount] = [
        Route("/metrics", api.metrics),
        Route("/healthz", api.healthz),
        Route("/readyz", api.readyz),
        Route("/api/now", api.now),
        Route("/api/history", api.history),
        Route("/api/live", api.live),
        Route("/api/divergences", api.divergences),
        Route("/api/divergences/{number:int}", api.divergence),
        Route("/api/divergences/{number:int}/evidence.pcapng", api.evidence),
        Route("/api/divergences/{number:int}/ignore", api.ignore, methods=["POST"]),
        Route("/api/reasons/{name}", api.reason),
        Route("/api/rules", api.rules),
        Route("/api/check", api.check, methods=["POST"]),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    return Guard(Starlette(routes=routes), lambda: hub.hello.hosts if hub.hello is not None else [])
