"""Where one clause may end and another begin: closed classes of words, a language at a time.

No parser: a clause begins with a conjunction, a relative word, a subject pronoun or a discourse
word, and none ends on a word that leans on the next, such as an article, a preposition, an
auxiliary or a hesitation. Nouns, verbs and adjectives decide nothing, so a hesitation inside a
phrase is never taken for a boundary. Languages without an entry have no known boundaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


@dataclass(frozen=True)
class ClauseWords:
    """`openers` begin a clause, `leaning` words never end one; both in lower case.

    `shortest` is the least number of words on each side, up to the nearest mark. `spaced` is
    False for scripts whose words are single characters: entries are then strings of those.
    """

    openers: frozenset[str]
    leaning: frozenset[str]
    shortest: int = 2
    spaced: bool = True


CLAUSE_WORDS = {
    "en": ClauseWords(
        openers=_words(
            "and but or nor so yet because although though while whereas unless until since if",
            "when whenever where wherever which who whom whose then therefore however",
            "i he she it we they you there i'm i've i'll i'd he's she's it's we're we've we'll",
            "they're they've you're you've that's there's let's",
            "okay well yes no oh please",
        ),
        leaning=_words(
            "a an the this these those my your his her its our their some any every each no",
            "of in on at by for with from to into onto upon about over under between through",
            "during without within as than like",
            "am is are was were be been being has have had do does did will would shall should",
            "can could may might must isn't aren't wasn't weren't don't doesn't didn't won't",
            "wouldn't can't couldn't i'm you're he's she's it's we're they're that's there's",
            "and but or nor so if because when while although though since unless until whether",
            "that which who whose where what how very too more most just",
            "i he she we they uh um er hm hmm",
        ),
    ),
    "de": ClauseWords(
        openers=_words(
            "und aber oder denn sondern weil dass ob wenn als während obwohl damit bevor nachdem",
            "sodass falls indem wo wie ich er sie es wir ihr man",
        ),
        leaning=_words(
            "der die das den dem des ein eine einen einem einer eines mein dein sein kein jeder",
            "in im an am auf bei mit nach von vom zu zum zur für durch über unter aus ohne gegen",
            "ist sind war waren bin bist hat habe haben hatte wird werden wurde kann muss soll",
            "und aber oder denn weil dass ob wenn als sehr zu nicht äh ähm",
        ),
    ),
    "es": ClauseWords(
        openers=_words(
            "y e pero o u sino porque aunque mientras cuando donde si que quien cuyo pues así",
            "yo él ella nosotros ellos ellas usted ustedes",
        ),
        leaning=_words(
            "el la los las un una unos unas mi tu su sus este esta estos estas cada",
            "de del a al en con por para sin sobre entre desde hasta según",
            "es son era eran fue ser ha han he había está están puede muy más tan",
            "y e pero o u que si porque cuando no eh",
        ),
    ),
    "fr": ClauseWords(
        openers=_words(
            "et mais ou donc car parce lorsque quand si puisque quoique tandis où qui dont",
            "je j'ai il elle on nous vous ils elles c'est",
        ),
        leaning=_words(
            "le la les un une des du de ce cet cette ces mon ma mes ton ta son sa ses leur leurs",
            "à au aux en dans par pour avec sans sous sur entre vers chez",
            "est sont était étaient être a ont avait peut très plus ne pas",
            "et mais ou que qui si car quand je tu il elle nous vous ils elles euh",
        ),
    ),
    "zh": ClauseWords(
        openers=_words(
            "但是 可是 不过 然而 而且 并且 所以 因此 于是 因为 由于 如果 要是 虽然 尽管 即使 只要",
            "只有 除非 然后 接着 那么 否则 或者 而是 同时 我 你 他 她 它 我们 你们 他们 这 那",
        ),
        leaning=_words(
            "的 地 得 把 被 在 和 跟 与 及 从 向 对 对于 给 为 为了 比 让 使 是 很 太 更 最 不 没",
            "一个 这个 那个 每 各 以 由 因为 如果 虽然 但是 所以 而且 嗯 呃",
        ),
        shortest=4,
        spaced=False,
    ),
}


def leans(words: Sequence[str], index: int, language: str) -> bool:
    """True where the word at `index` can't end a clause."""
    known = CLAUSE_WORDS[language]
    if known.spaced:
        return _plain(words[index]) in known.leaning
    before = "".join(words[max(0, index - 1) : index + 1])
    return before.endswith(tuple(known.leaning))


def opens(words: Sequence[str], index: int, language: str) -> bool:
    """True where the word at `index` begins a clause."""
    known = CLAUSE_WORDS[language]
    if known.spaced:
        return _plain(words[index]) in known.openers
    return "".join(words[index : index + 2]).startswith(tuple(known.openers))


def _plain(word: str) -> str:
    return word.lower().replace("’", "'")
