"""Agreement units: what must count as the same, and what must not."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from whisper_normalizer.english import EnglishTextNormalizer

from gpa.curation.text.english import whisper_for
from gpa.curation.text.number_lexicon import can_read, spellings
from gpa.curation.text.numerals import chinese_cardinal
from gpa.curation.text.spelling import fold_spelling
from gpa.curation.text.units import is_character, pieces, primary_language, units

# Pairs of the panels' languages that sound the same: language, one, other, what differs.
PANEL = [
    line.split("\t")[:3]
    for line in Path(__file__)
    .with_name("same_when_spoken.tsv")
    .read_text(encoding="utf-8")
    .splitlines()[1:]
]
WHOLE = EnglishTextNormalizer()
SAME = [
    # English: numerals, money, contractions, case, marks, fillers, spelling.
    ("en", "21", "twenty one"),
    ("en", "Twenty-one.", "21"),
    ("en", "$5", "five dollars"),
    ("en", "50%", "fifty percent"),
    ("en", "1 dog", "one dog"),
    ("en", "in 1990", "in nineteen ninety"),
    ("en", "1,000", "one thousand"),
    ("en", "I'm, um, HERE!", "i am here"),
    ("en", "the colour", "the color"),
    ("en", "don’t", "don't"),
    ("en", "yes [laughter]", "Yes."),
    ("en", "Ｈｅｌｌｏ", "hello"),
    ("en", "at 7 p.m. in the U.S.", "at seven PM in the US"),
    ("en", "O.K., grey", "okay gray"),
    ("en", "10:30", "ten thirty"),
    ("en", "AT&T", "AT and T"),
    ("en", "No. 5", "number five"),
    ("en", "an e-mail", "an email"),
    ("en", "a hundred", "100"),
    ("en", "-5 °C", "minus five degrees Celsius"),
    ("en", "the 21st century", "the twenty-first century"),
    ("en", "two, three", "2, 3"),
    ("en", "twenty-one two hundred", "21, 200"),
    ("en", "One, two, three.", "1, 2, 3"),
    ("en", "call nine one one", "call 911"),
    ("en", "nineteen oh five", "1905"),
    ("en", "three point one four", "3.14"),
    ("en", "double five one", "551"),
    # Chinese: spaces, marks, scripts, full-width, numerals read in three ways, code-switching.
    ("zh", "你好世界", "你好 世界"),
    ("zh", "你好，世界！", "你好世界"),
    ("zh", "臺灣的軟體", "台湾的软体"),
    ("zh", "２１個", "二十一个"),
    ("zh", "2024年", "二零二四年"),
    ("zh", "二〇二四年", "2024年"),
    ("zh", "50%", "百分之五十"),
    ("zh", "3.14", "三点一四"),
    ("zh", "两百个", "200个"),
    ("zh", "我用GPT写", "我用 gpt 写。"),
    ("zh", "$5", "五美元"),
    ("zh", "看著妳", "看着你"),
    ("zh", "三十%", "30%"),
    ("zh", "气温-5℃", "气温负五度"),
    ("zh", "1/2", "二分之一"),
    ("zh", "幺幺零", "一一〇"),
    ("zh", "廿一", "21"),
    ("zh", "下午3:30", "下午三点三十"),
    ("zh", "12:00", "十二点"),
    ("zh", "-10度", "零下十度"),
    ("zh", "1.5万", "一点五万"),
    # Japanese: half-width and the two kana, numerals.
    ("ja", "ｶﾀｶﾅ", "カタカナ"),
    ("ja", "ネコ", "ねこ"),
    ("ja", "21個", "二十一個"),
    ("ja", "そう、です。", "そうです"),
    ("ja", "二〇二四年", "２０２４年"),
    ("ja", "二千二十四年", "2024年"),
    ("ja", "1,000円", "¥1000"),
    ("ja", "三ヶ月", "3カ月"),
    ("ja", "様々な", "様様な"),
    ("ja", "Ａ４サイズ", "A4 サイズ"),
    # Korean: spacing differs from one recogniser to the next, decomposed syllables.
    ("ko", "안녕하세요 여러분", "안녕하세요여러분"),
    ("ko", "21퍼센트", "이십일 퍼센트"),
    ("ko", "\u1112\u1161\u11ab", "한"),
    ("ko", "사과 3개", "사과 세 개"),
    ("ko", "20살", "스무 살"),
    ("ko", "21명", "스물한 명"),
    ("ko", "오후 3시", "오후 세시"),
    ("ko", "3개월", "삼 개월"),
    ("ko", "24시간", "이십사 시간"),
    ("ko", "ㅋㅋ 네", "네"),
    ("ko", "10,000원", "만 원"),
    # German.
    ("de", "einundzwanzig Straßen", "21 STRASSEN"),
    ("de", "2.000 €", "zweitausend Euro"),
    ("de", "3,5 %", "drei Komma fünf Prozent"),
    ("de", "u\u0308ber", "über"),
    ("de", "2 Millionen", "zwei Millionen"),
    ("de", "2,5 Millionen", "zwei Komma fünf Millionen"),
    ("de", "eine Million", "1.000.000"),
    ("de", "der 3. Mai 1990", "der dritte Mai neunzehnhundertneunzig"),
    ("de", "14:30 Uhr", "vierzehn Uhr dreißig"),
    ("de", "-5 °C", "minus fünf Grad"),
    ("de", "daß", "dass"),
    # French: elision, ligatures, numerals of its own arithmetic.
    ("fr", "l’homme", "L'homme"),
    ("fr", "l'homme", "l homme"),
    ("fr", "quatre-vingt-dix-neuf", "99"),
    ("fr", "le cœur", "le coeur"),
    ("fr", "1 000 euros", "mille euros"),
    ("fr", "est-ce", "est ce"),
    ("fr", "nonante-neuf", "quatre-vingt-dix-neuf"),
    ("fr", "« Bonjour ! »", "bonjour"),
    ("fr", "le 1er et le 2e", "le premier et le deuxième"),
    ("fr", "la 1re", "la première"),
    ("fr", "14h30", "quatorze heures trente"),
    ("fr", "n°5", "numéro cinq"),
    ("fr", "1 €", "un euro"),
    ("fr", "aujourd’hui", "aujourd'hui"),
    ("fr", "2 millions", "deux millions"),
    # Spanish, Italian, Portuguese.
    ("es", "¿Veintiún años?", "veintiún años"),
    ("es", "21", "veintiuno"),
    ("es", "50 %", "cincuenta por ciento"),
    ("es", "el 1.º", "el primero"),
    ("es", "la 2ª", "la segunda"),
    ("es", "1.er piso", "primer piso"),
    ("es", "21.000", "veintiún mil"),
    ("es", "20 mil", "veinte mil"),
    ("es", "n.º 5", "número cinco"),
    ("es", "1 $", "un dólar"),
    ("es", "sólo ésta", "solo esta"),
    ("it", "l'ora", "l’ora"),
    ("it", "perché", "perchè"),
    ("it", "duemilaventiquattro", "2024"),
    ("it", "ventitré", "23"),
    ("it", "trentatrè", "trentatré"),
    ("it", "20 mila", "ventimila"),
    ("it", "il 1º", "il primo"),
    ("it", "dell' arte", "dell’arte"),
    ("pt", "vinte e um", "21"),
    ("pt", "50%", "cinquenta por cento"),
    ("pt", "dezasseis", "dezesseis"),
    ("pt", "catorze", "quatorze"),
    ("pt", "R$ 5", "cinco reais"),
    ("pt", "a 1ª", "a primeira"),
    ("pt", "a idéia freqüente", "a ideia frequente"),
    ("pt", "lêem no vôo", "leem no voo"),
    # Russian: ё, stress marks, numerals.
    ("ru", "Ещё", "еще"),
    ("ru", "за\u0301мок", "замок"),
    ("ru", "21", "двадцать один"),
    ("ru", "21-го мая", "двадцать первого мая"),
    ("ru", "в 1990-м", "в тысяча девятьсот девяностом"),
    ("ru", "1 000", "тысяча"),
    ("ru", "1 %", "один процент"),
    ("ru", "2 ₽", "два рубля"),
    ("ru", "5 руб.", "пять рублей"),
    ("ru", "№ 5", "номер пять"),
    ("ru", "Cтoл", "стол"),
    # Arabic: vowel signs, alef and its hamzas, tatweel, digits of its own.
    ("ar", "أَهْلاً", "اهلا"),
    ("ar", "مدرسة", "مدرسه"),
    ("ar", "كـــتاب", "كتاب"),
    ("ar", "٢١", "21"),
    ("ar", "٢١", "واحد وعشرون"),
    ("ar", "١٢٬٠٠٠", "12,000"),
    ("ar", "٣٫٥", "ثلاثة فاصلة خمسة"),
    ("ar", "٥٠٪", "50%"),
    ("ar", "١٠٠", "مائة"),
    ("ar", "مسؤول", "مسئول"),
    ("ar", "هٰذا الرحمٰن", "هذا الرحمن"),
    ("ar", "\ufefb", "لا"),
    # Hindi: vowel signs stay, nukta and nasal signs fold, Devanagari digits, danda.
    ("hi", "क़लम", "कलम"),
    ("hi", "हूँ।", "हूं"),
    ("hi", "२१", "21"),
    ("hi", "21", "इक्कीस"),
    ("hi", "हिन्दी में सम्बन्ध", "हिंदी में संबंध"),
    ("hi", "चाहिये, नयी", "चाहिए, नई"),
    ("hi", "1,00,000", "एक लाख"),
    ("hi", "१००", "सौ"),
    ("hi", "6", "छः"),
    ("hi", "3.5", "तीन दशमलव पाँच"),
    ("hi", "\u0958लम", "\u0915\u093cलम"),
    ("hi", "क्\u200dया", "क्या"),
    # Thai needs no spaces.
    ("th", "สวัสดี ค่ะ", "สวัสดีค่ะ"),
]

DIFFERENT = [
    ("en", "fifteen", "fifty"),
    ("en", "1.5", "15"),
    ("en", "3/4", "3 4"),
    ("en", "10-20", "1020"),
    ("en", "2:1", "21"),
    ("en", "two three", "twenty-three"),
    ("en", "two, three hundred", "2300"),
    ("en", "100k", "100"),
    ("en", "five kilometers", "five kilograms"),
    ("bg", "петнайсет", "петдесет"),
    ("ca", "quinze", "cinquanta"),
    ("cs", "1,5", "15"),
    ("cs", "patnáct", "padesát"),
    ("cs", "20 %", "20"),
    ("da", "tres", "tredive"),
    ("el", "πότε", "ποτέ"),
    ("el", "τρίτη", "τρία"),
    ("et", "viisteist", "viiskümmend"),
    ("fa", "پانزده", "پنجاه"),
    ("fi", "viisitoista", "viisikymmentä"),
    ("fi", "1,5", "1 5"),
    ("he", "חמש", "חמישים"),
    ("he", "ספר", "סופר"),
    ("hr", "petnaest", "pedeset"),
    ("hu", "tizenöt", "ötven"),
    ("id", "lima belas", "lima puluh"),
    ("lt", "penkiolika", "penkiasdešimt"),
    ("lv", "piecpadsmit", "piecdesmit"),
    ("mt", "ħmistax", "ħamsin"),
    ("pl", "piętnaście", "pięćdziesiąt"),
    ("pl", "set", "sto"),
    ("ro", "fata", "fața"),
    ("ro", "cincisprezece", "cincizeci"),
    ("sk", "dvadsať, päť", "dvadsaťpäť"),
    ("sk", "5 km", "5 m"),
    ("sl", "petnajst", "petdeset"),
    ("sv", "femton", "femtio"),
    ("sv", "20 kronor", "20 euro"),
    ("sv", "ett två tre", "123"),
    ("sw", "kumi na tano", "hamsini"),
    ("ta", "பதினைந்து", "ஐம்பது"),
    ("tr", "kıl", "kil"),
    ("tr", "on beş", "elli"),
    ("uk", "тисячі людей", "1000 людей"),
    ("vi", "hai mươi năm", "hai mươi lăm"),  # twenty years
    ("vi", "ba", "bà"),
    ("ja", "ビル", "ビール"),
    ("th", "ใกล้", "ไกล"),
    ("en", "I can", "I can't"),
    ("en", "five", "five dollars"),
    ("en", "-5", "5"),
    ("en", "he is first", "he is one"),
    ("en", "will", "won't"),
    ("en", "he said (five) words", "he said words"),  # what stands in brackets was said
    ("zh", "他们", "我们"),
    ("zh", "-5", "5"),
    ("zh", "3.5", "三五"),
    ("zh", "50%", "50"),
    ("zh", "他", "她"),
    ("ja", "かき", "かぎ"),
    ("ja", "おばさん", "おばあさん"),
    ("ja", "きて", "きって"),
    ("ja", "力", "カ"),  # a character that looks like a syllable
    ("de", "schon", "schön"),
    ("de", "-5", "5"),
    ("de", "drei zwei", "fünf"),
    ("de", "zwei zwanzig", "22"),
    ("fr", "ou", "où"),
    ("fr", "second", "premier"),
    ("fr", "vingt heures", "vingt"),
    ("fr", "le 1er", "le 1"),
    ("es", "el ano", "el año"),
    ("es", "esta", "está"),
    ("es", "si", "sí"),
    ("pt", "avó", "avô"),
    ("pt", "e", "é"),
    ("it", "e", "è"),
    ("hi", "कल", "काल"),  # a vowel sign is a letter
    ("hi", "ये", "ए"),
    ("hi", "जन्म", "जंम"),
    ("ko", "3개", "3개월"),
    ("ar", "كلب", "قلب"),
    ("ru", "мой", "мои"),  # й is no accented и
]


@pytest.mark.parametrize(("language", "one", "other"), SAME)
def test_what_sounds_the_same_has_the_same_units(language, one, other):
    assert units(one, language) == units(other, language) != ()


@pytest.mark.parametrize(("language", "one", "other"), DIFFERENT)
def test_what_sounds_different_stays_different(language, one, other):
    assert units(one, language) != units(other, language)


@pytest.mark.parametrize(("language", "one", "other"), PANEL)
def test_what_sounds_the_same_in_the_panels_languages_has_the_same_units(language, one, other):
    assert units(one, language) == units(other, language) != ()


def test_every_language_of_a_panel_has_its_pairs():
    pipeline = yaml.safe_load(Path("pipelines.yaml").read_text())["pipelines"]["paper"]
    assert set(pipeline["consensus"]["panels"]) == {row[0] for row in PANEL}


@pytest.mark.parametrize("language", sorted({row[0] for row in PANEL if can_read(row[0])}))
def test_a_number_in_words_is_that_number_and_no_other(language):
    for value in (0, 7, 13, 15, 30, 50, 51, 99, 100, 112, 250, 999, 1000, 2024, 21_000):
        for spelled in spellings(value, language):
            if "," not in spelled:  # Swahili "elfu mbili, ishirini na nne"
                assert "".join(units(spelled, language)) == str(value), spelled


@given(text=st.text(max_size=40), language=st.sampled_from(sorted({row[0] for row in PANEL})))
def test_spelling_is_folded_once_and_for_all(text, language):
    folded = fold_spelling(unicodedata.normalize("NFKC", text).casefold(), language)
    assert fold_spelling(folded, language) == folded


# What the steps that are left out look for, and what might become it.
ENGLISH = [
    "and",
    "a",
    "half",
    "minus",
    "per",
    "cent",
    "oh",
    "one",
    "two",
    "hundred",
    "ones",
    "first",
    "$5",
    "3.5",
    "#3",
    "12",
    "won't",
    "n't",
    "'s",
    "he's",
    "gotta",
    "gone",
    "i'ma",
    "imma",
    "mr",
    "mrs",
    "cause",
    "us",
    "um",
    "[x]",
    "<y",
    "ca<x>n't",
    "b[x]een",
    "é",
    "colour",
    ",",
    ".",
    "-",
    "dog",
]


@given(st.lists(st.sampled_from(ENGLISH), max_size=8).map(" ".join))
def test_whispers_normaliser_loses_no_step_that_finds_something(text):
    assert whisper_for(text)(text) == WHOLE(text)


def test_a_hyphen_is_no_minus():
    assert units("GPT-4 von 2010-2015", "de") == ("gpt", "4", "von", "2010", "2015")
    assert units("covid-19", "en") == ("covid", "19")


def test_units_follow_the_script_run_by_run():
    assert units("我用GPT写code", "zh") == ("我", "用", "gpt", "写", "code")
    assert units("K팝 music", "ko") == ("k", "팝", "music")
    assert [is_character(unit) for unit in units("我用GPT", "zh")] == [True, True, False]


@pytest.mark.parametrize("silence", ["", "  ", "...", "[music]", "♪ ♪", "<noise>", "。"])
def test_text_without_words_is_silence(silence):
    assert units(silence, "en") == () == units(silence, "zh")
    assert pieces(silence, "en") == []


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "零"), (10, "十"), (14, "十四"), (20, "二十"), (105, "一百零五"), (110, "一百一十"),
     (2000, "二千"), (2024, "二千零二十四"), (10010, "一万零一十"), (100000, "十万"),
     (100_000_001, "一亿零一"), (12_345, "一万二千三百四十五")],
)  # fmt: skip
def test_chinese_cardinals_as_they_are_said(value, said):
    assert chinese_cardinal(value) == said


def test_language_codes_are_cut_to_the_primary_one():
    assert [primary_language(code) for code in ("zh-TW", "EN_us", "de")] == ["zh", "en", "de"]


def test_pieces_keep_the_written_form_of_merged_and_split_words():
    found = pieces("Well, twenty one dogs; I'm um sure.", "en")
    assert [(piece.written, piece.units) for piece in found] == [
        ("Well,", ("well",)),
        ("twenty one", ("21",)),
        ("dogs;", ("dogs",)),
        ("I'm um", ("i", "am")),
        ("sure.", ("sure",)),
    ]


def test_pieces_of_chinese_are_characters_with_their_marks():
    found = pieces("“你好，21個GPT。", "zh")
    assert [piece.written for piece in found] == ["“你", "好，", "21", "個", "GPT。"]
    assert not any(piece.space_before for piece in found[:4])


_WORDS = {
    "en": [
        "I'm",
        "twenty",
        "one",
        "$5",
        "dogs,",
        "um",
        "(yes)",
        "—",
        "21",
        "e-mail",
        "don't",
        "Mr.",
    ],
    "fr": ["L’homme", "vingt", "et", "un", "50%", "cœur,", "1", "000", "€", "«", "oui", "»"],
    "zh": ["你好，", "21", "個", "GPT", "写", "50%", "“", "两", "年", "2024", "。", "ok"],
    "hi": ["मैं", "२१", "लोग", "।", "हूँ"],
}


@given(data=st.data())
def test_pieces_lose_no_unit_and_no_written_character(data):
    language = data.draw(st.sampled_from(sorted(_WORDS)))
    words = data.draw(st.lists(st.sampled_from(_WORDS[language]), max_size=12))
    text = (
        data.draw(st.sampled_from(["", " "])).join(words) if language == "zh" else " ".join(words)
    )
    found = pieces(text, language)
    assert tuple(unit for piece in found for unit in piece.units) == units(text, language)
    if found:
        written = "".join(piece.written for piece in found)
        assert written.replace(" ", "") == text.replace(" ", "")


@given(
    text=st.one_of(
        st.text(max_size=40), st.text("0123456789.,:/%$€°º ℃-aéh'’[<(年两零下点ー개시", max_size=20)
    ),
    language=st.sampled_from(sorted({row[0] for row in PANEL} | {"und"})),
)
def test_any_text_at_all_has_units_and_pieces(text, language):
    found = pieces(text, language)
    assert tuple(unit for piece in found for unit in piece.units) == units(text, language)
    assert all(unit and not unit.isspace() for unit in units(text, language))
