"""`make demo`: its config fits every room that reads it."""

from __future__ import annotations

from gpa.eval.config import read_config as read_eval
from gpa.tokenize.run import choose
from gpa.tokenize.run import read_config as read_tokenize
from gpa.train.codec.command import read_config as read_codec
from gpa.train.command import read_config as read_train
from tests.runs import ROOT

DEMO = ROOT / "train" / "demo.yaml"


def test_its_model_is_trained_and_measured_on_all_tasks_through_the_codec_of_the_demo():
    assert choose(read_tokenize(DEMO), "demo").bicodec == "demo/codec"
    assert read_codec(DEMO).steps < 1000
    config = read_train(DEMO)
    assert set(config.phases["pretrain"].mixture.tasks) == {"asr", "tts", "vc"}
    assert set(read_eval(DEMO).judges) == {"en", "zh"}
