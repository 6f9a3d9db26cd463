"""English sentences and their one correct French translation, with gender, agreement and elision.

"the old owl does not like my green trees" -> "le vieux hibou n'aime pas mes arbres verts". Every English sentence of the
grammar has exactly one reading and one translation, so a model's output is right or wrong, and `translate` tells. Some pairs
of adjective and noun are held out of training: whoever translates them has learnt rules, not pairs.
Source: the lecture, "Encoder-decoder model example: machine translation".
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from lecture_lib.corpora.draws import draw, randomness, size
from lecture_lib.corpora.french import (
    ADJECTIVES,
    DETERMINERS,
    NOUNS,
    VERBS,
    Adjective,
    Noun,
    Verb,
    elide,
    noun_words,
    of,
    replace_article,
)

INDEFINITE = ("a", "some")
HELD_OUT = frozenset(
    {
        ("red", "house"),
        ("green", "tree"),
        ("black", "cat"),
        ("white", "horse"),
        ("sad", "queen"),
        ("old", "tree"),
        ("beautiful", "bird"),
        ("small", "school"),
        ("strange", "story"),
        ("new", "hotel"),
    }
)


@dataclass(frozen=True)
class NounPhrase:
    """A noun with determiner, adjectives (those that precede it in French first) and perhaps an owner."""

    noun: Noun
    plural: bool
    determiner: tuple[str, str]
    adjectives: tuple[Adjective, ...] = ()
    owner: "NounPhrase | None" = None

    def english(self) -> list[str]:
        """Say it in English, one token per word."""
        words = [adjective.english for adjective in self.adjectives]
        words.append(self.noun.english_plural if self.plural else self.noun.english)
        determiner = self.determiner[self.plural]
        article = "an" if determiner == "a" and words[0][0] in "aeiou" else determiner
        return [article, *words, *(["of", *self.owner.english()] if self.owner else [])]

    def french(self) -> list[str]:
        """Say it in French, one token per word; "l'" is a token."""
        words = noun_words(self.noun, self.plural, self.determiner, self.adjectives)
        if self.owner is None:
            return words
        return words + of(self.owner.french(), self.owner.plural and self.owner.determiner == INDEFINITE)

    def alignment(self) -> list[tuple[int, int]]:
        """Give pairs (place of a French word, place of the English word that it translates)."""
        order = [i for i, each in enumerate(self.adjectives) if each.precedes]
        order += [len(self.adjectives)] + [i for i, each in enumerate(self.adjectives) if not each.precedes]
        links = [(0, 0), *((place, i + 1) for place, i in enumerate(order, 1))]
        if self.owner is None:
            return links
        start, n_words = len(links), len(self.owner.french())
        shift = len(self.french()) - start - n_words  # 0: of and the article are one word, as in du, des
        owner = [(start + shift + f, start + 1 + e) for f, e in self.owner.alignment()]
        return [*links, (start, start), *owner]

    def pairs(self) -> set[tuple[str, str]]:
        """Give the pairs (adjective, noun) in it, in English, singular."""
        own = {(adjective.english, self.noun.english) for adjective in self.adjectives}
        return own | (self.owner.pairs() if self.owner else set())


@dataclass(frozen=True)
class Clause:
    """Who does, or does not do, what to whom."""

    subject: NounPhrase
    verb: Verb
    negated: bool
    object: NounPhrase

    def english(self) -> list[str]:
        """Say it in English, one token per word."""
        if self.negated:
            verb = ["do" if self.subject.plural else "does", "not", *self.verb.english.split()]
        else:
            verb = (self.verb.english if self.subject.plural else self.verb.english_singular).split()
        return [*self.subject.english(), *verb, *self.object.english()]

    def french(self) -> list[str]:
        """Say it in French, one token per word; "l'" and "n'" are tokens."""
        verb = self.verb.french_plural if self.subject.plural else self.verb.french
        target = self.object.french()
        if self.negated:
            target = replace_article(target) if self.object.determiner == INDEFINITE else target
            return [*self.subject.french(), elide("ne", verb), verb, "pas", *target]
        return [*self.subject.french(), verb, *target]

    def alignment(self) -> list[tuple[int, int]]:
        """Give pairs (place of a French word, place of an English word that it translates); do and does have no partner."""
        f, e = len(self.subject.french()), len(self.subject.english())
        links = self.subject.alignment()
        if self.negated:
            links += [(f, e + 1), (f + 2, e + 1)]  # ne and pas
        n_verb = len(self.english()) - e - 2 * self.negated - len(self.object.english())
        links += [(f + self.negated, e + 2 * self.negated + i) for i in range(n_verb)]
        f, e = f + 1 + 2 * self.negated, e + 2 * self.negated + n_verb
        return sorted([*links, *((f + i, e + j) for i, j in self.object.alignment())])

    def pairs(self) -> set[tuple[str, str]]:
        """Give the pairs (adjective, noun) in it, in English, singular."""
        return self.subject.pairs() | self.object.pairs()


def sentence_pairs(n_pairs: int, seed: int, held_out: bool = False) -> list[tuple[list[str], list[str]]]:
    """Draw sentences and translate them: pairs (English tokens, French tokens), some of which may occur again.

    A longer list begins with the shorter one of the same seed. `held_out` False: no pair of `HELD_OUT` occurs in them; True: at
    least one does, in each.
    """
    n_pairs, rng = size(n_pairs, "pairs"), randomness(seed)
    found = []
    while len(found) < n_pairs:
        clause = _clause(rng)
        if bool(clause.pairs() & HELD_OUT) == held_out:
            found.append((clause.english(), clause.french()))
    return found


def vocabulary() -> tuple[list[str], list[str]]:
    """Give all English and all French tokens, each alphabetically."""
    english = {"an", "of", "not", "do", "does"} | {word for pair in DETERMINERS for word in pair}
    french = {"l'", "d'", "n'", "ne", "pas", "de", "du", "cet"} | {
        word for row in DETERMINERS.values() for word in row
    }
    for noun in NOUNS:
        english |= {noun.english, noun.english_plural}
        french |= {noun.french, noun.french_plural}
    for adjective in ADJECTIVES:
        english.add(adjective.english)
        french |= set(adjective.forms.values())
    for verb in VERBS:
        english |= {*verb.english.split(), *verb.english_singular.split()}
        french |= {verb.french, verb.french_plural}
    return sorted(english), sorted(french)


def text(tokens: Sequence[str]) -> str:
    """Write tokens as a line: spaces between them, but none after an apostrophe."""
    return " ".join(tokens).replace("' ", "'")


def translate(english: str | Sequence[str]) -> list[str]:
    """Translate a sentence of the grammar, text or tokens: the one correct answer; another sentence is refused, as in `parse`."""
    return parse(english.split() if isinstance(english, str) else english).french()


def alignment(english: str | Sequence[str]) -> list[tuple[int, int]]:
    """Say which words of a sentence belong together: pairs (place in French, place in English), from 0, in order.

    A French word may translate two English ones (cherche: looks for; du: of the), and an English one may become two (not: ne pas).
    Another sentence is refused, as in `parse`.

    Example:
        >>> alignment("the cat sees a red car")  # le chat voit une voiture rouge
        [(0, 0), (1, 1), (2, 2), (3, 3), (4, 5), (5, 4)]
    """
    return parse(english.split() if isinstance(english, str) else english).alignment()


def _clause(rng: random.Random) -> Clause:
    return Clause(
        subject=_noun_phrase(rng, ("person", "animal")),
        verb=draw(rng, VERBS),
        negated=rng.random() < 0.3,
        object=_noun_phrase(rng, ("person", "animal", "thing")),
    )


def _noun_phrase(rng: random.Random, kinds: tuple[str, ...], may_have_owner: bool = True) -> NounPhrase:
    """Draw a noun phrase: 30 of 100 are plural, 55 have an adjective that precedes, 45 one that follows."""
    noun, plural = draw(rng, [noun for noun in NOUNS if noun.kind in kinds]), rng.random() < 0.3
    adjectives = []
    for precedes, share in ((True, 0.55), (False, 0.45)):
        if rng.random() < share:
            fitting = [a for a in ADJECTIVES if a.precedes is precedes and noun.kind in a.kinds]
            adjectives.append(draw(rng, fitting))
    owned = may_have_owner and noun.kind != "person" and rng.random() < 0.25
    owner = _noun_phrase(rng, ("person",), may_have_owner=False) if owned else None
    # "my cat of the queen" has an owner too many.
    determiner = draw(rng, list(DETERMINERS)[: 3 if owned else None])
    return NounPhrase(noun, plural, determiner, tuple(adjectives), owner)


def parse(tokens: Sequence[str]) -> Clause:
    """Read the tokens of an English sentence of the grammar, and refuse others, saying from which word on."""
    subject, rest = _read_noun_phrase(list(tokens))
    negated = rest[1:2] == ["not"]
    if negated and rest[0] != ("do" if subject.plural else "does"):
        raise ValueError(f"subject and {rest[0]!r} do not agree")
    rest = rest[2:] if negated else rest
    for verb in VERBS:
        form = (verb.english if subject.plural or negated else verb.english_singular).split()
        if rest[: len(form)] == form:
            target, rest = _read_noun_phrase(rest[len(form) :])
            if rest:
                raise ValueError(f"the sentence should end before {' '.join(rest)!r}")
            return Clause(subject, verb, negated, target)
    raise ValueError(f"no verb of the grammar, in the right form, begins {' '.join(rest)!r}")


def _read_noun_phrase(words: list[str]) -> tuple[NounPhrase, list[str]]:
    """Read a noun phrase off the front; what follows it is returned too."""
    n = 1
    adjectives = {adjective.english: adjective for adjective in ADJECTIVES}
    while n < len(words) and words[n] in adjectives:
        n += 1
    for noun in NOUNS:
        for plural in (False, True):
            for determiner in DETERMINERS:
                phrase = NounPhrase(noun, plural, determiner, tuple(adjectives[word] for word in words[1:n]))
                if phrase.english() != words[: n + 1]:
                    continue
                if words[n + 1 : n + 2] != ["of"]:
                    return phrase, words[n + 1 :]
                owner, rest = _read_noun_phrase(words[n + 2 :])
                return NounPhrase(noun, plural, determiner, phrase.adjectives, owner), rest
    raise ValueError(f"no noun phrase of the grammar begins {' '.join(words)!r}")
