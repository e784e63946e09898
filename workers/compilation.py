"""What workers run is compiled once for a version and a machine, before the first of them starts, and then loaded.

Only what a config needs: the kernels of all networks (the part ""), and those of its cells, readout and optimiser.
"""

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from streamrnn.kernels import cache
from streamrnn.kernels.cache import CACHE_FOLDER
from streamrnn.kernels.cells import CELLS
from streamrnn.kernels.optimizers import MOMENTS
from streamrnn.kernels.readouts import READOUTS
from streamrnn.workers.worker import Failure, end_with_parent, signals_blocked

COMPILED = CACHE_FOLDER / cache.COMPILED  # as old as the last use
ALL_PARTS = [*CELLS, *READOUTS, *MOMENTS]
PARTS = "STREAMRNN_PARTS"  # in the environment of processes that run workers: what to load, with commas between
PROCESSES = 2  # that compile; each takes 300 MB, which go with it
PLAIN = os.environ.get("NUMBA_DISABLE_JIT", "0") != "0"  # kernels run as plain Python, on a simulated device
LONGEST = "loop", "forward", "backward"  # to be compiled first: names that have one of these in them
UNUSED = 30 * 24 * 3600.0  # seconds without use after which the kernels of another version of here are removed
BAR = 20  # letters


def missing(parts: Iterable[str]) -> list[str]:
    """Those of these parts, and the one of all networks, that have not been compiled."""
    return [part for part in ("", *parts) if not (COMPILED / f"part-{part}").exists()]


def compile_kernels(parts: Iterable[str], tell: Callable[[str], Any], show: Callable[[str], Any] | None = None) -> None:
    """Have what these parts need compiled, unless it lies on the disk already.

    tell: says in a line what is begun; show: says ever anew how far it is. Raises Failure, where the disk is full too.
    """
    if PLAIN:
        return
    if not (wanted := missing(parts)):
        note_use()
        return
    begun = "compiling the kernels, once for this version and machine"
    tell(f"{begun}: ten to thirty seconds")
    with compilers(wanted) as (processes, lines):
        done: set[str] = set()
        for name, names in reports(lines):
            done.add(name)
            if show:
                show(progress(begun, len(done), [each for each in names if each not in done]))
        for process in processes:
            process.join()
        if codes := [process.exitcode for process in processes if process.exitcode]:
            raise Failure(f"the kernels could not be compiled into {CACHE_FOLDER}: exit code {codes[0]}")
    note_compiled(wanted)
    note_use()
    with suppress(OSError):  # of others, perhaps
        remove_unused(CACHE_FOLDER)


@contextmanager
def compilers(wanted: list[str]) -> Iterator[tuple[list[Any], list[Connection]]]:
    """Processes that compile these parts, and the lines on which they report; they end with the block."""
    context = multiprocessing.get_context("spawn")
    taken = context.Value("i", 0)
    processes: list[Any] = []
    lines: list[Connection] = []
    try:
        for number in range(min(PROCESSES, os.cpu_count() or 1)):
            line, other = context.Pipe(duplex=False)
            processes.append(
                context.Process(target=compile_share, args=(wanted, taken, other), name=f"kernels-{number}")
            )
            with signals_blocked():
                processes[-1].start()
            other.close()
            lines.append(line)
        yield processes, lines
    finally:  # also where a signal asks to stop
        for process in processes:
            if process.pid:
                process.kill()
                process.join()


def note_compiled(parts: list[str]) -> None:
    """Note that these parts lie on the disk. Raises Failure where it is full."""
    try:
        COMPILED.mkdir(parents=True, exist_ok=True)
        for part in parts:
            (COMPILED / f"part-{part}").touch()
    except OSError as error:
        raise not_kept(error) from None


def not_kept(error: OSError) -> Failure:
    """Why the kernels are not on the disk."""
    reason = "the disk is full" if error.errno in cache.FULL else error.strerror
    remedy = "make room there, or have XDG_CACHE_HOME name another place"
    return Failure(f"compiled kernels cannot be kept in {CACHE_FOLDER}: {reason}; {remedy}")


def reports(lines: list[Any]) -> Iterator[tuple[str, list[str]]]:
    """What comes in until all have ended: the name of a kernel that is done, and those of all. Raises Failure."""
    while lines:
        ready: list[Any] = wait(lines)
        for line in ready:
            try:
                report = line.recv()
            except EOFError:
                lines.remove(line)
                continue
            if isinstance(report, OSError):
                raise not_kept(report)
            yield report


def progress(begun: str, done: int, left: list[str]) -> str:
    """A bar, and what is left in words."""
    total = done + len(left)
    count = BAR * done // total
    bar = "━" * count + "─" * (BAR - count)
    more = f" and {len(left) - 3} more" if len(left) > 3 else ""
    rest = f"; left: {', '.join(left[:3])}{more}" if left else ""
    return f"{begun} {bar} {done} of {total}{rest}"


def note_use() -> None:
    """Kernels that are in use stay, also where another version is installed in the same place meanwhile."""
    with suppress(OSError):
        os.utime(COMPILED)


def remove_unused(folder: Path) -> None:
    """Remove what other versions in the same place have compiled and not used for long. Numba names a folder of kernels
    after the one of their sources: of the same place are those that have one in common."""
    places = folders_in(folder)
    for other in folder.parent.iterdir():
        if other != folder and other.is_dir() and places & folders_in(other):
            marker = other / COMPILED.name
            used = (marker if marker.exists() else other).stat().st_mtime
            if time.time() - used > UNUSED:
                shutil.rmtree(marker, ignore_errors=True)  # first: without it, what is left is not taken for whole
                shutil.rmtree(other, ignore_errors=True)


def folders_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()} - {COMPILED.name}


def jobs(parts: Iterable[str]) -> dict[str, Callable[[], Any]]:
    """What compiles the kernels that these parts need, by name, the longest first."""
    from streamrnn.kernels import decimals, orthonormal
    from streamrnn.kernels.jit import needed
    from streamrnn.workers.kernels import admission, loop

    if PLAIN:
        return {}
    found = {"loop": loop.warm_up, "admission": admission.warm_up, "fresh weights": orthonormal.warm_up}
    found["tables"] = decimals.warm_up
    found |= {link.name: link.compile for link in needed(parts)}
    return dict(sorted(found.items(), key=lambda job: not any(name in job[0] for name in LONGEST)))


def compile_share(parts: list[str], taken: Any, line: Connection) -> None:
    """In a process of its own: take one job after the other, as others do; say through the line which is done."""
    from streamrnn.kernels.cache_files import KernelCache

    end_with_parent()
    KernelCache.must_keep = True
    every = jobs(parts)
    names = list(every)
    while True:
        with taken.get_lock():
            number, taken.value = taken.value, taken.value + 1
        if number >= len(names):
            return
        try:
            every[names[number]]()
        except OSError as error:
            line.send(error)
            return
        line.send((names[number], names))


def load() -> None:
    """Have the kernels that workers call in memory, for the parts named in the environment; compile what is missing."""
    from streamrnn.kernels.jit import release_compiler

    for job in jobs(os.environ.get(PARTS, ",".join(ALL_PARTS)).split(",")).values():
        job()
    release_compiler()
