"""What a notebook shows of a client: how the daemon is, and its newest outputs."""

from functools import partial
from typing import TYPE_CHECKING, Any

from streamrnn.client.control import ask
from streamrnn.client.errors import DaemonGone
from streamrnn.client.history import BEFORE_ALL, BEHIND_ALL, History
from streamrnn.client.output import About, Output, outputs_of
from streamrnn.client.output_view import likeliest, symbol, when
from streamrnn.model.markup import line, number, table

if TYPE_CHECKING:
    from streamrnn.client.client import Client

OUTPUTS = 8  # that are shown
FRAMES = 64  # the newest of all streams, among which a stream's outputs are
FAST = 1000.0  # frames a second, from which on what has come since the status is left out
CHANNELS, LIKELIEST = 6, 3  # that are shown of an output


def html(client: "Client") -> str:
    """It waits for the daemon no longer than the client's timeout. Where something is wrong, it says what."""
    heading = line(f"{client.name} at {client._address}")
    if not client._connected:
        return heading + line("this client is closed")
    try:
        status, newest = client._do(partial(_look, client))
    except Exception as error:  # whatever it is: who looks at a value gets no error for it
        return heading + line(f"{type(error).__name__}: {error}")
    facts = {
        "state": status["state"],
        "frames": f"{status['frames']:,}",
        "frames/s": f"{status['frames_per_second']:,.0f}",
        "loss (nats)": number(status["loss"]),
        "of the last 10,000": number(status["recent_loss"]),
        "streams": f"{status['streams']:,}",
    }
    return heading + table([*facts], [[*facts.values()]]) + newest


async def _look(client: "Client") -> tuple[dict[str, Any], str]:
    """The status, and the newest outputs in HTML. Raises DaemonGone where there is no status."""
    deadline = client._control.now() + client.timeout
    status = await client._ask("status")
    try:
        stream, outputs = await _newest(client, status, deadline)
    except DaemonGone as error:
        return status, line(error)
    return status, _outputs(client._about, stream, outputs) if outputs else line("no outputs yet")


async def _newest(client: "Client", status: dict[str, Any], deadline: float) -> tuple[str, list[Output]]:
    """The stream that the newest output is of, and its newest outputs. Raises DaemonGone."""
    now = client._control.now
    answer = await ask(client._control, {"ask": "streams"}, deadline - now())
    if not answer:
        raise DaemonGone(f"no outputs within {client.timeout} s")
    if not (streams := answer[0]["streams"]):
        return "", []
    after = max(2 * (status["seq"] - FRAMES), -1)
    before = 2 * status["seq"] if status["frames_per_second"] > FAST else BEHIND_ALL
    history = History(client._lines.dealer(client._control_endpoint, 0.0), deadline - now())
    try:
        messages, _ = await history.messages(streams[0], after, before)
    finally:
        history.close()
    scored: dict[int, Any] = {}
    found = [
        output for message in messages for output in outputs_of(streams[0], message, BEFORE_ALL, scored, client._about)
    ]
    return streams[0], found[-OUTPUTS:]


def _outputs(about: About, stream: str, outputs: list[Output]) -> str:
    """Each in a row."""
    names = about.channels[:CHANNELS]
    rows = []
    for output in outputs:
        if names:
            said = [number(about.channel(output, k).prediction) for k in range(len(names))]
        else:
            said = [", ".join(symbol(k, len(output.y)) for k in likeliest(output.y, LIKELIEST))]
        rows.append([f"{output.seq:,}", when(output), number(output.loss), *said])
    columns = ["frame", "time", "loss", *([f"{name}, predicted" for name in names] or ["likeliest"])]
    return line(f"newest outputs of stream {stream}") + table(columns, rows)
