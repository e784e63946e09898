"""What the page's process answers: the page, its events, the names of streams, and metrics."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

import streamrnn as sr
from streamrnn.protocol.stream_names import LONGEST_NAME
from streamrnn.web import metrics
from streamrnn.web.watch import Followed, Watch

STATIC = Path(__file__).parent / "static"
FASTEST = 0.1  # seconds between two batches of events
SILENCE = 15.0  # seconds after which a comment keeps the connection open
RETRY = 1000  # milliseconds after which a browser comes again
MOST_CHANNELS = 16  # that are sent at once
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NOT_SENT = "curve", "channels", "alarms", "errors"  # of a status: the page has them from elsewhere


def application(watch: Watch, page: bool) -> Starlette:
    """page: without it there are metrics only."""

    async def events(request: Request) -> Response:
        asked = request.query_params
        try:
            last = int(request.headers.get("last-event-id", -1))
            first, count = int(asked.get("first", 0)), int(asked.get("count", MOST_CHANNELS))
        except ValueError:
            return Response("numbers are asked for by numbers\n", 400)
        stream = asked.get("stream", "")
        if min(first, count) < 0 or count > MOST_CHANNELS or len(stream.encode()) > LONGEST_NAME:
            return Response(f"at most {MOST_CHANNELS} channels of a stream\n", 400)
        told = Events(watch, stream, first, count, last)
        return StreamingResponse(told.tell(), headers={"X-Accel-Buffering": "no"}, media_type="text/event-stream")

    async def streams(request: Request) -> Response:
        client = watch.client
        try:
            names = (
                await asyncio.to_thread(client.streams, request.query_params.get("like", "")[:LONGEST_NAME])
                if client
                else []
            )
        except (sr.DaemonGone, KeyError):
            names = []
        return Response(msgspec.json.encode(names), media_type="application/json")

    async def prometheus(_: Request) -> Response:
        return Response(metrics.text(lambda: watch.status), media_type=METRICS_TYPE)

    async def index(_: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(watch.run())
        yield
        task.cancel()

    routes: list[BaseRoute] = [Route("/metrics", prometheus)]
    if page:
        routes += [Route("/", index), Route("/events", events), Route("/streams", streams)]
        routes += [Mount("/static", StaticFiles(directory=STATIC))]
    return Starlette(routes=routes, lifespan=lifespan)


class Events:
    """What one browser is told: how the daemon is, and the outputs of one stream behind that SEQ.

    Events are `begin` with all that is kept, `look` with what is new, and `outputs`, whose id is the SEQ of the last.
    """

    def __init__(self, watch: Watch, stream: str, first: int, count: int, last: int) -> None:
        self._watch, self._stream, self._first, self._count, self._last = watch, stream, first, count, last
        self._run = ""
        self._followed: Followed | None = None
        self._curve: Any = None  # what the page has of what seldom changes
        self._marks: Any = None
        self._sample = 0.0

    async def tell(self) -> AsyncIterator[bytes]:
        """Until the browser goes."""
        self._watch.come()
        try:
            yield f"retry: {RETRY}\n\n".encode()
            while True:
                for each in self._news():
                    yield each
                try:
                    await asyncio.gather(asyncio.wait_for(self._watch.looked(), SILENCE), asyncio.sleep(FASTEST))
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self._watch.go()
            if self._followed:
                self._watch.leave(self._followed)

    def _news(self) -> list[bytes]:
        watch, status = self._watch, self._watch.status
        if status is None:
            return [event("gone", {"trouble": watch.trouble or "looking for the daemon"})]
        found = []
        if status["run"] != self._run:
            self._last = self._last if not self._run else -1
            self._run, self._curve, self._marks, self._sample = status["run"], None, None, 0.0
            found.append(event("begin", {"run": self._run, "about": about(watch.client)}))
        samples = [sample for sample in watch.samples if sample[0] > self._sample]
        self._sample = samples[-1][0] if samples else self._sample
        told = {name: value for name, value in status.items() if name not in NOT_SENT}
        if status["curve"] != self._curve:
            self._curve = told["curve"] = status["curve"]
        if watch.marks != self._marks:
            self._marks = watch.marks
            told["marks"] = [mark._asdict() for mark in watch.marks]
        found.append(event("look", told | {"samples": samples}))
        if self._stream:
            found += self._outputs()
        return found

    def _outputs(self) -> list[bytes]:
        watch = self._watch
        if self._followed is None or watch.followed.get(self._stream) is not self._followed:
            self._followed = watch.follow(self._stream)
            if self._followed is None:
                return [event("crowded", {})]
        if not self._followed.ready:
            return []
        series = self._followed.series
        found = series.behind(self._last, self._first, self._count)
        if not found.get("seq"):
            return [] if len(series) else [event("empty", {})]
        self._last = found["seq"][-1]
        facts = {"names": series.names, "units": series.units, "text": series.text, "first": self._first}
        return [event("outputs", found | facts, self._last)]


def about(client: sr.Client | None) -> dict[str, Any]:
    """What a daemon is, for the page."""
    if not client:
        return {}
    return {
        "name": client.name,
        "tokens": client.takes_tokens,
        "text": client.predicts_bytes,
        "channels": client.channels,
    }


def event(kind: str, data: Any, number: int | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {kind}\n" if number is None else f"event: {kind}\nid: {number}\n"
    return head.encode() + b"data: " + msgspec.json.encode(data) + b"\n\n"
