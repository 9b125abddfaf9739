"""How punctuation is counted against a written text."""

from gpa.curation.punctuate.pauses import split_words
from gpa.eval.studies.pause_rule import GapCounts, count_gaps, without_commas


def count(reference, hypothesis, kind="comma"):
    return count_gaps(split_words(reference), split_words(hypothesis), kind)


def test_a_text_against_itself_is_right():
    text = "Well, he came; then (it was late) he left. Why? Nobody knows."
    assert count(text, text) == GapCounts(hits=2)
    assert count(text, text, "stop") == GapCounts(hits=2)


def test_false_and_missed_marks_are_told_apart():
    assert count("He came, he left and won", "He came he left, and won") == GapCounts(0, 1, 1)


def test_marks_beside_words_that_differ_are_not_counted():
    assert count("He came, she left, and won", "he came she felt, and won") == GapCounts(0, 0, 1)


def test_the_last_mark_does_not_count():
    assert count("He came.", "He came", "stop") == GapCounts()


def test_precision_recall_and_f1():
    counts = GapCounts(hits=3, false=1, missed=2)
    assert (counts.precision, counts.recall) == (3 / 4, 3 / 5)
    assert abs(counts.f1 - 2 / 3) < 1e-12
    assert GapCounts().f1 == 0


def test_without_commas_leaves_words_and_other_marks():
    text = split_words('Well, he came; then "yes", (late). $1,000')
    # One beside a quote or a bracket is not alone.
    assert str(without_commas(text)) == 'Well he came then "yes", (late). $1,000'
