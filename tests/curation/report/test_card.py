"""The dataset card: front matter that the hub reads, figures and licences that people need."""

from __future__ import annotations

import pytest
import yaml

from gpa.curation.report.audit import Audit, audit
from gpa.curation.report.card import dataset_card
from gpa.curation.report.outputs import open_run
from tests.curation.report.synthetic import write_out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Audit]:
    folder = tmp_path_factory.mktemp("out")
    content = write_out(folder, utterances=10, audio=False)
    return content, audit(open_run(str(folder)), 0)


def front_matter(card: str) -> dict:
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("---\n")[1])


def test_the_front_matter_is_what_the_hub_reads(made):
    front = front_matter(dataset_card(*made))
    assert front["language"] == ["en"]
    assert front["license"] == "cc-by-4.0"
    assert front["size_categories"] == ["n<1K"]
    assert front["configs"][0]["data_files"] == "shard-*.tar"


def test_an_unknown_corpus_licence_is_said_to_be_unknown(made):
    content, found = made
    config = {**content["config"], "corpus_licence": "unknown"}
    card = dataset_card({**content, "config": config}, found)
    assert front_matter(card)["license"] == "unknown"
    assert "find out before use" in card


def test_the_most_restrictive_licence_behind_the_text_is_named(made):
    card = dataset_card(*made)
    assert "**CC-BY-NC-4.0** (non-commercial; recogniser beta)" in card


def test_the_figures_are_those_of_the_audit(made):
    content, found = made
    card = dataset_card(content, found)
    assert f"in {found.funnel.kept_utterances} utterances" in card
    for row in found.funnel.rows():
        hours = f"{row['seconds'] / 3600:.3f}"
        assert f"| {row['step']} | {row['reason']} | {hours} | {row['utterances']} |" in card


def test_markup_in_a_name_stays_text(made):
    content, found = made
    models = {"transcribe/x": {"model": "a|b <i>\n![](x)", "licence": "`MIT`", "weights": []}}
    card = dataset_card({**content, "models": models}, found)
    assert r"a\|b &lt;i&gt; !\[\](x)" in card
    assert r"\`MIT\`" in card
