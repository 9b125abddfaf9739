"""A run to be disturbed: where it starts from, when a fault strikes, and what must come out."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from gpa.curation import run
from gpa.runtime import record
from gpa.runtime.errors import UserError
from gpa.runtime.lock import only_run
from gpa.runtime.storage import Store
from tests.faults import light
from tests.runs import products, start

# Stages that say on which recording they work, in the order of the recipe.
STAGES = (
    "normalized",
    "utterances",
    "quality",
    "hypotheses/whisper-base",
    "hypotheses/whisper-tiny-en",
    "alignment",
)
LATER = ("consensus", "packaged", "curated", "report", "rejected.parquet")
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Moment:
    """When a fault strikes: when a stage comes to a recording."""

    stage: str
    recording: str


class Disturbed:
    """One OUT, and the real command on it with light models and mines."""

    def __init__(self, corpus: Path, config: Path, out: Path, mines: Path):
        self.corpus, self.config, self.out, self.mines = corpus, config, out, mines

    def start(
        self, command: tuple[str | Path, ...] = (), environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """`gpa curate`, or another command of `gpa`, running."""
        curate = ("curate", "--corpus", self.corpus, "--out", self.out, "--config", self.config)
        program = light.command(self.mines)
        return start(*(command or curate), program=program, environment=environment)

    def curate(self, status: int = 0) -> str:
        """What `gpa curate` prints; its exit status must be `status`."""
        return ended(self.start(), status)

    def lay(self, fault: str, moment: Moment, stays: bool = False) -> Path:
        """Lay a mine (see `mines.py`); the folder that it lies in."""
        folder = self.mines / moment.stage
        folder.mkdir(parents=True, exist_ok=True)
        (folder / moment.recording).write_text(f"{fault} stays" if stays else fault)
        return folder

    def hold(
        self, moment: Moment, environment: Mapping[str, str] | None = None
    ) -> tuple[subprocess.Popen[str], int]:
        """`gpa curate`, running, and the process id of its worker, held at that moment."""
        self.lay("hold", moment)
        process = self.start(environment=environment)
        return process, self.held(process, moment)

    def held(self, process: subprocess.Popen[str], moment: Moment) -> int:
        """Wait until a worker is held at that moment; its process id."""
        reached = self.mines / moment.stage / f"{moment.recording}.reached"
        until(lambda: reached.exists() or process.poll() is not None)
        assert reached.exists(), process.communicate()[0]
        return int(reached.read_text())

    def release(self, moment: Moment) -> None:
        """Let the worker that is held go on."""
        (self.mines / moment.stage / f"{moment.recording}.gate").open("wb").close()


# When a fault strikes, with the run that is about to come there; and what checks it afterwards.
Struck = tuple[Moment, Disturbed]
Survived = Callable[[Disturbed], None]


@dataclass(frozen=True)
class Undisturbed:
    """The run that nothing disturbed, and what others are held against."""

    run: Disturbed
    recordings: tuple[str, ...]

    def moment(self, draw: random.Random, stages: tuple[str, ...] = STAGES[2:]) -> Moment:
        """Some stage at some recording; by default a later one, whose runs are short."""
        return Moment(draw.choice(stages), draw.choice(self.recordings))

    def before(self, stage: str, folder: Path) -> Disturbed:
        """The same run at the time when `stage` was about to begin, in `folder`."""
        later = (*STAGES[STAGES.index(stage) :], *LATER)
        gone = {self.run.out / name for name in later}
        shutil.copytree(
            self.run.out,
            folder / "out",
            ignore=lambda at, names: [name for name in names if Path(at) / name in gone],
        )
        return self.copy(folder / "out")

    def copy(self, out: Path) -> Disturbed:
        """The same command on another OUT."""
        return Disturbed(self.run.corpus, self.run.config, out, out.parent / "mines")

    def partitions(self) -> list[list[str]]:
        """Recordings by partition."""
        table = pq.read_table(self.run.out / "corpus.parquet").to_pylist()
        found: dict[str, list[str]] = {}
        for row in table:
            found.setdefault(row["partition"], []).append(row["recording_id"])
        return list(found.values())

    def lost_and_duplicated(self, out: Path, quarantined: Sequence[str] = ()) -> tuple[int, int]:
        """Utterances in neither table, but for those of some recordings, and in two places."""
        count = Counter(utterances(out))
        expected = {
            key for key in utterances(self.run.out) if key.rsplit("-", 1)[0] not in quarantined
        }
        return len(expected - count.keys()), sum(places - 1 for places in count.values())

    def assert_equal(self, out: Path) -> None:
        """The same bytes, and books that balance."""
        assert run.verify(str(out)) == []
        assert products(out) == products(self.run.out)


def utterances(out: Path) -> list[str]:
    """Keys of all utterances, kept or rejected, as often as they occur."""
    kept = pq.read_table(out / "curated" / "manifest.parquet")["utterance_id"].to_pylist()
    dropped = pq.read_table(out / "rejected.parquet")["utterance_id"].drop_null().to_pylist()
    return [*kept, *dropped]


def retries(out: Path, stage: str) -> int:
    """How often a worker of a stage died and was followed by another."""
    content = record.read(Store(str(out))) or {}
    return content["stages"][stage]["retries"]


def ended(process: subprocess.Popen[str], status: int = 0) -> str:
    """What a command printed; its exit status must be `status`."""
    printed, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == status, printed
    return printed


def kill(process: subprocess.Popen[str], out: Path) -> None:
    """SIGKILL to the driver of a run; comes back when the kernel has dropped its lock."""
    process.kill()
    assert process.wait() == -signal.SIGKILL

    def free() -> bool:
        try:
            with only_run(Store(str(out))):
                return True
        except UserError:
            return False

    until(free)


def until(condition: Callable[[], bool]) -> None:
    """Come back as soon as the condition holds; fail where it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        os.sched_yield()
        time.sleep(0.02)
