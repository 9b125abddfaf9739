"""The pause rule on texts and pauses made by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.punctuate.pauses import Edit, WrittenText, punctuate, split_words

texts = st.text(
    alphabet=st.sampled_from(list("abIMr é.,;:!?—–-'’\"“”()1290$%&@… \n，。、；你好很カな\u0301")),
    max_size=80,
)


def rule(text: str, pauses: dict[str, float], language: str = "en", **settings) -> str:
    """The text after the rule; `pauses` gives milliseconds after the words named, else 0."""
    written = split_words(text)
    after, _ = punctuate(
        written, [pauses.get(word, 0.0) for word in written.words[:-1]], language, **settings
    )
    return str(after)


@given(texts)
def test_a_text_cut_into_words_and_gaps_is_put_together_exactly(text):
    written = split_words(text)
    assert str(written) == text
    assert len(written.gaps) == len(written.words) + 1


@given(st.text(max_size=60))
def test_any_unicode_survives_the_cut(text):
    assert str(split_words(text)) == text


@given(texts, st.sampled_from(["en", "zh", "ja", "fr", "xx"]))
def test_pauses_between_the_two_thresholds_change_nothing(text, language):
    written = split_words(text)
    pauses = [150.0] * max(0, len(written.words) - 1)
    assert punctuate(written, pauses, language) == (written, ())


@given(texts, st.data())
def test_words_and_sentence_ends_are_never_touched(text, data):
    written = split_words(text)
    count = max(0, len(written.words) - 1)
    pauses = data.draw(st.lists(st.floats(0, 900), min_size=count, max_size=count))
    after, edits = punctuate(written, pauses, "en", fluent_marks="all")
    assert after.words == written.words
    changed = {i for i, (a, b) in enumerate(zip(written.gaps, after.gaps, strict=True)) if a != b}
    assert changed == {edit.word_index + 1 for edit in edits}
    for index in changed:
        assert not set(written.gaps[index]) & set('.!?。…"“”()')


@given(texts, st.data())
def test_the_rule_applied_twice_is_the_rule_applied_once(text, data):
    written = split_words(text)
    count = max(0, len(written.words) - 1)
    pauses = data.draw(
        st.lists(st.sampled_from([0.0, 100.0, 400.0]), min_size=count, max_size=count)
    )
    once, _ = punctuate(written, pauses, "en", fluent_marks="all")
    assert punctuate(once, pauses, "en", fluent_marks="all") == (once, ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Mr. Hale met the U.S. envoy.", ["Mr.", "Hale", "met", "the", "U.S.", "envoy"]),
        ("He paid $1,000.50, i.e. 3.14%.", ["He", "paid", "$1,000.50", "i.e.", "3.14%"]),
        ("At 10:30, J. Smith's AT&T", ["At", "10:30", "J.", "Smith's", "AT&T"]),
        ("the so-called ’em – o'clock", ["the", "so-called", "’em", "o'clock"]),
        ('\'Twas said: "no" (twice)', ["'Twas", "said", "no", "twice"]),
        ("So do I. Then we left", ["So", "do", "I", "Then", "we", "left"]),
        ("他说hop公司，好的。", ["他", "说", "hop", "公", "司", "好", "的"]),
        ("No. Take No. 7", ["No", "Take", "No.", "7"]),
        ("", []),
        ("… !", []),
    ],
)
def test_marks_that_belong_to_a_word_stay_in_it(text, words):
    assert list(split_words(text).words) == words


def test_a_comma_goes_in_where_a_long_pause_lies_between_clauses():
    text = "He brought it to perfection and it was natural"
    assert rule(text, {"perfection": 400}) == "He brought it to perfection, and it was natural"


def test_300_ms_is_a_long_pause_and_less_is_not():
    text = "He brought it to perfection and it was natural"
    assert rule(text, {"perfection": 300}) == "He brought it to perfection, and it was natural"
    assert rule(text, {"perfection": 299}) == text


@pytest.mark.parametrize(
    ("text", "hesitation"),
    [
        ("she found it in the old and dusty house", "the"),  # after an article
        ("she walked up to um and then away", "um"),  # after a filler
        ("they were and they will be there", "were"),  # after an auxiliary
        ("the monastery of Subiaco near Rome", "monastery"),  # inside a noun phrase
        ("every guest is a gift from God", "guest"),  # between subject and verb
        ("bread and butter", "bread"),  # one word is no clause
        ("he went home and he slept", "and"),  # after the conjunction
    ],
)
def test_a_hesitation_gets_no_comma(text, hesitation):
    assert rule(text, {hesitation: 800}) == text


def test_no_second_mark_where_one_stands():
    text = 'He said "go home" and I went. But (as you know) we stayed; and they left.'
    pauses = dict.fromkeys(split_words(text).words, 500.0)
    assert rule(text, pauses) == text


def test_no_comma_after_an_abbreviation_that_may_end_the_sentence():
    text = "We went to the U.S. And then we stayed"
    assert rule(text, {"U.S.": 600}) == text


def test_a_mark_where_no_clause_can_end_goes_out_of_a_fluent_span():
    assert rule("This is the, house that we sold", {}) == "This is the house that we sold"
    assert rule("This is the, house that we sold", {"the": 50}) == "This is the, house that we sold"
    assert rule("This is the, house that we sold", {"the": 49}) == "This is the house that we sold"


def test_an_aside_without_pauses_loses_both_its_commas_or_none():
    text = "and was, in fact, the kind of letter"
    assert rule(text, {}) == "and was in fact the kind of letter"
    assert rule(text, {"fact": 200}) == text
    assert rule(text, {"was": 200}) == text


def test_a_comma_between_clauses_stays_in_a_fluent_span():
    text = "I know about you guys, but if I stood there, it would fall"
    assert rule(text, {}) == text


def test_all_clause_marks_leave_a_fluent_span_where_the_paper_is_taken_at_its_word():
    text = "Well, he came; she saw: they — all of them - left. Mr. X, no!"
    expected = "Well he came she saw they all of them left. Mr. X no!"
    assert rule(text, {}, fluent_marks="all") == expected


def test_sentence_ends_stay_in_a_fluent_span():
    text = "It went on. Then it stopped! Did it? No…"
    assert rule(text, {}, fluent_marks="all") == text


def test_chinese_takes_its_own_comma_and_no_space():
    text = "我们昨天去了公园但是今天不想再去"
    assert rule(text, {"园": 350}, "zh") == "我们昨天去了公园，但是今天不想再去"
    assert rule(text, {"昨": 350}, "zh") == text
    assert rule("这是，我的家", {}, "zh", fluent_marks="all") == "这是我的家"


def test_a_language_without_known_clauses_gets_no_comma_and_keeps_its_marks():
    text = "Har du sett dem, och var är de"
    assert rule(text, {"sett": 500}, "sv") == text


def test_every_edit_is_recorded_with_its_pause():
    written = split_words("This is the, house that we sold but we miss it")
    pauses = [0.0, 0.0, 20.0, 0.0, 0.0, 0.0, 410.0, 0.0, 0.0, 0.0]
    after, edits = punctuate(written, pauses, "en")
    assert str(after) == "This is the house that we sold, but we miss it"
    assert edits == (Edit("remove", ",", 2, 20.0), Edit("insert", ",", 6, 410.0))


def test_pauses_that_do_not_fit_the_words_are_an_error():
    with pytest.raises(ValueError, match="1 pauses for 3 words"):
        punctuate(split_words("one two three"), [0.0], "en")


def test_a_text_without_words_is_left_alone():
    assert punctuate(WrittenText((), ("…",)), [], "en") == (WrittenText((), ("…",)), ())
