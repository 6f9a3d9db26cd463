"""Sentences about things, animals, persons and food; the probability of a hidden word is known exactly.

A sentence is drawn in two steps: a frame (a row of slots) by its probability, then each slot's word by its weight. Given the
frame the words are independent, so conditional probabilities are sums over a dozen frames. What a masked language model
learns from such sentences ("red" comes before "car" and "dress", never before "swims") can be held against these numbers.
Source: the lecture, "Encoder models: pre-training"; Devlin et al. (2019), section 3.1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lecture_lib.corpora.draws import draw_weighted, randomness, size

MASK = "<mask>"
TOPICS = ("thing", "animal", "person", "food")


@dataclass(frozen=True)
class Frame:
    """One shape of sentence: its topic, its probability and its slots, each a table word -> probability."""

    topic: str
    probability: float
    slots: tuple[Mapping[str, float], ...]


@dataclass(frozen=True)
class Sentence:
    """A drawn sentence: its words, its topic, and for each word the kind of noun it is, or "none"."""

    words: tuple[str, ...]
    topic: str
    word_topics: tuple[str, ...]

    def __str__(self) -> str:
        """Join the words by spaces."""
        return " ".join(self.words)


# Slots: words with weights; a word without a number has weight 1.
WORDS = {
    "vehicle": "car 4 train 3 bus 2 bicycle 2 truck boat",
    "garment": "dress 3 coat 2 hat 2 shirt scarf",
    "animal": "dog 4 cat 3 horse 2 bird 2 fish otter",
    "person": "teacher 3 doctor 2 student 2 farmer singer cook",
    "food": "soup 3 lasagna 2 bread 2 cheese 2 apple cake",
    "of a vehicle": "red 4 fast 3 old 2 new 2 blue empty",
    "of a garment": "red 3 blue 2 new 2 old long silk",
    "of an animal": "brown 3 small 3 wild 2 hungry 2 old young fast",
    "of a person": "young 3 old 3 kind 2 clever 2 tired hungry",
    "of food": "hot 3 fresh 3 sweet 2 cold 2 salty strange",
    "travels": "passes 3 leaves 2 reaches 2 enters",
    "stop": "station 4 bridge 2 city 2 harbour tunnel",
    "hangs": "hangs 2 lies",
    "shelf": "wardrobe 2 shop 2 window suitcase",
    "chases": "chases 3 watches 2 follows 2 hears",
    "moves": "sleeps 3 runs 2 swims 2 jumps",
    "where": "in 3 near 2 under behind",
    "outdoors": "garden 3 river 2 field 2 forest",
    "reads": "reads 3 writes 2 finds 2 forgets",
    "text": "book 3 letter 2 story 2 newspaper",
    "eats": "eats 4 cooks 2 buys orders",
    "drives": "drives 3 sells 2 repairs washes",
    "wears": "wears 3 sews mends",
    "tastes": "smells 2 tastes 2 looks",
    "taste": "good 3 delicious 2 strange sweet",
    "cools": "cools 2 waits burns",
    "kitchen": "table 2 stove plate",
}


def _slot(name: str) -> dict[str, float]:
    """Read a row of `WORDS` (or a fixed word) as word -> probability."""
    fields, weights = WORDS.get(name, name).split(), {}
    for i, field in enumerate(fields):
        if not field.isdigit():
            weights[field] = (
                float(fields[i + 1]) if fields[i + 1 : i + 2] and fields[i + 1].isdigit() else 1.0
            )
    return {word: weight / sum(weights.values()) for word, weight in weights.items()}


def _frame(topic: str, probability: float, pattern: str) -> Frame:
    return Frame(topic, probability, tuple(_slot(name.strip()) for name in pattern.split("|")))


FRAMES = (
    _frame("thing", 0.10, "the | of a vehicle | vehicle | travels | the | stop"),
    _frame("thing", 0.05, "the | train 6 bus 2 car | pulls | into | the | station"),
    _frame("thing", 0.10, "the | of a garment | garment | hangs | where | the | shelf"),
    _frame("animal", 0.13, "the | of an animal | animal | chases | the | animal"),
    _frame("animal", 0.12, "the | of an animal | animal | moves | where | the | outdoors"),
    _frame("person", 0.10, "the | of a person | person | reads | the | text"),
    _frame("person", 0.07, "the | person | eats | the | of food | food"),
    _frame("person", 0.05, "the | person | drives | the | of a vehicle | vehicle"),
    _frame("person", 0.03, "the | person | wears | the | of a garment | garment"),
    _frame("food", 0.13, "the | of food | food | tastes | taste"),
    _frame("food", 0.12, "the | of food | food | cools | on | the | kitchen"),
)
KIND = {
    word: topic
    for topic, names in zip(
        TOPICS, (("vehicle", "garment"), ("animal",), ("person",), ("food",)), strict=True
    )
    for name in names
    for word in _slot(name)
}


def vocabulary() -> list[str]:
    """Give every word of the grammar, alphabetically, without `MASK`."""
    return sorted({word for frame in FRAMES for slot in frame.slots for word in slot})


def sentences(n_sentences: int, seed: int) -> list[Sentence]:
    """Draw sentences of 5 to 7 words; a longer list begins with the shorter one of the same seed."""
    n_sentences, rng = size(n_sentences, "sentences"), randomness(seed)
    weights = {i: frame.probability for i, frame in enumerate(FRAMES)}
    drawn = []
    for _ in range(n_sentences):
        frame = FRAMES[draw_weighted(rng, weights)]
        words = tuple(draw_weighted(rng, slot) for slot in frame.slots)
        drawn.append(Sentence(words, frame.topic, tuple(KIND.get(word, "none") for word in words)))
    return drawn


def probability(words: Sequence[str]) -> float:
    """Sum over frames of P(frame) times the product of P(word | slot); a masked word counts as any word."""
    return sum(_frame_probabilities(words))


def mask_distribution(words: Sequence[str], position: int) -> dict[str, float]:
    r"""P(word at `position` | all the other words), exactly: what an ideal masked language model would say.

    Other words may be hidden by `MASK` too; the word at `position`, from 0, is not looked at. The likeliest words stand
    first, those that cannot stand there are left out; a sentence that the grammar cannot make is refused.
    """
    if not 0 <= position < len(words):
        raise ValueError(f"position {position} is not in a sentence of {len(words)} words")
    hidden = [*words[:position], MASK, *words[position + 1 :]]
    total = _possible(hidden)
    found: dict[str, float] = {}
    for frame, p in zip(FRAMES, _frame_probabilities(hidden), strict=True):
        for word, p_word in frame.slots[position].items() if p else ():
            found[word] = found.get(word, 0.0) + p * p_word / total
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def topic_distribution(words: Sequence[str]) -> dict[str, float]:
    """P(topic | words) for the four `TOPICS`, exactly, `MASK` where a word is hidden; what is no sentence is refused."""
    total = _possible(words)
    by_frame = list(zip(FRAMES, _frame_probabilities(words), strict=True))
    return {topic: sum(p for frame, p in by_frame if frame.topic == topic) / total for topic in TOPICS}


def _possible(words: Sequence[str]) -> float:
    total = probability(words)
    if total == 0:
        raise ValueError(f"the grammar has no sentence like {' '.join(words)!r}")
    return total


def _frame_probabilities(words: Sequence[str]) -> list[float]:
    """Give P(frame, words) for each frame; 0 where the lengths differ."""
    return [
        frame.probability
        * (len(frame.slots) == len(words))
        * math.prod(
            1.0 if w == MASK else slot.get(w, 0.0) for w, slot in zip(words, frame.slots, strict=False)
        )
        for frame in FRAMES
    ]
