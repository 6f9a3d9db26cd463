"""The French half of the translation grammar: words with their genders, and the rules that join them.

Rules: articles and adjectives agree in gender and number; most adjectives follow the noun, a few short ones precede it;
le, la, de, ne lose their vowel before a vowel or mute h (l'arbre, d'un, n'aime); de + le = du, de + les = des, some = des,
but de before an adjective or after a negation (also for un, une); ma becomes mon, beau bel, ce cet before such a sound.
A token that ends in an apostrophe is written together with the next one.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Noun:
    """An English noun and its French one, both with plural, and the French gender ("m" or "f")."""

    english: str
    english_plural: str
    french: str
    french_plural: str
    gender: str
    kind: str  # "person", "animal" or "thing"


@dataclass(frozen=True)
class Adjective:
    """An English adjective and the four French forms, the form before a vowel (m. sg.) and the place."""

    english: str
    forms: dict[str, str]  # "ms", "fs", "mp", "fp", and "mv": masculine singular before a vowel
    precedes: bool
    kinds: tuple[str, ...]  # kinds of nouns that it describes


@dataclass(frozen=True)
class Verb:
    """A verb as English base form and third person, French third person singular and plural."""

    english: str
    english_singular: str
    french: str
    french_plural: str


def _nouns(kind: str, table: str) -> list[Noun]:
    """Read rows "english french gender"; after a slash stands an irregular plural."""
    nouns = []
    for english, french, gender in (row.split() for row in table.split(",")):
        one, _, many = english.partition("/")
        un, _, des = french.partition("/")
        nouns.append(Noun(one, many or one + "s", un, des or _plural(un), gender, kind))
    return nouns


def _plural(word: str) -> str:
    """Give the regular French plural of a noun or adjective."""
    if word[-1] in "sx":
        return word
    return word + "x" if word.endswith("eau") else word + "s"


def _adjectives(kinds: str, precedes: bool, table: str) -> list[Adjective]:
    """Read rows "english masculine feminine [masculine before a vowel]"."""
    adjectives = []
    for english, m, f, *before_vowel in (row.split() for row in table.split(",")):
        forms = {"ms": m, "fs": f, "mp": _plural(m), "fp": _plural(f), "mv": (before_vowel or [m])[0]}
        adjectives.append(Adjective(english, forms, precedes, tuple(kinds.split())))
    return adjectives


NOUNS = [
    *_nouns(
        "person",
        "man/men homme m, woman/women femme f, uncle oncle m, aunt tante f, king roi m, queen reine f,"
        "child/children enfant m",
    ),
    *_nouns(
        "animal",
        "dog chien m, cat chat m, horse cheval/chevaux m, owl hibou/hiboux m, bird oiseau m, cow vache f,"
        "mouse/mice souris f",
    ),
    *_nouns(
        "thing",
        "house maison f, car voiture f, tree arbre m, school école f, book livre m, table table f,"
        "flower fleur f, apple pomme f, hat chapeau m, star étoile f, island île f, window fenêtre f,"
        "bridge pont m,"
        "story/stories histoire f, hotel hôtel m, gift cadeau m, church/churches église f, garden jardin m",
    ),
]
ADJECTIVES = [
    *_adjectives(
        "person animal thing",
        True,
        "small petit petite, big grand grande, beautiful beau belle bel, old vieux vieille vieil,"
        "new nouveau nouvelle nouvel, good bon bonne",
    ),
    *_adjectives("person animal", True, "young jeune jeune"),
    *_adjectives("person animal thing", False, "strange étrange étrange, famous célèbre célèbre"),
    *_adjectives("person animal", False, "happy heureux heureuse, sad triste triste"),
    *_adjectives(
        "animal thing",
        False,
        "red rouge rouge, black noir noire, white blanc blanche, green vert verte, gray gris grise,"
        "blue bleu bleue",
    ),
]
VERBS = [
    Verb(*row.split("|"))
    for row in (
        "see|sees|voit|voient",
        "like|likes|aime|aiment",
        "look for|looks for|cherche|cherchent",
        "find|finds|trouve|trouvent",
        "watch|watches|regarde|regardent",
        "listen to|listens to|écoute|écoutent",
        "hide|hides|cache|cachent",
        "wait for|waits for|attend|attendent",
        "paint|paints|peint|peignent",
        "forget|forgets|oublie|oublient",
    )
]
DETERMINERS = {  # English (singular, plural) -> French m, f, plural
    ("the", "the"): ("le", "la", "les"),
    ("a", "some"): ("un", "une", "des"),
    ("this", "these"): ("ce", "cette", "ces"),
    ("my", "my"): ("mon", "ma", "mes"),
    ("her", "her"): ("son", "sa", "ses"),
}
ELIDED = {"le": "l'", "la": "l'", "de": "d'", "ne": "n'", "ce": "cet", "ma": "mon", "sa": "son"}
CONTRACTED = {"le": ("du",), "la": ("de", "la"), "l'": ("de", "l'"), "les": ("des",)}


def starts_with_vowel(word: str) -> bool:
    """Tell words that ask for elision: a vowel or a mute h. The h of hibou is not mute: le hibou."""
    return word[0] in "aeiouyhàâéèêëîïôöùûüœ" and not word.startswith("hibou")


def noun_words(
    noun: Noun, plural: bool, determiner: tuple[str, str], adjectives: Sequence[Adjective]
) -> list[str]:
    """Say a noun with determiner and adjectives: ["l'", "arbre", "vert"]; each adjective finds its place by itself."""
    name = noun.french_plural if plural else noun.french
    words = [name]
    for adjective in reversed([a for a in adjectives if a.precedes]):
        elides = noun.gender == "m" and not plural and starts_with_vowel(words[0])
        words.insert(0, adjective.forms["mv" if elides else noun.gender + "sp"[plural]])
    article = DETERMINERS[determiner][2 if plural else "mf".index(noun.gender)]
    if article == "des" and words[0] != name:
        article = "de"
    if not plural and starts_with_vowel(words[0]) or article == "de":
        article = elide(article, words[0])
    return [article, *words, *(a.forms[noun.gender + "sp"[plural]] for a in adjectives if not a.precedes)]


def elide(word: str, following: str) -> str:
    """Give the form of le, la, de, ne, ce, ma, sa before the word that follows."""
    return ELIDED.get(word, word) if starts_with_vowel(following) else word


def replace_article(words: Sequence[str]) -> list[str]:
    """Put de in the place of un, une, des, as a negation does: (il ne voit) pas de chat, pas d'arbres."""
    return [elide("de", words[1]), *words[1:]]


def of(words: Sequence[str], indefinite_plural: bool) -> list[str]:
    """Put de before a noun phrase: du chien, de l'arbre, d'un roi; "de + des" leaves de alone: de chats.

    `indefinite_plural`: the phrase begins with the plural of un (des, de or d').
    """
    if indefinite_plural:
        return replace_article(words)
    if words[0] in CONTRACTED:
        return [*CONTRACTED[words[0]], *words[1:]]
    return [elide("de", words[0]), *words]
