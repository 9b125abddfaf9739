"""`report/index.html`: one file that opens from disk and asks no network for anything.

The content security policy lets only the page's own script run, so that text which was meant as
markup stays text even if it were not escaped; and Jinja escapes it.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Environment, PackageLoader, StrictUndefined

from gpa.curation.report.audit import Audit, bin_labels
from gpa.curation.report.charts import Chart, histogram
from gpa.curation.report.funnel import STEPS
from gpa.curation.report.licences import lineage
from gpa.curation.report.listen import Sample
from gpa.curation.report.outputs import Run
from gpa.curation.report.overlap import ErrorOverlap
from gpa.curation.report.recognisers import LENGTHS_S, MOS_STEPS, Agreement

PACKAGE = "gpa.curation.report"


def render(
    run: Run, found: Audit, samples: Sequence[Sample], overlaps: Sequence[ErrorOverlap] = ()
) -> str:
    """The whole page."""
    in_hours = found.funnel.in_s >= 3600
    environment = templates(in_hours)
    source = environment.loader.get_source  # type: ignore[union-attr]
    script = source(environment, "page.js")[0]
    sha = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html.j2").render(
        style=source(environment, "page.css")[0],
        script=script,
        script_hash=sha,
        run=run,
        content=run.content,
        unit="h" if in_hours else "min",
        funnel=found.funnel,
        agreement=found.agreement,
        overlaps=overlaps,
        speech=found.speech,
        histogram=_pwer_chart(found.agreement),
        slider=_slider(found, in_hours),
        groups=_groups(found.agreement, run.scorer),
        charts=found.speech.charts(),
        recording_names=_paths(run, found.agreement),
        samples=samples,
        strata=list(Counter(sample.stratum for sample in samples).items()),
        stages=_stages(run),
        lineage=lineage(run.content.get("models", {})),
    )


def templates(in_hours: bool = False) -> Environment:
    """The report's templates, which escape whatever they are given."""
    environment = Environment(
        loader=PackageLoader(PACKAGE, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        audio=lambda seconds: _audio(seconds, in_hours),
        percent=_percent,
        clock=_clock,
        decimals=_decimals,
        count=lambda value: f"{value:,}",
    )
    return environment


def _audio(seconds: float, in_hours: bool) -> str:
    """An amount of audio, in the unit of the page."""
    return f"{seconds / 3600:,.2f} h" if in_hours else f"{seconds / 60:,.2f} min"


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{share * 100:.{digits}f} %"


def _clock(seconds: float) -> str:
    """12:34.567, or 1:02:03.000 from an hour on."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours:.0f}:{minutes:02.0f}:{rest:06.3f}"
    return f"{minutes:.0f}:{rest:06.3f}"


def _decimals(value: float | None, digits: int = 2) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:,.{digits}f}"


def _pwer_edges(agreement: Agreement) -> list[float]:
    """Edges in per cent; the last bin holds all from there up, and is as wide as three."""
    return [*(edge * 100 for edge in agreement.edges), agreement.edges[-1] * 100 + 1.5]


def _pwer_chart(agreement: Agreement) -> Chart:
    edges = _pwer_edges(agreement)
    return histogram(
        "Utterances by pWER",
        f"pWER in per cent; the last bar is all from {edges[-2]:g} % up",
        "utterances",
        edges,
        [("utterances", agreement.histogram.tolist())],
        range(0, int(edges[-2]) + 1, 10),
    )


def _slider(found: Audit, in_hours: bool) -> dict[str, Any]:
    """What the script needs to move the threshold."""
    agreement = found.agreement
    steps = agreement.thresholds()
    last = _pwer_edges(agreement)[-1]
    return {
        "place": agreement.place,
        "unit": "h" if in_hours else "min",
        "per_unit": 3600 if in_hours else 60,
        "steps": steps,
        "marks": [round(100 * step["threshold"] * 100 / last, 3) for step in steps],
    }


def _groups(agreement: Agreement, scorer: str) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Tables of agreement by something, empty groups left out."""
    quality = list(zip(bin_labels(MOS_STEPS, ""), agreement.qualities, strict=True))
    tables = [
        ("language", sorted(agreement.languages.items())),
        ("length", list(zip(bin_labels(LENGTHS_S, "s"), agreement.lengths, strict=True))),
        (
            f"{scorer} of the chosen version (1 to 5)",
            [*quality, ("not scored", agreement.unscored)],
        ),
    ]
    return [
        (name, [(label, group) for label, group in rows if group.utterances])
        for name, rows in tables
    ]


def _paths(run: Run, agreement: Agreement) -> dict[str, str]:
    """Paths of the recordings that the page names."""
    named = pa.array([name for name, _ in agreement.recordings.named()], pa.string())
    files = run.corpus.filter(pc.is_in(run.corpus["recording_id"], value_set=named))
    return dict(zip(files["recording_id"].to_pylist(), files["path"].to_pylist(), strict=True))


def _stages(run: Run) -> list[dict[str, Any]]:
    """Stages in the order of the recipe, with their speeds."""
    rows = []
    for name, stage in run.content.get("stages", {}).items():
        made = stage["partitions"] - stage["cached"]
        audio_s, worker_s = stage["audio_s"], stage["worker_s"]
        rows.append(
            {
                "name": name,
                **stage,
                "made": made,
                "hours_a_second": audio_s / 3600 / worker_s if worker_s else None,
                "rtf": worker_s / audio_s if audio_s else None,
                "cpu_percent": 100 * stage["cpu_s"] / worker_s if worker_s else None,
            }
        )
    return sorted(rows, key=lambda row: STEPS.index(row["step"]))
