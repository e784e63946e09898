"""The same scenarios through both clients, against real daemons; and what only a client for asyncio can do."""

import asyncio
import inspect
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest
from daemon import TEXT, TIMEOUT, VECTOR, Daemon, layers, wait_for
from test_alarms import CONFIG as FORECAST
from test_alarms import daily
from test_security import Guarded

import streamrnn as sr
from streamrnn.client.pipeline import WINDOW
from streamrnn.client.source import AHEAD

RNG = np.random.default_rng(4)
XS, TARGETS = RNG.standard_normal((60, 4)), RNG.standard_normal((60, 2))
PATIENCE = 60.0  # seconds
PAGE = (Path(__file__).parent.parent / "docs/clients.md").read_text()


class Awaitable:
    """What a `Client`, a subscription or a stream of it has, with the calls of their asynchronous twins."""

    def __init__(self, blocking) -> None:
        self._blocking = blocking

    def __getattr__(self, name):
        value = getattr(self._blocking, name)
        if not callable(value):
            return value
        if name in ("subscribe", "alarms", "stream"):
            return lambda *args, **options: Awaitable(value(*args, **options))

        async def call(*args, **options):
            return value(*args, **options)

        return call

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self._blocking.close()

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self._blocking)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self):
        self._blocking.close()


async def blocking(*args) -> Awaitable:
    return Awaitable(sr.Client(*args))


async def awaited(*args) -> sr.AsyncClient:
    client = sr.AsyncClient(*args)
    await client.status()  # the first call connects
    return client


@pytest.fixture(params=[blocking, awaited])
def connect(request):
    return request.param


@pytest.fixture(scope="module")
def vectors():
    with Daemon(**VECTOR, layers=layers("lstm 8", "gru 8")) as daemon:
        yield daemon.start()
        daemon.stop()


@pytest.fixture(scope="module")
def text():
    """One that predicts bytes."""
    with Daemon(**TEXT, layers=layers("gru 8")) as daemon:
        yield daemon.start()
        daemon.stop()


def to(daemon: Daemon) -> tuple[str, float]:
    """Where it is, and how long its answers may take."""
    return f"ipc://{daemon.folder}/control", PATIENCE


async def first(iterable, number: int) -> list:
    """The next so many."""
    return [await anext(iterable) for _ in range(number)]


async def collect(outputs, heard: list) -> None:
    async for out in outputs:
        heard.append(out)


def in_order(numbers) -> bool:
    """Whether they rise, so that none comes twice; those between may be of other streams."""
    return all(earlier < later for earlier, later in pairwise(numbers))


def plain(output: sr.Output) -> tuple:
    """Its bits."""
    return output.y.tobytes(), np.float64(output.loss).tobytes(), output.target.tobytes()


def test_both_have_the_same_verbs_with_the_same_arguments():
    names = {name for name in dir(sr.Client) if not name.startswith("_")}
    assert names == {name for name in dir(sr.AsyncClient) if not name.startswith("_")}
    for name in names:
        one, other = getattr(sr.Client, name), getattr(sr.AsyncClient, name)
        assert one.__doc__
        if callable(one):
            assert list(inspect.signature(one).parameters) == list(inspect.signature(other).parameters), name
            assert one.__name__ == other.__name__ == name
            assert name in ("subscribe", "alarms", "stream") or inspect.iscoroutinefunction(other)


def test_frames_and_outputs(vectors, connect):
    async def scenario():
        async with await connect(*to(vectors)) as client, client.subscribe("a", PATIENCE) as outputs:
            assert (client.inputs, client.predict, client.takes_tokens) == ("vector", "target", False)
            before = client.accepted
            await client.reset("a")
            for x in XS[:5]:
                out = await client.step(x, stream="a")
                assert np.array_equal(out.y, (await anext(outputs)).y)
            await client.send(XS[5], stream="a", time=7)
            await client.send_many(XS[6:20], stream="a")
            await client.flush()
            assert client.accepted == before + 20
            heard = await first(outputs, 15)
            assert heard[0].time == 7
            assert [later.seq for later in heard] == list(range(out.seq + 1, out.seq + 16))
            again = await client.outputs("a", out.seq, out.seq + 16)
            assert [plain(each) for each in again] == [plain(each) for each in heard]
            assert outputs.missed == []
            assert (await client.status())["state"] == "running"
            await client.forget("a")

    asyncio.run(scenario())


def test_verbs(text, connect):
    async def scenario():
        async with await connect(*to(text)) as client:
            assert client.predicts_bytes
            labels = await client.label(b"abcab", stream="verbs")
            assert labels.shape == (5, 256)
            assert np.array_equal(await client.classify(b"abcab"), labels[-1])
            drawn = await client.generate("abc", max_length=20, seed=5)
            assert drawn == await client.transduce("abc", max_length=20, seed=5, temperature=1.0)
            assert drawn == await client.generate("abc", max_length=20, seed=5)
            with pytest.raises(ValueError, match="at least one frame"):
                await client.generate("")
            with pytest.raises(ValueError, match='predict="next"'):
                await client.teach(b"a", b"b")
            await client.forget("verbs")

    asyncio.run(scenario())


def test_teaching(vectors, connect):
    async def scenario():
        async with await connect(*to(vectors)) as client:
            frames = (await client.status())["frames"]
            assert await client.teach(XS[:5], TARGETS[:1]) is None
            await client.flush()
            assert (await client.classify(XS[:5])).shape == (2,)
            assert client.accepted == 10
            while (await client.status())["frames"] < frames + 10:
                pass

    asyncio.run(scenario())


def test_refusals(vectors, text, connect):
    async def scenario():
        async with await connect(*to(vectors)) as client:
            expected = (await client.step(XS[0], stream="r", begin=True)).y
            with pytest.raises(ValueError, match=r"shape \(4,\)"):
                await client.step(XS[0][:3], stream="r")
            with pytest.raises(ValueError, match="a stream's name"):
                await client.send(XS[0], stream="")

            async def refusal():  # whichever hears of it
                await client.send(XS[0], stream="x" * 300)
                await client.flush()

            with pytest.raises(sr.FrameRefused, match="a stream's name") as refused:
                await refusal()
            assert refused.value.before == 1
            with pytest.raises(sr.FrameRefused, match='no stream "never"'):
                await client.forget("never")
            with pytest.raises(ValueError, match=r"no \[anomaly\]"):
                async with client.alarms() as alarms:
                    await anext(alarms)
            with pytest.raises(sr.DaemonGone, match="no output"):
                async with client.subscribe("r", 0.05) as outputs:
                    await anext(outputs)
            assert np.array_equal((await client.step(XS[0], stream="r", begin=True)).y, expected)
            await client.forget("r")
        with pytest.raises(sr.DaemonGone, match=r"no daemon answers at ipc:///nowhere.* is it running\?"):
            await connect("ipc:///nowhere/at-all", 0.2)

    asyncio.run(scenario())


def test_alarms_and_dismissals(connect):
    async def scenario(daemon):
        x = daily(np.random.default_rng(8), 8, size=2)
        x[300:304, 1] += 8
        async with await connect(*to(daemon)) as client, client.alarms("a", PATIENCE) as alarms:
            await client.send_many(x, stream="a")
            alarm = await anext(alarms)
            while alarm.event != "begins" or alarm.seq < 300:
                alarm = await anext(alarms)
            assert alarm.stream == "a"
            await client.dismiss(alarm)

    with Daemon(**FORECAST) as daemon:
        daemon.start()
        asyncio.run(scenario(daemon))
        daemon.stop()


def test_with_a_key_and_without(connect):
    async def scenario(daemon):
        async with await connect(daemon.addresses["control"], PATIENCE, daemon.file("ann")) as client:
            assert (await client.step(65, stream="k")).y.shape == (256,)
            async with client.subscribe("k", PATIENCE) as outputs:
                seqs = [out.seq async for out in client.stream(b"abc", stream="k")]
                assert [out.seq for out in await first(outputs, 3)] == seqs
        with pytest.raises(sr.DaemonGone, match="no daemon answers"):
            await connect(daemon.addresses["control"], 0.3)

    with Guarded() as daemon:
        daemon.start()
        asyncio.run(scenario(daemon))
        daemon.stop()


def test_a_daemon_that_dies_and_starts_again_loses_and_repeats_nothing(connect):
    """Its gate, then all of it, in the middle of single frames and of a stream."""

    async def scenario(daemon):
        net = sr.Network([sr.GRU(256, 8)], sr.Softmax(256), sr.Adam(0.002), window=8, predict="next")
        data, starting = bytes(range(200)) * 150, threading.Thread(target=daemon.start)
        async with await connect(*to(daemon)) as client:
            for k, token in enumerate(data[:30]):
                if k == 10:
                    daemon.workers()["gate"].kill()
                assert (await client.step(token)).y.tobytes() == net.step(token, "main").tobytes()
            frames, outputs = iter(data[30:]), []
            async for out in client.stream(frames):
                outputs.append(out)
                if len(outputs) == 500:
                    daemon.workers()["stages-0"].kill()
                if len(outputs) == 2500:
                    daemon.kill()
                    starting.start()
            starting.join()
            assert in_order(out.seq for out in outputs)
            for out, token in zip(outputs, data[30:], strict=True):
                assert out.y.tobytes() == net.step(token, "main").tobytes()

    with Daemon(layers=layers("gru 8")) as daemon:
        daemon.start()
        asyncio.run(scenario(daemon))
        daemon.stop()


# stream


def test_a_stream_is_the_same_as_single_frames(vectors, connect):
    async def scenario():
        async with await connect(*to(vectors)) as client:
            steps = [await client.step(x, begin=not k, stream="s") for k, x in enumerate(XS)]
            await client.reset("s")
            streamed = [out async for out in client.stream(XS, stream="s")]
            await client.reset("s")
            again = [out async for out in client.stream((x.tolist() for x in XS), stream="s")]
            expected = [out.y.tobytes() for out in steps]
            assert [out.y.tobytes() for out in streamed] == [out.y.tobytes() for out in again] == expected
            assert [out.seq for out in again] == list(range(again[0].seq, again[0].seq + 60))
            await client.reset("s")
            taught = [out.target async for out in client.stream(XS, TARGETS, stream="s")]
            assert np.array_equal(taught, TARGETS)
            assert [out async for out in client.stream([], stream="s")] == []
            await client.forget("s")

    asyncio.run(scenario())


def test_what_was_said_goes_back_in_a_stream_too(vectors, connect):
    async def scenario():
        async with await connect(*to(vectors)) as client:
            steps = [await client.step(x, begin=not k, stream="n") for k, x in enumerate([XS[0], None, None, XS[1]])]
            await client.reset("n")
            streamed = [out async for out in client.stream([XS[0], None, None, XS[1]], stream="n")]
            assert [out.y.tobytes() for out in streamed] == [out.y.tobytes() for out in steps]
            await client.forget("n")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("frames", "targets", "reason"),
    [
        ([*XS[:40], XS[0][:3], *XS[:20]], None, "shape"),
        ([*XS[:40], {"a": 1}], None, "names need channels"),
        ([*XS[:40]], [*TARGETS[:40], TARGETS[0]], "more targets than frames"),
        ([*XS[:41]], TARGETS[:40], "fewer targets than frames"),
        ([*XS[:40], None, *XS[:20]], None, "division by zero"),
    ],
    ids=["misfit", "names", "more targets", "fewer targets", "error of the iterable"],
)
def test_what_is_wrong_in_a_stream_is_raised_behind_the_outputs_before_it(vectors, connect, frames, targets, reason):
    def given():
        for x in frames:
            yield x if x is not None else 1 / 0

    async def scenario():
        heard = []
        async with await connect(*to(vectors)) as client:
            with pytest.raises((ValueError, ZeroDivisionError), match=reason):
                await collect(client.stream(given(), targets, stream="w"), heard)
            assert len(heard) == client.accepted == 40
            assert (await client.step(XS[0], stream="w")).seq == heard[-1].seq + 1
            await client.forget("w")

    asyncio.run(scenario())


def test_a_refusal_in_a_stream_leaves_the_client_as_it_was(connect):
    """After 600 frames the daemon takes no more."""

    async def scenario(daemon):
        heard = []
        async with await connect(*to(daemon)) as client:
            with pytest.raises(sr.FrameRefused, match="all the frames that --max-frames allows") as refused:
                await collect(client.stream((k % 256 for k in count()), stream="m"), heard)
            assert (len(heard), in_order(out.seq for out in heard)) == (512, True)
            assert refused.value.before == 512
            assert client.accepted == 512
            await client.flush()
            assert (await client.step(65, stream="m")).seq > heard[-1].seq

    with Daemon(layers=layers("rnn 2")) as daemon:
        daemon.start("--max-frames", "600")
        asyncio.run(scenario(daemon))
        daemon.stop()


def test_an_endless_stream_takes_no_more_than_fits_and_can_be_left(text, connect):
    async def scenario():
        taken = 0

        def endless():
            nonlocal taken
            for taken in count(1):
                yield taken % 256

        async with await connect(*to(text)) as client:
            stream = client.stream(endless(), stream="e")
            seqs = []
            for number in range(1, 20_001):
                seqs.append((await anext(stream)).seq)
                assert taken - number <= WINDOW * 256 + AHEAD
                if number % 5000 == 0:
                    assert (await client.status())["state"] == "running"
                    assert (await client.classify(b"abc")).shape == (256,)
            await stream.aclose()
            await client.flush()
            assert in_order(seqs)
            assert (await client.step(65, stream="e")).seq > seqs[-1]
            assert client.accepted >= 20_000
            await client.forget("e")

    asyncio.run(scenario())


def test_a_frame_that_comes_alone_has_its_output_before_the_next_is_taken(text):
    with text.client() as client:
        answered = threading.Event()

        def slow():
            for k in range(5):
                threading.Event().wait(0.02)
                yield 65
                assert answered.wait(PATIENCE), k
                answered.clear()

        for _ in client.stream(slow(), stream="slow"):
            answered.set()
        client.forget("slow")


def test_what_its_page_shows_is_what_happens(text):
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        code = re.sub(r"Client\(\)", f'Client("ipc://{text.folder}/control")', code)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("\n") in (19, 14)


# asyncio


def test_a_frame_of_an_asynchronous_iterable_has_its_output_while_the_next_is_waited_for(text):
    async def scenario():
        async with sr.AsyncClient(*to(text)) as client:
            frames: asyncio.Queue = asyncio.Queue()

            async def given():
                while (token := await frames.get()) is not None:
                    yield token

            await frames.put(65)
            heard = []
            async for out in client.stream(given(), stream="q"):
                heard.append(out.seq)
                await frames.put(66 if len(heard) < 20 else None)
            assert (len(heard), in_order(heard)) == (20, True)
            await client.forget("q")

    asyncio.run(scenario())


def test_an_asynchronous_stream_may_have_asynchronous_targets(vectors):
    async def given(rows):
        for row in rows:
            await asyncio.sleep(0)
            yield row

    async def scenario():
        async with sr.AsyncClient(*to(vectors)) as client:
            taught = [out.target async for out in client.stream(given(XS), given(TARGETS), stream="t")]
            assert np.array_equal(taught, TARGETS)
            with pytest.raises(ValueError, match="more targets than frames"):
                _ = [out async for out in client.stream(given(XS[:5]), given(TARGETS), stream="t")]
            await client.forget("t")

    asyncio.run(scenario())


def test_whatever_is_cancelled_leaves_the_client_usable_and_takes_no_frame_twice(text):
    """Each call is cancelled after so many turns of the loop; frames are told apart by their times."""

    async def cancelled_after(turns: int, call) -> bool:
        """Whether the call was cancelled before it was through."""
        task = asyncio.create_task(call)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return True
        return False

    async def streamed(client, frames):
        return [out async for out in client.stream(frames, stream="other")]

    async def scenario():
        sure, cut = [], 0
        async with sr.AsyncClient(*to(text)) as client, client.subscribe("c", PATIENCE) as outputs:
            for turn in range(40):
                for call in (
                    client.step(65, stream="c", time=turn),
                    client.status(),
                    client.classify(b"abc"),
                    client.generate("a", max_length=3),
                    client.outputs("c", -1, 10**9),
                    client.flush(),
                    client.send_many(b"abc" * 200, stream="other"),
                    streamed(client, b"abc" * 200),
                ):
                    cut += await cancelled_after(turn, call)
                sure.append((await client.step(67, stream="c", time=1000 + turn)).seq)
            await client.flush()
            last = (await client.step(68, stream="c", time=9999)).seq
            heard = []
            while not heard or heard[-1].seq != last:
                with suppress(TimeoutError):  # cancels it, again and again
                    heard.append(await asyncio.wait_for(anext(outputs), 0.0005))
            times = [out.time for out in heard]
            assert set(range(1000, 1040)) <= set(times)
            assert in_order(out.seq for out in heard)
            assert in_order(time for time in times if time < 1000)
            assert outputs.missed == []
            for name in ("c", "other"):
                await client.forget(name)
        return cut

    assert asyncio.run(scenario()) > 100


def test_tasks_that_share_a_client_get_what_each_would_get_alone(vectors):
    async def ask(client, number):
        name = f"task {number}"
        out = [(await client.step(x * (number + 1), begin=not k, stream=name)).y for k, x in enumerate(XS[:20])]
        streamed = [out.y async for out in client.stream(XS * (number + 1), stream=name)]
        await client.forget(name)
        return np.array([*out, *streamed])

    async def scenario():
        async with sr.AsyncClient(*to(vectors)) as client:
            together = await asyncio.gather(*(ask(client, number) for number in range(3)))
            for number in range(3):
                assert np.array_equal(await ask(client, number), together[number])

    asyncio.run(scenario())


def test_others_have_their_turn_while_a_client_waits_for_a_daemon_that_does_not_answer(text):
    async def scenario():
        async with sr.AsyncClient(f"ipc://{text.folder}/control", 0.3) as client:
            text.process.send_signal(signal.SIGSTOP)
            try:
                turns, asked = 0, asyncio.create_task(client.status())
                while not asked.done():
                    await asyncio.sleep(0.01)
                    turns += 1
                with pytest.raises(sr.DaemonGone, match="no daemon answers"):
                    await asked
            finally:
                text.process.send_signal(signal.SIGCONT)
            assert turns >= 10
        with text.client() as client:
            wait_for(lambda: client.status()["state"] == "running")

    asyncio.run(scenario())
