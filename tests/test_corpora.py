"""Corpora: real English from this installation, and made text whose statistics are known exactly."""

import itertools
import math
import random
import re
import subprocess
import sys
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lecture_lib.corpora import masked_words, politeness, questions, snapshots, translation, word_problems
from lecture_lib.corpora.draws import draw_weighted
from lecture_lib.corpora.english import english_paragraphs, english_text, is_prose, prose_paragraphs, split_of
from lecture_lib.corpora.hidden_markov import HiddenMarkovSource
from lecture_lib.corpora.markov import MarkovSource
from lecture_lib.corpora.masked_words import MASK
from lecture_lib.corpora.regression import prompt_tokens, regression_tasks, ridge_predictions
from lecture_lib.corpora.samples import SAMPLES

GENERATORS = {
    "masked_words": masked_words.sentences,
    "translation": translation.sentence_pairs,
    "word_problems": word_problems.problems,
    "documents": questions.documents,
    "demonstrations": questions.demonstrations,
    "comparisons": questions.comparisons,
    "snapshots": lambda n, seed: snapshots.snapshots(snapshots.hidden_ring(6, 0), n, seed).tolist(),
    "markov": lambda n, seed: MarkovSource.random(5, 0).sample(n, seed).tolist(),
    "hidden markov": lambda n, seed: HiddenMarkovSource.random(3, 4, 0).sample(n, seed)[0].tolist(),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_the_seed_alone_decides_and_more_continues_less(name):
    make = GENERATORS[name]
    assert make(0, 0) == []
    assert make(20, 7) == make(50, 7)[:20]
    assert make(20, 7) != make(20, 8)
    with pytest.raises(ValueError, match="the number of .* must be an integer, 0 or more, got -1"):
        make(-1, 0)


@pytest.mark.parametrize("name", GENERATORS)
def test_numbers_of_numpy_make_the_same_corpus(name):
    make = GENERATORS[name]
    for kind in (np.int64, np.int32, np.uint8):
        assert make(kind(5), kind(7)) == make(5, 7)
    for wrong in (2.5, "3", True, None):
        with pytest.raises(
            ValueError, match=f"the number of .* must be an integer, 0 or more, got {wrong!r}"
        ):
            make(wrong, 0)


def test_numbers_of_numpy_make_the_same_tasks():
    two, three = np.int64(2), np.uint8(3)
    for ours, theirs in zip(
        regression_tasks(two, three, two, two, np.float32(0.5)),
        regression_tasks(2, 3, 2, 2, 0.5),
        strict=True,
    ):
        assert (ours == theirs).all()
    assert word_problems.problems(two, three, two) == word_problems.problems(2, 3, 2)
    sources = [MarkovSource.random(kind(3), kind(1), kind(2), 1.5) for kind in (int, np.int64)]
    assert (sources[0].transitions == sources[1].transitions).all() and type(sources[1].vocab_size) is int
    sources = [HiddenMarkovSource.random(kind(3), kind(2), kind(1)) for kind in (int, np.int64)]
    assert (sources[0].transitions == sources[1].transitions).all()
    assert sources[1].entropy_bounds(three) == sources[0].entropy_bounds(3)
    with pytest.raises(ValueError, match="noise must be a number, 0 or more, got -1"):
        regression_tasks(2, 3, 2, 2, noise=-1)


def test_the_first_draws_are_those_of_every_python_version():
    assert masked_words.sentences(1, 0)[0].words == ("the", "fresh", "soup", "tastes", "good")
    assert translation.text(translation.sentence_pairs(1, 0)[0][0]) == "my big bird finds a big book"
    assert word_problems.problems(1, 0)[0].steps == ("4 - 3 = 1 .", "1 + 1 = 2 .", "2 - 1 = 1 .")
    assert questions.demonstrations(1, 0)[0][0] == "what is the colour of lavender ?"


def test_draw_weighted_follows_the_weights():
    rng = random.Random(3)
    counts = Counter(draw_weighted(rng, {"a": 1.0, "b": 3.0, "never": 0.0}) for _ in range(4000))
    assert set(counts) == {"a", "b"}
    assert abs(counts["b"] - 3000) < 5 * math.sqrt(4000 * 0.25 * 0.75)


# --- real English ---


def test_english_is_a_megabyte_of_distinct_prose():
    paragraphs = english_paragraphs()
    assert len(english_text().encode()) > 700_000
    assert len(set(paragraphs)) == len(paragraphs)
    assert all(is_prose(paragraph) and "\n" not in paragraph for paragraph in paragraphs)
    # In printed English "the" is 5 to 7 of 100 words; in code it is none.
    words = re.findall("[a-z]+", english_text().lower())
    assert 0.04 < words.count("the") / len(words) < 0.12


def test_english_splits_share_nothing_and_miss_nothing():
    train, validation = english_paragraphs(split="train"), english_paragraphs(split="validation")
    assert set(train).isdisjoint(validation)
    assert sorted(train + validation) == sorted(english_paragraphs())
    assert 0.03 < len(validation) / len(train) < 0.08
    assert all(split_of(paragraph) == "validation" for paragraph in validation)


def test_english_min_bytes_is_reached_and_is_a_beginning_of_the_whole():
    n_bytes = len(english_text(50_000).encode())
    assert 50_000 <= n_bytes < 60_000
    assert english_text().startswith(english_text(50_000))
    beyond = english_text(len(english_text().encode()) + 100_000)
    assert beyond.startswith(english_text()) and len(beyond) > len(english_text())


@pytest.mark.slow
def test_english_is_the_same_in_another_process():
    code = "from lecture_lib.corpora.english import english_text; import zlib; print(zlib.crc32(english_text().encode()))"
    sums = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)
    }
    assert len(sums) == 1


def test_prose_is_told_from_code_and_markup_is_removed():
    text = """
    The method of :class:`~collections.Model` returns the *first* item that
    ``close()`` has left in the queue.

    def f(x): return x if the and of to is in that a

    x = 1 and y = 2 if the of to a in is.

    Too short a line.

    Raises: ValueError if the item is not in the list of items.
    """
    expected = "The method of collections.Model returns the first item that close has left in the queue."
    assert list(prose_paragraphs(text)) == [expected]
    assert list(prose_paragraphs("")) == []


def test_english_errors():
    with pytest.raises(ValueError, match="split must be one of train, validation, None; got 'test'"):
        english_paragraphs(split="test")
    with pytest.raises(ValueError, match="min_bytes must be a positive integer, got 0"):
        english_paragraphs(0)


@pytest.mark.slow
def test_english_of_more_than_the_installation_holds():
    with pytest.raises(ValueError, match="fewer than the 1000000000000 asked for"):
        english_text(10**12)


# --- samples in many scripts ---


def test_samples_cover_the_scripts_they_name():
    first, last = {}, {}
    for name, text in SAMPLES.items():
        codes = sorted(ord(character) for character in text if character.isalpha())
        first[name], last[name] = codes[len(codes) // 10], codes[-1 - len(codes) // 10]
    blocks = {
        "greek": (0x370, 0x400),
        "russian": (0x400, 0x500),
        "arabic": (0x600, 0x700),
        "chinese": (0x4E00, 0xA000),
    }
    for name, (low, high) in blocks.items():
        assert low <= first[name] and last[name] < high
    compile(SAMPLES["code"], "sample", "exec")
    assert unicodedata.normalize("NFC", SAMPLES["emoji"]) != SAMPLES["emoji"]
    assert "\u200d" in SAMPLES["emoji"]  # emoji joined of several


# --- hidden words ---


def every_sentence():
    """Enumerate all the sentences with their probabilities: the slow road to what masked_words works out by frames."""
    total = Counter()
    for frame in masked_words.FRAMES:
        for words in itertools.product(*frame.slots):
            p = frame.probability * math.prod(
                slot[word] for slot, word in zip(frame.slots, words, strict=True)
            )
            total[words] += p
    return total


def test_a_train_pulls_into_the_station_and_a_lasagna_does_not():
    guess = masked_words.mask_distribution(f"the {MASK} pulls into the station".split(), 1)
    assert guess["train"] == pytest.approx(6 / 9)
    assert "lasagna" not in guess
    after_red = masked_words.mask_distribution(f"the red {MASK} {MASK} in the {MASK}".split(), 2)
    assert "dress" in after_red and "swims" not in after_red


def test_masked_words_equal_enumeration():
    sentences = every_sentence()
    assert sum(sentences.values()) == pytest.approx(1)
    rng = random.Random(0)
    for sentence in masked_words.sentences(25, 1):
        words = list(sentence.words)
        position = int(rng.random() * len(words))
        others = [MASK if i != position and rng.random() < 0.3 else word for i, word in enumerate(words)]
        expected = Counter()
        for candidate, p in sentences.items():
            if len(candidate) == len(words) and all(
                i == position or other in (MASK, word)
                for i, (other, word) in enumerate(zip(others, candidate, strict=True))
            ):
                expected[candidate[position]] += p
        found = masked_words.mask_distribution(others, position)
        assert set(found) == set(expected)
        for word in found:
            assert found[word] == pytest.approx(expected[word] / sum(expected.values()))
        assert masked_words.probability(words) == pytest.approx(sentences[sentence.words])


def test_drawn_sentences_have_the_probabilities_they_are_said_to_have():
    n = 20_000
    drawn = masked_words.sentences(n, 5)
    third = Counter(sentence.words[2] for sentence in drawn if len(sentence.words) == 6)
    expected = masked_words.mask_distribution([MASK] * 6, 2)
    n_long = sum(third.values())
    for word, p in expected.items():
        assert abs(third[word] - n_long * p) < 5 * math.sqrt(n_long * p * (1 - p)) + 1
    assert {word for sentence in drawn for word in sentence.words} == set(masked_words.vocabulary())


def test_topics_are_those_of_bayes():
    assert masked_words.topic_distribution(f"the {MASK} {MASK} smells good".split())["food"] == pytest.approx(
        1
    )
    hidden = [MASK] * 6
    of_all = masked_words.topic_distribution(hidden)
    six_words = [f for f in masked_words.FRAMES if len(f.slots) == 6]
    animal = sum(f.probability for f in six_words if f.topic == "animal")
    assert of_all["animal"] == pytest.approx(animal / sum(f.probability for f in six_words))
    sentence = masked_words.sentences(200, 0)[1]
    assert sentence.word_topics[sentence.words.index("bread")] == "food"


def test_masked_words_errors():
    with pytest.raises(ValueError, match="position 5 is not in a sentence of 5 words"):
        masked_words.mask_distribution(["the", "hot", "soup", "smells", "good"], 5)
    with pytest.raises(ValueError, match="no sentence like"):
        masked_words.mask_distribution(["the", "soup", "swims"], 1)


# --- English to French ---

TRANSLATIONS = """
the cat sees a house | le chat voit une maison
the old owl does not like my green trees | le vieux hibou n'aime pas mes arbres verts
an old man hides the new hotel | un vieil homme cache le nouvel hôtel
these women do not wait for the beautiful bird | ces femmes n'attendent pas le bel oiseau
her aunt forgets this tree | sa tante oublie cet arbre
my young uncle watches her school | mon jeune oncle regarde son école
some small cats find the dog of the king | de petits chats trouvent le chien du roi
the child looks for the horse of an uncle | l'enfant cherche le cheval d'un oncle
the queen does not see a black cat | la reine ne voit pas de chat noir
the queen does not see an owl | la reine ne voit pas de hibou
the king does not like some old trees | le roi n'aime pas de vieux arbres
the king does not like a star | le roi n'aime pas d'étoile
the birds of the children listen to the mouse of the man | les oiseaux des enfants écoutent la souris de l'homme
this strange owl paints these churches | ce hibou étrange peint ces églises
the dogs of some men hide her good white hats | les chiens d'hommes cachent ses bons chapeaux blancs
the horse of some old queens likes her big red apple | le cheval de vieilles reines aime sa grande pomme rouge
the happy cow forgets the mouse of her uncle | la vache heureuse oublie la souris de son oncle
"""


@pytest.mark.parametrize("line", TRANSLATIONS.strip().splitlines())
def test_translations_made_by_hand(line):
    english, french = line.split(" | ")
    assert translation.text(translation.translate(english)) == french


@pytest.mark.slow
def test_every_sentence_has_one_reading_and_its_translation():
    english_words, french_words = (set(words) for words in translation.vocabulary())
    for english, french in translation.sentence_pairs(600, 3):
        assert translation.translate(english) == french
        assert translation.parse(english).english() == english
        assert english_words >= set(english) and french_words >= set(french)


def test_no_vowel_stands_before_a_vowel_where_french_elides():
    text = " ".join(translation.text(french) for _, french in translation.sentence_pairs(1500, 4))
    vowel = "(?:[aeiouéèêâîôœ]|h(?!ibou))"
    assert re.search(rf"\b[ldn]'{vowel}", text)
    assert not re.search(rf"\b(?:le|la|de|ne|ce|ma|sa|beau|nouveau) {vowel}", text)
    assert not re.search(rf"\b[ldn]'(?!{vowel})|\bde les?\b", text)


@pytest.mark.slow
def test_held_out_pairs_are_in_all_or_in_none():
    for held_out in (False, True):
        for english, _ in translation.sentence_pairs(300, 6, held_out=held_out):
            assert bool(translation.parse(english).pairs() & translation.HELD_OUT) == held_out
    seen = set()
    for english, _ in translation.sentence_pairs(1000, 7):
        seen |= translation.parse(english).pairs()
    for adjective, noun in translation.HELD_OUT:  # each word alone is met in training
        assert any(a == adjective for a, _ in seen) and any(n == noun for _, n in seen)


@pytest.mark.parametrize(
    "english",
    ["", "the", "the cat", "the cat see a house", "the cats does not see a house", "a owl sees the king",
     "the cat sees a house today", "the cat sees", "le chat voit une maison", "some cat sees a house"],
)  # fmt: skip
def test_translate_refuses_what_is_not_of_the_grammar(english):
    with pytest.raises(ValueError):
        translation.translate(english)


ALIGNED = """
the cat sees a red car | the-le cat-chat sees-voit a-une car-voiture red-rouge
the old owl does not like my green trees | the-le old-vieux owl-hibou not-n' like-aime not-pas my-mes trees-arbres green-verts
the child looks for the horse of an uncle | the-l' child-enfant looks-cherche for-cherche the-le horse-cheval of-d' an-un uncle-oncle
the cows find the small black dog of the king | the-les cows-vaches find-trouvent the-le small-petit dog-chien black-noir of-du the-du king-roi
"""


@pytest.mark.parametrize("line", ALIGNED.strip().splitlines())
def test_alignment_by_hand(line):
    english, pairs = (each.split() for each in line.split(" | "))
    french = translation.translate(english)
    found = [f"{english[e]}-{french[f]}" for f, e in translation.alignment(" ".join(english))]
    assert found == pairs


@pytest.mark.slow
def test_aligned_words_are_pairs_of_the_dictionary():
    partners = {}
    for noun in translation.NOUNS:
        partners |= {noun.english: {noun.french}, noun.english_plural: {noun.french_plural}}
    for adjective in translation.ADJECTIVES:
        partners[adjective.english] = set(adjective.forms.values())
    for verb in translation.VERBS:
        for word in {*verb.english.split(), *verb.english_singular.split()}:
            partners.setdefault(word, set()).update({verb.french, verb.french_plural})
    for english, french in translation.sentence_pairs(800, 9):
        links = translation.alignment(english)
        assert {f for f, _ in links} == set(range(len(french)))
        assert {english[e] for e in set(range(len(english))) - {e for _, e in links}} <= {"do", "does"}
        for f, e in links:
            assert french[f] in partners.get(english[e], {french[f]})


# --- Markov and hidden Markov sources ---


def test_entropy_rate_of_sources_known_in_closed_form():
    p, q = 0.2, 0.05  # two states that are left with probabilities p and q
    source = MarkovSource(np.array([[1 - p, p], [q, 1 - q]]))
    h = lambda x: -x * math.log(x) - (1 - x) * math.log(1 - x)  # noqa: E731
    assert source.stationary == pytest.approx([q / (p + q), p / (p + q)])
    assert source.entropy_rate == pytest.approx((q * h(p) + p * h(q)) / (p + q))
    assert MarkovSource(np.full((9, 3), 1 / 3)).order == 2
    assert MarkovSource(np.full((9, 3), 1 / 3)).entropy_rate == pytest.approx(math.log(3))
    assert MarkovSource(np.eye(3)[[1, 2, 0]]).entropy_rate == pytest.approx(0)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_markov_rate_is_the_limit_of_block_entropies(order):
    """H(X_1..X_n) - H(X_1..X_n-1) by enumeration of all texts, each weighed by the source's own predictions."""
    source = MarkovSource.random(3, seed=order, order=order)
    block = []
    for n in (order + 1, order + 2):
        probabilities = [
            math.prod(source.next_distributions(text)[range(n), text])
            for text in itertools.product(range(3), repeat=n)
        ]
        assert sum(probabilities) == pytest.approx(1)
        block.append(-sum(p * math.log(p) for p in probabilities))
    assert block[1] - block[0] == pytest.approx(source.entropy_rate)


def test_a_long_text_costs_the_entropy_rate():
    source = MarkovSource.random(6, seed=1, order=2)
    ids = source.sample(20_000, seed=2)
    losses = -np.log(source.next_distributions(ids)[np.arange(len(ids)), ids])
    assert losses.mean() == pytest.approx(source.entropy_rate, abs=6 * losses.std() / math.sqrt(len(ids)))
    counts = np.bincount(ids, minlength=6) / len(ids)
    shares = source.stationary.reshape(6, 6).sum(axis=0)
    assert counts == pytest.approx(shares, abs=0.03)


def joint_probability(source, ids):
    """Sum over all paths of hidden states, one by one."""
    total = 0.0
    for path in itertools.product(range(len(source.transitions)), repeat=len(ids)):
        p = source.stationary[path[0]]
        for a, b in itertools.pairwise(path):
            p *= source.transitions[a, b]
        total += p * math.prod(source.emissions[state, token] for state, token in zip(path, ids, strict=True))
    return total


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(0, 100), st.data())
def test_hidden_markov_predictions_equal_the_sum_over_paths(ids, seed, data):
    source = HiddenMarkovSource.random(3, 4, seed)
    predicted = source.next_distributions(ids)
    for n in range(len(ids)):
        past = joint_probability(source, ids[:n]) if n else 1.0
        expected = [joint_probability(source, [*ids[:n], token]) / past for token in range(4)]
        assert predicted[n] == pytest.approx(expected)
    masked = data.draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    n = data.draw(st.integers(0, len(ids) - 1))
    choices = [range(4) if hidden or i == n else [ids[i]] for i, hidden in enumerate(masked)]
    weights = np.zeros(4)
    for text in itertools.product(*choices):
        weights[text[n]] += joint_probability(source, text)
    assert source.masked_distributions(ids, masked)[n] == pytest.approx(weights / weights.sum())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(0, 100))
def test_hidden_markov_beliefs_equal_the_sum_over_paths(ids, seed):
    source = HiddenMarkovSource.random(3, 4, seed)
    beliefs = source.beliefs(ids)
    for n in range(len(ids)):
        ends = np.zeros(3)  # P(text so far, last state)
        for path in itertools.product(range(3), repeat=n + 1):
            p = source.stationary[path[0]]
            p *= math.prod(source.transitions[a, b] for a, b in itertools.pairwise(path))
            ends[path[-1]] += p * math.prod(source.emissions[s, t] for s, t in zip(path, ids, strict=False))
        assert beliefs[n] == pytest.approx(ends / ends.sum())
    both = source.beliefs(np.array([[ids, ids[::-1]]]))  # (1, 2, N, K)
    assert both.shape == (1, 2, len(ids), 3)
    assert both[0, 0] == pytest.approx(beliefs)
    assert both[0, 1] == pytest.approx(source.beliefs(ids[::-1]))


def test_a_symmetric_source_is_mess3():
    source = HiddenMarkovSource.symmetric()
    # Shai et al. (2024), with alpha = 0.85 and x = 0.05: p(token, next state | state) for token 0
    table = source.transitions * source.emissions[:, 0]
    expected = [[0.765, 0.00375, 0.00375], [0.0425, 0.0675, 0.00375], [0.0425, 0.00375, 0.0675]]
    assert table == pytest.approx(np.array(expected))
    assert source.stationary == pytest.approx([1 / 3] * 3)
    assert source.beliefs([0])[0] == pytest.approx([0.85, 0.075, 0.075])
    assert source.entropy_bounds(1)[1] == pytest.approx(math.log(3))
    sure = HiddenMarkovSource.symmetric(4, stay=0.7, right=1.0)
    assert sure.transitions[1] == pytest.approx([0.1, 0.7, 0.1, 0.1])
    assert sure.entropy_bounds(3)[1] == pytest.approx(-0.7 * math.log(0.7) - 0.3 * math.log(0.1))


def test_hidden_markov_bounds_close_in_from_both_sides():
    source = HiddenMarkovSource.random(3, 4, seed=1)
    lower, upper = zip(*(source.entropy_bounds(n) for n in range(1, 9)), strict=True)
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(lower))
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(upper))
    assert 0 < upper[-1] - lower[-1] < 1e-5
    assert lower[0] == pytest.approx(
        source.stationary @ -(source.emissions * np.log(source.emissions)).sum(axis=1)
    )
    ids, _ = source.sample(20_000, seed=3)
    losses = -np.log(source.next_distributions(ids)[np.arange(len(ids)), ids])
    assert losses.mean() == pytest.approx(lower[-1], abs=6 * losses.std() / math.sqrt(len(ids)))


def test_a_hidden_source_that_shows_its_states_is_a_markov_source():
    walk = MarkovSource.random(4, seed=5)
    shown = HiddenMarkovSource(walk.transitions, np.eye(4))
    assert shown.entropy_bounds(2) == pytest.approx((walk.entropy_rate, walk.entropy_rate))
    ids, states = shown.sample(50, seed=0)
    assert (ids == states).all()
    assert shown.next_distributions(ids) == pytest.approx(walk.next_distributions(ids))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MarkovSource(np.full((6, 3), 1 / 3)), r"S\^order rows for S columns, got \(6, 3\)"),
        (lambda: MarkovSource(np.array([[0.5, 0.6], [0.5, 0.5]])), "sum to 1"),
        (lambda: MarkovSource(np.array([[1.5, -0.5], [0.5, 0.5]])), "sum to 1"),
        (lambda: MarkovSource(np.array([[np.nan, 1.0], [0.5, 0.5]])), "sum to 1"),
        (lambda: MarkovSource(np.ones(1)), "a table with a row per condition"),
        (lambda: MarkovSource(np.eye(2)), "falls apart into pieces"),
        (lambda: MarkovSource.random(3, 0).next_distributions([0, 3]), "ids must lie in 0 ... 2, got 0 ... 3"),
        (lambda: MarkovSource(np.eye(3)[[1, 2, 0]]).next_distributions([0, 2]), "cannot emit token 2 at position 1"),
        (lambda: HiddenMarkovSource(np.eye(2)[[1, 0]], np.ones((3, 1))), r"got \(2, 2\) and \(3, 1\)"),
        (lambda: HiddenMarkovSource.random(2, 3, 0).entropy_bounds(0), "n must be a positive integer, got 0"),
        (lambda: HiddenMarkovSource.random(2, 3, 0).entropy_bounds(20), "up to a million texts"),
        (lambda: HiddenMarkovSource.symmetric(1), "number of states must be an integer, 2 or more, got 1"),
        (lambda: HiddenMarkovSource.symmetric(stay=1.5), "stay must be a probability, 0 to 1, got 1.5"),
        (lambda: HiddenMarkovSource.symmetric().beliefs([0, 3]), "ids must lie in 0 ... 2, got 0 ... 3"),
        (lambda: HiddenMarkovSource(np.full((2, 2), 0.5), np.eye(2)[[0, 0]]).beliefs([[0, 1]]), "up to position 1"),
        (lambda: HiddenMarkovSource.random(2, 3, 0).masked_distributions([0, 1], [True]), "must have one shape"),
    ],
)  # fmt: skip
def test_source_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- word problems ---


def test_word_problems_can_be_solved_from_the_question_alone():
    assert (
        word_problems.solve(
            "roger has 5 balls to start . roger buys 2 cans of 3 . how many balls does roger have ?"
        )
        == 11
    )
    for n_steps in (1, 3, 5):
        for problem in word_problems.problems(300, 0, n_steps=n_steps):
            assert len(problem.question.split()) == 7 * (n_steps + 2)
            assert len(problem.steps) == n_steps
            assert word_problems.solve(problem.question) == problem.answer
            assert word_problems.steps_are_right(problem.worked())
            assert problem.worked().endswith(f"{problem.answer} . the answer is {problem.answer} .")
            numbers = [int(n) for n in re.findall(r"\d+", problem.question + problem.worked())]
            assert min(numbers) >= 0 and max(numbers) <= word_problems.LARGEST


def test_word_problem_vocabulary_is_what_is_used():
    drawn = word_problems.problems(4000, 1)
    assert {t for p in drawn for t in f"{p.question} {p.worked()}".split()} == set(word_problems.vocabulary())
    operations = Counter(
        sentence for p in drawn for sentence in re.findall("buys|gives|finds|doubles", p.question)
    )
    assert min(operations.values()) > 0.15 * sum(operations.values())


def test_wrong_arithmetic_is_seen():
    assert word_problems.steps_are_right("4 - 3 = 1 . 2 * 3 = 6 . the answer is 6 .")
    assert not word_problems.steps_are_right("4 - 3 = 1 . 2 * 3 = 7 .")
    assert not word_problems.steps_are_right("the answer is 7 .")


def test_word_problem_errors():
    with pytest.raises(ValueError, match="n_steps must be a positive integer, got 0"):
        word_problems.problems(1, 0, n_steps=0)
    with pytest.raises(ValueError, match="not a sentence of the word problems"):
        word_problems.solve("roger eats 5 balls . how many balls does roger have ?")
    with pytest.raises(ValueError, match="does not end in a question"):
        word_problems.solve("roger has 5 balls to start .")


# --- in-context regression ---


def test_ridge_is_what_a_loop_over_tasks_finds():
    X, y, _ = regression_tasks(5, 7, 3, seed=0, noise=0.2)
    predictions = ridge_predictions(X, y, noise=0.2)
    for task in range(5):
        for n in range(7):
            A, b = X[task, :n], y[task, :n]
            # The posterior mean by rows of data stacked on sqrt(lambda) rows of prior, solved as least squares.
            stacked = np.vstack([A, 0.2 * math.sqrt(3) * np.eye(3)])
            w = np.linalg.lstsq(stacked, np.concatenate([b, np.zeros(3)]), rcond=None)[0]
            assert predictions[task, n] == pytest.approx(X[task, n] @ w)


def test_regression_statistics_and_the_fall_of_the_error():
    X, y, w = regression_tasks(4000, 9, 2, seed=1, noise=0.1)
    residual = y - np.einsum("bnd,bd->bn", X, w)
    assert residual.std() == pytest.approx(0.1 * math.sqrt(2), rel=0.03)
    error = ((ridge_predictions(X, y) - y) ** 2).mean(axis=0) / 2
    assert error[0] == pytest.approx(1.01, abs=0.1)
    assert error[8] < 0.03 and (np.diff(error) < 0.01).all()
    exact, y_exact, _ = regression_tasks(3, 5, 2, seed=2, noise=0.0)
    assert ridge_predictions(exact, y_exact, noise=0.0)[:, 2:] == pytest.approx(y_exact[:, 2:])


def test_prompt_tokens_show_y_only_after_it_was_asked_for():
    X, y, _ = regression_tasks(2, 3, 4, seed=3)
    tokens = prompt_tokens(X, y)
    assert tokens.shape == (2, 6, 6)
    assert (tokens[:, 0::2, :4] == X).all() and (tokens[:, 1::2, :4] == X).all()
    assert (tokens[:, 0::2, 4:] == 0).all()
    assert (tokens[:, 1::2, 4] == y).all() and (tokens[:, 1::2, 5] == 1).all()
    for function in (prompt_tokens, ridge_predictions):
        with pytest.raises(ValueError, match=r"got \(2, 3, 4\) and \(2, 5\)"):
            function(X, np.zeros((2, 5)))


# --- questions and answers ---


def test_the_rater_scores_what_the_docstring_says():
    question = "what is the capital of france ?"
    for reply, expected in {
        "the capital of france is paris .": 1,
        "sure , the capital of france is paris . happy to help .": 2,
        "obviously , the capital of france is paris . do not ask again .": 0,
        "sure , the capital of france is rome .": 0,
        "the capital of france is rome . what a silly question .": -2,
        "sure , sure , the capital of france is paris .": -3,
        "what is the capital of italy ?": -3,
        "": -3,
    }.items():
        assert questions.score(question, reply) == expected
    with pytest.raises(ValueError, match="not one of the questions"):
        questions.score("who are you ?", "paris")


def test_comparisons_follow_bradley_and_terry():
    drawn = questions.comparisons(4000, 0)
    gaps = [questions.score(c.question, c.chosen) - questions.score(c.question, c.rejected) for c in drawn]
    for gap in (1, 2, 3):
        wins, losses = gaps.count(gap), gaps.count(-gap)
        p = 1 / (1 + math.exp(-gap))
        assert abs(wins - (wins + losses) * p) < 5 * math.sqrt((wins + losses) * p * (1 - p))
    assert all(questions.score(c.question, reply) > -3 for c in drawn for reply in (c.chosen, c.rejected))


def test_demonstrations_are_true_and_documents_babble_or_tell():
    table = questions.questions()
    assert len(table) == 24
    for question, reply in questions.demonstrations(300, 0):
        assert questions.score(question, reply) >= 0 and table[question] in reply
    texts = questions.documents(300, 0)
    assert 100 < sum(text.count("?") == 4 for text in texts) < 200
    words = {t for text in texts for t in text.split()} | {
        t for pair in questions.demonstrations(300, 1) for s in pair for t in s.split()
    }
    assert words == set(questions.vocabulary())


# ------------------------------------------------------------------------------------------------------------ spins


def boltzmann_by_loops(J):
    """exp(sum over bonds) of every state, normalised, by plain loops."""
    n, weights = len(J), {}
    for state in itertools.product((-1, 1), repeat=n):
        bonds = sum(J[a, b] * state[a] * state[b] for a in range(n) for b in range(a))
        weights[state] = math.exp(bonds)
    total = sum(weights.values())
    return {state: weight / total for state, weight in weights.items()}


def test_one_hidden_spin_is_a_logistic_function_of_its_field():
    J = snapshots.hidden_ring(9, seed=3)
    s = snapshots.snapshots(J, 1, seed=1)[0]
    for place in range(9):
        found = snapshots.masked_posterior(J, s, np.arange(9) == place)
        assert found == pytest.approx(1 / (1 + math.exp(-2 * J[place] @ s)), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), hidden=st.lists(st.booleans(), min_size=6, max_size=6))
def test_posteriors_of_spins_are_those_of_the_whole_table(seed, hidden):
    J, hidden = snapshots.hidden_ring(6, seed), np.array(hidden)
    table = boltzmann_by_loops(J)
    assert snapshots.boltzmann(J) == pytest.approx(list(table.values()), abs=1e-12)
    s = snapshots.snapshots(J, 1, seed)[0]
    fits = {x: p for x, p in table.items() if all(h or a == b for a, b, h in zip(x, s, hidden, strict=True))}
    expected = [
        sum(p for x, p in fits.items() if x[i] > 0) / sum(fits.values()) for i in np.flatnonzero(hidden)
    ]
    blank = np.where(hidden, 0, s)
    assert snapshots.masked_posterior(J, s, hidden) == pytest.approx(np.array(expected), abs=1e-12)
    assert (snapshots.masked_posterior(J, blank, hidden) == snapshots.masked_posterior(J, s, hidden)).all()


@pytest.mark.slow
def test_snapshots_come_as_often_as_their_probabilities_say():
    J = snapshots.hidden_ring(4, seed=2, n_chords=1)
    drawn, p = snapshots.snapshots(J, 20_000, seed=0), snapshots.boltzmann(J)
    states = snapshots.all_spins(4).tolist()
    counts = np.bincount([states.index(s) for s in drawn.tolist()], minlength=16)
    assert ((counts - 20_000 * p) ** 2 / (20_000 * p)).sum() < 60  # chi-squared, 15 degrees of freedom
    assert drawn.dtype == np.float64 and set(np.unique(drawn)) == {-1.0, 1.0}


@pytest.mark.slow
def test_the_floor_of_the_masked_loss_is_the_entropy_of_the_posterior():
    """Over many snapshots with one hidden spin: sum over all states of p(s) times the entropy given the others."""
    J = snapshots.hidden_ring(5, seed=4)
    table, place = boltzmann_by_loops(J), 2
    exact = 0.0
    for state, p in table.items():
        other = (*state[:place], -state[place], *state[place + 1 :])
        exact -= p * math.log(p / (p + table[other]))
    spins = snapshots.snapshots(J, 20_000, seed=5)
    hidden = np.broadcast_to(np.arange(5) == place, spins.shape)
    assert snapshots.masked_floor(J, spins, hidden) == pytest.approx(exact, abs=0.01)


def test_a_hidden_ring_has_its_bonds():
    for seed in range(20):
        J = snapshots.hidden_ring(8, seed, n_chords=3)
        assert (J == J.T).all() and not J.diagonal().any()
        strengths = np.abs(J[np.triu_indices(8, 1)])
        assert ((strengths == 0) | ((strengths >= 0.5) & (strengths <= 1))).all() and (
            strengths > 0
        ).sum() == 11
        assert (J != 0).sum(axis=1).min() >= 2
    assert (snapshots.hidden_ring(8, 0, 0) != 0).sum() == 16


def test_spins_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="n_spins must be an integer, 3 or more, got 2"):
        snapshots.hidden_ring(2, 0)
    with pytest.raises(ValueError, match="a ring of 4 spins has room for 2 chords, got 3"):
        snapshots.hidden_ring(4, 0)
    with pytest.raises(ValueError, match="all states of up to 16 spins can be listed, got 17"):
        snapshots.boltzmann(np.zeros((17, 17)))


# --- politeness ---


def test_politeness_lists_every_reply_once_with_its_probability_and_its_value():
    replies = politeness.replies()
    assert replies.shape == (15_625, 6) and len(np.unique(replies, axis=0)) == 15_625
    P = politeness.transitions(0)
    assert P.shape == (5, 5) and np.allclose(P.sum(1), 1) and np.allclose(P[:, 0], 0.15)
    log_probs = politeness.log_probs(P, replies)
    assert np.exp(log_probs).sum() == pytest.approx(1)
    p, last = 1.0, politeness.START
    for word in replies[777]:
        p, last = p * P[last, word], word
    assert np.exp(log_probs[777]) == pytest.approx(p)
    n_please = np.array([politeness.text(reply).split().count("please") for reply in replies[::50]])
    assert (politeness.true_values(replies)[::50] == np.array(politeness.VALUES)[n_please]).all()


def test_politeness_counts_words_and_neighbours():
    counts = politeness.counts(np.array([[0, 0, 4, 0, 4, 1]]))[0]
    assert counts[:5].tolist() == [3, 1, 0, 0, 2] and counts.sum() == 6 + 5
    assert counts[5 + 0 * 5 + 4] == 2 and counts[5 + 4 * 5 + 1] == 1
