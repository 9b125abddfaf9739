"""What the speech is like: lengths, noise, quality before and after denoising, speakers, pauses."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gpa.curation.report.outputs import Run
from gpa.curation.report.utterances import Floats, Utterances

DURATION_EDGES_S = np.arange(0.0, 31.0)
SNR_EDGES_DB = np.arange(-10.0, 62.0, 4.0)
BANDWIDTH_EDGES_KHZ = np.arange(0.0, 24.5, 0.5)
FLOOR_EDGES_DBFS = np.arange(-100.0, -16.0, 4.0)
# Share of clipped samples above which an utterance counts as clipped.
CLIPPED = 0.001
MOS_EDGES = np.round(np.arange(1.0, 5.01, 0.2), 1)
SPEAKER_EDGES_MIN = np.array([0, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 180])
PAUSE_EDGES_MS = np.arange(0.0, 1550.0, 50.0)


class Speech:
    """Histograms over a run. Values outside the edges count in the first or last bin."""

    def __init__(self) -> None:
        self.kept_duration = _empty(DURATION_EDGES_S)
        self.dropped_duration = _empty(DURATION_EDGES_S)
        self.kept_snr = _empty(SNR_EDGES_DB)
        self.dropped_snr = _empty(SNR_EDGES_DB)
        self.kept_bandwidth = _empty(BANDWIDTH_EDGES_KHZ)
        self.dropped_bandwidth = _empty(BANDWIDTH_EDGES_KHZ)
        self.kept_floor = _empty(FLOOR_EDGES_DBFS)
        self.dropped_floor = _empty(FLOOR_EDGES_DBFS)
        self.kept_clipped = 0
        self.dropped_clipped = 0
        self.mos_before = _empty(MOS_EDGES)
        self.mos_after = _empty(MOS_EDGES)
        self.mos_sums = np.zeros(2)  # before and after, over utterances that have both
        self.mos_count = 0
        self.speaker_min = _empty(SPEAKER_EDGES_MIN)  # speakers by minutes kept
        self.speakers = 0
        self.cut_s = 0.0
        self.speech_s = 0.0
        self.marks: Counter[tuple[str, str]] = Counter()  # (action, mark)
        self.comma_pauses = _empty(PAUSE_EDGES_MS)
        self.expected_s = 0.0  # kept audio whose WER a calibration foretells
        self.expected_wer = 0.0  # sum over it
        self.aligned = 0
        self.unaligned = 0

    def add(self, run: Run, partition: str, utterances: Utterances) -> None:
        """One partition; every speaker must lie in one partition whole."""
        kept, dropped = utterances.kept, ~utterances.kept
        self.kept_duration += _count(utterances.duration_s[kept], DURATION_EDGES_S)
        self.dropped_duration += _count(utterances.duration_s[dropped], DURATION_EDGES_S)
        self.kept_snr += _count(utterances.snr_db[kept], SNR_EDGES_DB)
        self.dropped_snr += _count(utterances.snr_db[dropped], SNR_EDGES_DB)
        bandwidth_khz, floor = utterances.bandwidth_hz / 1000, utterances.noise_floor_dbfs
        self.kept_bandwidth += _count(bandwidth_khz[kept], BANDWIDTH_EDGES_KHZ)
        self.dropped_bandwidth += _count(bandwidth_khz[dropped], BANDWIDTH_EDGES_KHZ)
        self.kept_floor += _count(floor[kept], FLOOR_EDGES_DBFS)
        self.dropped_floor += _count(floor[dropped], FLOOR_EDGES_DBFS)
        clipped = utterances.clipped_share > CLIPPED
        self.kept_clipped += int((clipped & kept).sum())
        self.dropped_clipped += int((clipped & dropped).sum())
        self.mos_before += _count(utterances.mos_normalized, MOS_EDGES)
        self.mos_after += _count(utterances.mos_denoised, MOS_EDGES)
        both = ~np.isnan(utterances.mos_normalized) & ~np.isnan(utterances.mos_denoised)
        self.mos_count += int(both.sum())
        self.mos_sums += [
            utterances.mos_normalized[both].sum(),
            utterances.mos_denoised[both].sum(),
        ]
        self.cut_s += float(utterances.duration_s.sum())
        self.speech_s += float(np.nansum(utterances.speech_s))
        if kept.any():
            encoded = utterances.speakers.combine_chunks().dictionary_encode()
            weights = utterances.duration_s * kept
            seconds = np.bincount(encoded.indices.to_numpy(), weights).astype(np.float64)
            self.speakers += int((seconds > 0).sum())
            self.speaker_min += _count(seconds[seconds > 0] / 60, SPEAKER_EDGES_MIN)
        self._add_marks(run, partition)
        self._add_expected(run, partition)

    @property
    def mean_expected_wer(self) -> float | None:
        """Mean expected WER of what is kept, by seconds; None where no calibration was given."""
        return self.expected_wer / self.expected_s if self.expected_s else None

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
            self.comma_pauses += _count(pauses, PAUSE_EDGES_MS)


def _empty(edges: Floats) -> np.ndarray:
    return np.zeros(len(edges) - 1, np.int64)


def _count(values: Floats, edges: Floats) -> np.ndarray:
    known = values[~np.isnan(values)]
    return np.histogram(np.clip(known, edges[0], edges[-1]), edges)[0]
