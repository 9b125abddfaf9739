"""Training spread over processes takes each row once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpa.train.command import prepare
from tests.train.test_command import small

STEPS = 2

# What `gpa train` runs, and the rows that each process's loader was asked for.
SCRIPT = """
import json, os, sys
from pathlib import Path
from gpa.train.command import build, prepare
from gpa.train.data import PackedRows
from tests.train.test_command import small

class Noted(PackedRows):
    taken = []

    def __getitem__(self, number):
        self.taken.append(number)
        return super().__getitem__(number)

tokens, out = map(Path, sys.argv[1:])
run = prepare(small(held_back_share=0), model="tiny", phase="pretrain", tokens=tokens, out=out,
              steps={steps}, checkpoint=None, resume=False)
run.rows.__class__ = Noted
trainer = build(run)
trainer.args.save_strategy = "no"
trainer.train()
(out / f"rows-{{os.environ['RANK']}}.json").write_text(json.dumps(Noted.taken))
"""


@pytest.mark.slow
def test_two_processes_take_each_row_once(make_shards, tmp_path):
    shards = make_shards(tmp_path / "tokens", 24)
    out, script = tmp_path / "out", tmp_path / "script.py"
    out.mkdir()
    script.write_text(SCRIPT.format(steps=STEPS))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", script, shards.folder, out),
        ],
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": ".", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    taken = [json.loads((out / f"rows-{rank}.json").read_text()) for rank in (0, 1)]
    where = {"model": "tiny", "phase": "pretrain", "tokens": shards.folder, "out": tmp_path / "o"}
    run = prepare(small(held_back_share=0), **where, steps=STEPS, checkpoint=None, resume=False)
    assert sorted(taken[0] + taken[1]) == list(range(len(run.rows)))
    assert all(taken)
