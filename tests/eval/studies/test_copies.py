"""Recall and precision of planted copies are counted as their names say."""

from __future__ import annotations

from itertools import islice

from gpa.curation.export.fingerprint import Fingerprints
from gpa.eval.studies.copies import coded, found, normalized, played, read


def test_a_copy_that_is_missed_lowers_recall_and_what_is_taken_for_one_lowers_precision(
    shared_speech,
):
    clips = list(islice(read([shared_speech / "en_lj"]), 4))
    names = [name for name, *_ in clips]
    known = Fingerprints.of(clips, (1.0,))
    changes = (coded("MP3", "MPEG_LAYER_III"), coded("OGG", "OPUS"), played(1.2), played(1.0))
    copies = [normalized(*change(*clip[1:])) for change, clip in zip(changes, clips, strict=True)]
    assert found(known, names, copies, wrong=0) == (0.75, 1.0)
    assert found(known, names, copies, wrong=1) == (0.75, 0.75)
    assert found(known, [*names[1:], names[0]], copies, wrong=0) == (0.0, 0.0)
