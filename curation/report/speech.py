"""What the speech is like: lengths, noise, quality before and after denoising, speakers, pauses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from gpa.curation.report.charts import Chart, histogram
from gpa.curation.report.outputs import Run
from gpa.curation.report.recognisers import ratio
from gpa.curation.report.utterances import Floats, Utterances

# Share of clipped samples above which an utterance counts as clipped.
CLIPPED = 0.001
SIDES = ("kept", "dropped")


class Histogram:
    """Counts over a run, by series. Values outside the edges count in the first or last bin."""

    def __init__(
        self,
        title: str,
        x_label: str,
        y_label: str,
        edges: ArrayLike,
        series: Sequence[str] = SIDES,
        ticks: range | None = None,
        stacked: bool = True,
    ):
        self._labels = title, x_label, y_label
        self._edges, self._ticks, self._stacked = np.asarray(edges, float), ticks, stacked
        self._counts = {name: np.zeros(len(self._edges) - 1, np.int64) for name in series}

    def add(self, series: str, values: Floats) -> None:
        """Count more values; NaN is none."""
        inside = np.clip(values[~np.isnan(values)], self._edges[0], self._edges[-1])
        self._counts[series] += np.histogram(inside, self._edges)[0]

    def chart(self) -> Chart:
        counts = [(name, values.tolist()) for name, values in self._counts.items()]
        return histogram(*self._labels, self._edges.tolist(), counts, self._ticks, self._stacked)


class Speech:
    """Histograms and sums over a run; `scorer` is what people call the model of the MOS."""

    def __init__(self, scorer: str) -> None:
        of = "utterances"
        self.duration = Histogram(
            "Length of utterances", "seconds", of, np.arange(31), ticks=range(0, 31, 5)
        )
        self.snr = Histogram(
            "Signal-to-noise ratio", "dB", of, np.arange(-10, 62, 4), ticks=range(-10, 61, 10)
        )
        self.bandwidth = Histogram(
            "Bandwidth", "kHz", of, np.arange(0, 24.5, 0.5), ticks=range(0, 25, 4)
        )
        self.floor = Histogram(
            "Noise floor",
            "dB of full scale",
            of,
            np.arange(-100, -16, 4),
            ticks=range(-100, -19, 20),
        )
        self.mos = Histogram(
            f"{scorer} before and after denoising",
            "overall quality, 1 to 5",
            of,
            np.round(np.arange(1.0, 5.01, 0.2), 1),
            ("before", "after"),
            ticks=range(1, 6),
            stacked=False,
        )
        self.speaker_min = Histogram(
            "Kept speech of a speaker",
            "minutes",
            "speakers",
            (0, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 180),
            ("speakers",),
        )
        self.pauses = Histogram(
            "Pauses at which a mark was inserted",
            "milliseconds",
            "marks",
            np.arange(0, 1550, 50),
            ("marks",),
            ticks=range(0, 1501, 300),
        )
        self.clipped: Counter[str] = Counter(dict.fromkeys(SIDES, 0))
        self.mos_sums = np.zeros(2)  # before and after, over utterances that have both
        self.mos_count = 0
        self.speakers = 0
        self.cut_s = 0.0
        self.speech_s = 0.0
        self.marks: Counter[tuple[str, str]] = Counter()  # (action, mark)
        self.expected_s = 0.0  # kept audio whose WER a calibration foretells
        self.expected_wer = 0.0  # sum over it
        self.aligned = 0
        self.unaligned = 0

    def charts(self) -> list[Chart]:
        """All histograms as drawings, in the order of their making."""
        return [each.chart() for each in vars(self).values() if isinstance(each, Histogram)]

    def add(self, run: Run, partition: str, utterances: Utterances) -> None:
        """One partition; every speaker must lie in one partition whole."""
        kept = utterances.kept
        for side, of_side in zip(SIDES, (kept, ~kept), strict=True):
            self.duration.add(side, utterances.duration_s[of_side])
            self.snr.add(side, utterances.snr_db[of_side])
            self.bandwidth.add(side, utterances.bandwidth_hz[of_side] / 1000)
            self.floor.add(side, utterances.noise_floor_dbfs[of_side])
            self.clipped[side] += int((utterances.clipped_share[of_side] > CLIPPED).sum())
        before, after = utterances.mos_normalized, utterances.mos_denoised
        self.mos.add("before", before)
        self.mos.add("after", after)
        both = ~np.isnan(before) & ~np.isnan(after)
        self.mos_count += int(both.sum())
        self.mos_sums += [before[both].sum(), after[both].sum()]
        self.cut_s += float(utterances.duration_s.sum())
        self.speech_s += float(np.nansum(utterances.speech_s))
        if kept.any():
            encoded = utterances.speakers.combine_chunks().dictionary_encode()
            weights = utterances.duration_s * kept
            seconds = np.bincount(encoded.indices.to_numpy(), weights).astype(np.float64)
            self.speakers += int((seconds > 0).sum())
            self.speaker_min.add("speakers", seconds[seconds > 0] / 60)
        self._add_marks(run, partition)
        self._add_expected(run, partition)

    @property
    def mean_expected_wer(self) -> float | None:
        """Mean expected WER of what is kept, by seconds; None where no calibration was given."""
        return ratio(self.expected_wer, self.expected_s)

    def _add_expected(self, run: Run, partition: str) -> None:
        packaged = run.table("packaged", partition, ["duration_s", "expected_wer"])
        if packaged is None or "expected_wer" not in packaged.column_names:
            return
        known = packaged.drop_null()
        seconds, expected = (known[name].to_numpy() for name in ("duration_s", "expected_wer"))
        self.expected_s += float(seconds.sum())
        self.expected_wer += float(seconds @ expected)

    def _add_marks(self, run: Run, partition: str) -> None:
        alignment = run.table("alignment", partition, ["error", "edits"])
        if alignment is None:
            return
        failed = alignment.num_rows - alignment["error"].null_count
        self.unaligned += failed
        self.aligned += alignment.num_rows - failed
        for chunk in alignment["edits"].chunks:
            edits = chunk.flatten()
            if not len(edits):
                continue
            action, mark = edits.field("action"), edits.field("mark")
            counts = pa.table({"action": action, "mark": mark}).group_by(["action", "mark"])
            for row in counts.aggregate([([], "count_all")]).to_pylist():
                self.marks[row["action"], row["mark"]] += row["count_all"]
            inserted = pc.equal(action, "insert")
            pauses = edits.field("pause_ms").filter(inserted).to_numpy(zero_copy_only=False)
            self.pauses.add("marks", pauses)
