"""Where a daemon goes on from: its run, and the newest good checkpoint of that."""

from pathlib import Path
from typing import NamedTuple

from streamrnn.config import Config
from streamrnn.storage import checkpoint, files
from streamrnn.storage.manifest import FORMAT, CheckpointError, Manifest, read_manifest
from streamrnn.workers.supervision import logs, runs
from streamrnn.workers.worker import Failure

Newest = tuple[Manifest, Path | None]  # of a run: the manifest and the folder of a checkpoint, None at the beginning


class StartingPoint(NamedTuple):
    """What a state folder says."""

    lock: int  # a descriptor that holds the folder
    run: str
    epoch: int  # the last one so far
    newest: Newest


def starting_point(config: Config, new: bool, resume: bool) -> StartingPoint:
    """Hold the state folder, and see where to go on from; for `new` and `resume` see `Supervisor`. Raises Failure."""
    for folder in (config.checkpoints, config.folder / runs.JOURNALS):
        files.make_folder(folder, 0o700)
    lock = runs.lock(config.folder)
    runs.take_over_journal(config.folder)
    if not new:
        runs.adopt(config.folder)
    run, epoch = runs.run_of(config.folder, new)
    newest = newest_checkpoint(config, run)
    nothing = not newest[1] and not runs.journal_of(config.folder, run).exists()
    if nothing and not new and (resume or checkpoint.numbers(config.checkpoints) or runs.runs(config.folder)):
        raise Failure(
            f"nothing to resume: there is no good checkpoint of the last run in {config.checkpoints}; go back to "
            "one (streamrnn checkpoints list, rollback), or begin anew with --new, which keeps what is there"
        )
    return StartingPoint(lock, run, epoch, newest)


def newest_checkpoint(config: Config, run: str) -> Newest:
    """Where to go on from: the newest good checkpoint of that run, or the beginning. Raises Failure."""
    spec = config.spec()
    for number in reversed(checkpoint.numbers(config.checkpoints)):
        folder = config.checkpoints / checkpoint.number_name(number)
        try:
            manifest = read_manifest(folder)
            if manifest.run != run:
                continue
            checkpoint.verify(folder, manifest)
        except CheckpointError as error:
            text = f"{error}; going back to what was before it"
            logs.tell("warning", "checkpoint_damaged", text, checkpoint=str(folder))
            continue
        runs.check_network(folder, manifest, spec)
        return manifest, folder
    return Manifest(FORMAT, spec, [], [], {}, 0, {}, "", run=run), None
