"""The bench of the end of a run takes an OUT through all of it, and what reads it afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from gpa.curation.bench.close import UTTERANCES_A_PARTITION, Here, write_out
from gpa.eval.bench import STEPS
from gpa.runtime.execution import Engine
from gpa.tokenize.shards import TokenShards


def test_every_step_goes_through_a_small_out(tmp_path: Path):
    write_out(tmp_path, 1)
    for step in STEPS.values():
        step(str(tmp_path), cast(Engine, Here()))
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    kept = len(TokenShards(tmp_path / "tokens"))
    assert 0 < kept < UTTERANCES_A_PARTITION
    assert summary["utterances"]["kept"] == kept
