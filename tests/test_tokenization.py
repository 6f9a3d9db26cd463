"""Tokenization: the lecture's example, the `tokenizers` library as oracle, properties, errors."""

import json
import pickle
import random
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import regex
import tiktoken
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers.implementations import BertWordPieceTokenizer

from lecture_lib import tokenization
from lecture_lib.tokenization import (
    BytePairTokenizer,
    WordPieceTokenizer,
    bytes_per_token,
    decode_tokens,
    encode_long_word,
    encode_word,
    fertility,
    learn_merges,
    learn_merges_incrementally,
    longest_match,
    merge,
    pair_counts,
    spell,
    unspell,
)
from lecture_lib.tokenization.chunks import CHUNK, count_words
from lecture_lib.tokenization.descriptions import describe_split
from lecture_lib.tokenization.fast_encoding import MergeTable, _LongWord
from lecture_lib.tokenization.pipeline import build_splitter
from lecture_lib.tokenization.streaming import encode_in_blocks

TEXTS = {
    "English": "It takes great courage to let yourself appear weak. The trophy did not fit, it's too big; we'll see.",
    "German": "Der Süßwasserfisch schwimmt über die Straße, während Ärzte größere Übungen prüfen.",
    "French": "L'élève a déjà lu où l'œuvre du cœur s'achève ; ça ne va pas, n'est-ce pas ?",
    "Greek": "Ο Σίσυφος κυλά τον βράχο του ως την κορυφή.",
    "Russian": "Сила равна массе, умноженной на ускорение.",
    "Chinese": "语言模型把文字切成小块，再把小块变成数字。",
    "Hindi": "भाषा मॉडल शब्दों को टुकड़ों में बाँटते हैं।",
    "Arabic": "تقسم النماذج اللغوية النص إلى أجزاء صغيرة.",
    "code": "def f(x, n=3):\n    # ==========\n\treturn [x**i for i in range(n)]  # ----------\r\n\n\n",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 😀😀😀 👍🏽",
    "combining": "e\u0301 n\u0303 a\u0308\u0323 é ñ ạ̈ Å Å ﬁ",
    "repeats": "aaaaaaa aaa ------ ------- hahahahaha ====== ======== \n\n\n\n      x        y",
    "odd": "\x00 \x1c\x85\u00a0\u2003\u200b\ufeff\ufffd ² Ⅷ ١٢٣ 1234567 _x_ İ ſ K don't WON'T",
}
CORPUS = list(TEXTS.values())
NEVER_SEEN = (
    "Quantum chromodynamics, naïve café: 量子色动力学 — «тест» £9.99 🧪\n\tfor k, v in d.items():  pass"
)
LLAMA3 = (  # as it stands in the tokenizer.json of Llama 3
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN = LLAMA3.replace("{1,3}", "")
PATTERNS = {
    "gpt2": tokenization.GPT2_PATTERN,
    "gpt4": LLAMA3,
    "llama3": LLAMA3,
    "qwen": QWEN,
    r"[\p{L}\p{M}]+|\p{N}": r"[\p{L}\p{M}]+|\p{N}",
}

# All characters but lone surrogates and those that no Unicode version has assigned yet: of the latter two
# libraries with tables of different age say different things.
texts = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=40)
pieces = st.lists(
    st.sampled_from([*chain.from_iterable(CORPUS), *CORPUS, "<s>", "  ", "'s", "\r\n"]), max_size=12
)
any_text = texts | pieces.map("".join)


def library_tokenizer(corpus, vocab_size, special=(), min_frequency=0):
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special),
        min_frequency=min_frequency,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def model_of(tokenizer):
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], model["merges"]


@pytest.fixture(scope="module")
def own():
    return BytePairTokenizer.train(CORPUS, 600, special_tokens=["<s>", "<|endoftext|>"])


@pytest.fixture(scope="module")
def library(own, tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "tokenizer.json"
    own.save(path)
    return tokenizers.Tokenizer.from_file(str(path))


# --- worked examples ---------------------------------------------------------------------------------------


def test_the_first_merges_of_low_lower_lowest():
    words = {(0, 1, 2): 5, (0, 1, 2, 3, 4): 2, (0, 1, 2, 3, 5, 6): 3}  # l o w e r s t
    assert pair_counts(words) == {(0, 1): 10, (1, 2): 10, (2, 3): 5, (3, 4): 2, (3, 5): 3, (5, 6): 3}
    assert learn_merges(words, 3, first_new_id=7) == [(0, 1), (7, 2), (8, 3)]  # lo, low, lowe
    assert encode_word([0, 1, 2, 5], {(0, 1): (0, 7), (7, 2): (1, 8), (8, 3): (2, 9)}) == [8, 5]


def test_a_sentence_of_the_lecture_round_trips(own):
    sentence = "It takes great courage to let yourself appear weak."
    ids = own.encode(sentence)
    assert own.decode(ids) == sentence
    assert len(ids) < len(sentence) / 2
    assert "".join(own.id_to_token(i) for i in ids) == sentence.replace(" ", "Ġ")


def test_greedy_longest_match_is_not_the_fewest_pieces():
    vocabulary = {"a", "ab", "##b", "##c", "##cd", "##bcd", "##d"}
    assert longest_match("abcd", vocabulary) == ["ab", "##cd"]
    assert longest_match("abcde", vocabulary) == ["[UNK]"]
    assert longest_match("", vocabulary) == []


def test_measures(own):
    assert bytes_per_token(BytePairTokenizer.train("a", 256), "déjà") == 1.0
    assert fertility(BytePairTokenizer.train("ab ab", 258), "ab ab abc") == 4 / 3  # ab, Ġab, Ġab c


# --- against the tokenizers library: training ---------------------------------------------------------------


@pytest.mark.parametrize("vocab_size", [256, 300, 700])
@pytest.mark.parametrize("name", TEXTS)
def test_merges_are_those_of_the_library(name, vocab_size):
    corpus = [TEXTS[name], TEXTS["English"]]
    vocab, merges = model_of(library_tokenizer(corpus, vocab_size, ["<s>"][: vocab_size - 256]))
    own = BytePairTokenizer.train(corpus, vocab_size, ["<s>"][: vocab_size - 256])
    assert own.model["merges"] == merges
    assert own.model["vocab"] == vocab


def test_merges_on_repeating_text_with_equal_counts():
    """Runs of one character make two merges spell the same token; equal counts are everywhere."""
    draw = random.Random(0)
    for _ in range(40):
        alphabet = draw.sample(
            ["a", "b", "-", "==", "aaa", " ", "\n", "é", "中", "文", "😀", "ab", "'s", "  "], 4
        )
        corpus = ["".join(draw.choices(alphabet, k=draw.randrange(1, 60))) for _ in range(6)]
        vocab_size, min_frequency = 257 + draw.randrange(100), draw.randrange(4)
        vocab, merges = model_of(library_tokenizer(corpus, vocab_size, ["<s>"], min_frequency))
        own = BytePairTokenizer.train(corpus, vocab_size, ["<s>"], min_frequency)
        assert (own.model["vocab"], own.model["merges"]) == (vocab, merges), corpus


@pytest.mark.slow
def test_merges_on_megabytes_of_real_text():
    from lecture_lib.corpora.english import english_paragraphs

    corpus = [*english_paragraphs(min_bytes=3_000_000), *CORPUS]
    vocab, merges = model_of(library_tokenizer(corpus, 30_000))
    own = BytePairTokenizer.train(corpus, 30_000)
    assert own.model["merges"] == merges
    assert own.model["vocab"] == vocab


def test_training_stops_when_every_word_is_one_token():
    own = BytePairTokenizer.train(["low low"], 10_000)
    assert own.vocab_size == 256 + 3 == library_tokenizer(["low low"], 10_000).get_vocab_size()  # lo low Ġlow


def test_special_tokens_come_first_and_may_be_characters_of_the_alphabet():
    special = ["<s>", "a", "İ é", "<s>"]
    vocab, merges = model_of(library_tokenizer(CORPUS, 400, special))
    own = BytePairTokenizer.train(CORPUS, 400, special)
    assert (own.model["vocab"], own.model["merges"]) == (vocab, merges)
    assert own.encode("<s>") == [0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab ", min_size=1, max_size=9), min_size=1, max_size=6), st.integers(0, 12))
def test_incremental_training_is_the_counting_loop(corpus, n_merges):
    """On words without runs of one token; with runs the library's rule for double spellings applies."""
    corpus = [regex.sub(r"(.)\1+", r"\1", word) for word in corpus]
    words = {tuple("ab ".index(c) for c in word): corpus.count(word) for word in corpus}
    tokens = ["a", "b", " "]
    coded = {"".join(map(chr, word)): frequency for word, frequency in words.items()}
    merges = learn_merges_incrementally(coded, tokens, 3 + n_merges)
    slow = learn_merges(words, n_merges, first_new_id=3)
    spelled = ["a", "b", " "]
    for left, right in slow:
        spelled.append(spelled[left] + spelled[right])
    if len(set(spelled)) == len(spelled):
        assert merges == slow


# --- against the tokenizers library: files and ids ----------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(any_text)
@example(NEVER_SEEN)
@example("")
@example("<s><|endoftext|> <s>x<s")
def test_the_saved_file_gives_the_same_ids_in_the_library(own, library, text):
    ids = own.encode(text)
    assert ids == library.encode(text).ids
    assert own.decode(ids) == text == library.decode(ids, skip_special_tokens=False)


def test_id_to_token_is_that_of_the_library(own, library):
    assert own.vocab_size == library.get_vocab_size()
    for i in range(own.vocab_size):
        assert own.id_to_token(i) == library.id_to_token(i)
        assert own.token_to_id(own.id_to_token(i)) == i


def test_saving_and_loading_keeps_everything(own, tmp_path):
    own.save(tmp_path / "tokenizer.json")
    again = BytePairTokenizer.load(tmp_path / "tokenizer.json")
    assert again.description == json.loads(json.dumps(own.description))
    assert again.encode(NEVER_SEEN + "<s>") == own.encode(NEVER_SEEN + "<s>")
    again.save(tmp_path / "tokenizer.json")  # over itself
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


def test_gpt2_files_load(tmp_path):
    trained = library_tokenizer(CORPUS, 500, ["<|endoftext|>"])
    vocab, merges = trained.model.save(str(tmp_path))
    assert Path(merges).read_text(encoding="utf-8").startswith("#version")
    own = BytePairTokenizer.from_gpt2_files(vocab, merges)
    for text in [*CORPUS, NEVER_SEEN, "a<|endoftext|>b"]:
        assert own.encode(text) == trained.encode(text).ids
    assert own.special_tokens == {"<|endoftext|>": 0}
    assert "#" in own.vocabulary  # a merge of "#" is no comment


SPLITS = {
    "GPT-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "RoBERTa": lambda: pre_tokenizers.ByteLevel(add_prefix_space=True),
    "Llama 3": lambda: split_sequence(pre_tokenizers.Split(Regex(LLAMA3), "isolated")),
    "Qwen": lambda: split_sequence(pre_tokenizers.Split(Regex(QWEN), "isolated")),
    "GPT-4": lambda: split_sequence(pre_tokenizers.Split(Regex(LLAMA3), "removed", invert=True)),
    "digits": lambda: split_sequence(pre_tokenizers.Digits(individual_digits=True)),
    "string": lambda: split_sequence(pre_tokenizers.Split("a", "isolated")),
    "groups": lambda: split_sequence(pre_tokenizers.Split(Regex("(a|e)+([(]x)?"), "isolated")),
    "nothing between": lambda: split_sequence(pre_tokenizers.Split(Regex("(?=[ae])"), "isolated")),
    "several": lambda: split_sequence(
        pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"),
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
    ),
}


def split_sequence(*steps):
    return pre_tokenizers.Sequence(
        [*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


def check_file(own_class, tokenizer, path, sentences):
    tokenizer.save(str(path))
    own = own_class.load(path)
    own.save(path.with_suffix(".own"))
    again = tokenizers.Tokenizer.from_file(str(path.with_suffix(".own")))
    for text in sentences:
        for special in (True, False):
            ids = tokenizer.encode(text, add_special_tokens=special).ids
            assert own.encode(text, add_special_tokens=special) == ids, text
        assert again.encode(text).ids == tokenizer.encode(text).ids
    return own


def mixed_sentences(seed, count=40):
    draw = random.Random(seed)
    parts = [
        *chain.from_iterable(CORPUS),
        *CORPUS,
        *("<s>", "<new>", "  ", "new", " ", "\n", "é", "12345") * 8,
    ]
    return [*CORPUS, NEVER_SEEN, "", *("".join(draw.choices(parts, k=12)) for _ in range(count))]


@pytest.mark.parametrize("name", SPLITS)
def test_every_family_of_byte_level_files_gives_the_same_ids(name, tmp_path):
    for seed, normalizer in enumerate((None, normalizers.NFC(), normalizers.NFKD(), normalizers.Lowercase())):
        draw = random.Random(seed)
        tokenizer = tokenizers.Tokenizer(models.BPE(ignore_merges=seed % 2 == 1))
        tokenizer.pre_tokenizer = SPLITS[name]()
        if normalizer:
            tokenizer.normalizer = normalizers.Sequence([normalizer])
        alphabet = pre_tokenizers.ByteLevel.alphabet() if seed < 3 else []  # else bytes without a token exist
        special = ["<s>", "</s>"]
        trainer = trainers.BpeTrainer(
            vocab_size=500, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(CORPUS, trainer)
        flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
        for content in draw.sample(["<new>", "new", "é", "  ", "<", "Test"], 3):
            tokenizer.add_tokens([AddedToken(content, **{flag: draw.random() < 0.5 for flag in flags})])
        tokenizer.post_processor = [
            processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]),
            processors.Sequence(
                [processors.ByteLevel(), processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])]
            ),
            processors.RobertaProcessing(("</s>", 1), ("<s>", 0)),
            processors.ByteLevel(),
        ][seed]
        check_file(BytePairTokenizer, tokenizer, tmp_path / "tokenizer.json", mixed_sentences(seed))


def test_merges_written_as_strings_and_a_token_for_unknown_bytes(tmp_path):
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(CORPUS[:2], trainer)
    path = tmp_path / "tokenizer.json"
    check_file(BytePairTokenizer, tokenizer, path, mixed_sentences(0))
    description = json.loads(path.read_text())
    description["model"]["merges"] = [" ".join(pair) for pair in description["model"]["merges"]]
    del description["model"]["type"]  # files of 2019 have none
    path.write_text(json.dumps(description))
    assert BytePairTokenizer.load(path).encode(NEVER_SEEN) == tokenizer.encode(NEVER_SEEN).ids


@pytest.mark.slow
def test_tokenizers_written_by_transformers_load(tmp_path):
    transformers = pytest.importorskip("transformers")
    trained = library_tokenizer(CORPUS, 400, ["<|endoftext|>"])
    vocab, merges = trained.model.save(str(tmp_path))
    vocab = json.loads(Path(vocab).read_text(encoding="utf-8"))
    merges = [tuple(line.split()) for line in Path(merges).read_text(encoding="utf-8").split("\n")[1:-1]]
    for family in (transformers.GPT2Tokenizer, transformers.Qwen2Tokenizer):
        tokenizer = family(vocab=vocab, merges=merges)
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
        tokenizer.save_pretrained(tmp_path)
        own = BytePairTokenizer.load(tmp_path / "tokenizer.json")
        for text in [*mixed_sentences(1), "<|im_start|>user\ne\u0301<|im_end|>"]:
            assert own.encode(text) == tokenizer(text)["input_ids"], (family, text)


@pytest.mark.parametrize("lowercase", [True, False])
def test_word_piece_gives_the_ids_of_the_library(lowercase, tmp_path):
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=12))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    sentences = [*mixed_sentences(2), "a [MASK] b[SEP]", "x" * 13, "x" * 12]
    own = check_file(WordPieceTokenizer, tokenizer, tmp_path / "tokenizer.json", sentences)
    for text in sentences:
        for skip in (True, False):
            ids = own.encode(text)
            assert own.decode(ids, skip) == tokenizer.decode(ids, skip_special_tokens=skip)
    (vocab,) = tokenizer.model.save(str(tmp_path))
    published = BertWordPieceTokenizer(vocab, lowercase=lowercase)
    own = WordPieceTokenizer.load(vocab, lowercase=lowercase)
    for text in sentences:
        assert own.encode(text) == published.encode(text).ids, text


@settings(max_examples=150, deadline=None)
@given(st.text("abc", max_size=12), st.sets(st.text("abc", min_size=1, max_size=3), max_size=9), st.data())
def test_longest_match_is_the_library_word_piece(word, starts, data):
    inside = data.draw(st.sets(st.text("abc", min_size=1, max_size=3), max_size=9))
    vocabulary = {"[UNK]", *starts, *("##" + piece for piece in inside)}
    model = models.WordPiece({token: i for i, token in enumerate(sorted(vocabulary))}, unk_token="[UNK]")
    assert longest_match(word, vocabulary) == [token.value for token in model.tokenize(word)]


def test_word_piece_training_is_the_library_but_for_ties():
    """Three characters and counts without ties: then the library has no choice either."""
    corpus = ["ab " * 50 + "abb " * 23 + "ba " * 11 + "aab " * 5]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=13, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    own = WordPieceTokenizer.train(corpus, 13)
    assert own.vocabulary.keys() == tokenizer.get_vocab().keys()
    assert own.encode("abba aabb") and own.vocab_size == 13
    assert WordPieceTokenizer.train(corpus, 13).vocabulary == own.vocabulary


# --- special tokens as text, tokens added later, patterns, gaps -------------------------------------------------


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(pieces.map("".join), st.sets(st.sampled_from(["<s>", "<|endoftext|>"])))
@example("<s><|endoftext|>", {"<s>"})
@example("a<s<|endoftext|>", set())
def test_control_tokens_are_text_where_they_are_not_asked_for(own, library, text, asked):
    text = f"<s>{text}<|endoftext|><|endoftext|"
    plain = own.encode(text, special="never")
    library.encode_special_tokens = True
    assert (
        plain == library.encode(text).ids == own.encode(text, special=False) == own.encode(text, special=())
    )
    library.encode_special_tokens = False
    assert own.encode(text, special=True) == own.encode(text) == library.encode(text).ids
    assert not set(plain) & set(own.special_tokens.values()) and own.decode(plain) == text
    ranks = {unspell(token): i for token, i in own.vocabulary.items() if token not in own.special_tokens}
    other = tiktoken.Encoding(
        "x", pat_str=tokenization.GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=own.special_tokens
    )
    assert own.encode(text, special=asked) == other.encode(text, allowed_special=asked, disallowed_special=())


def test_word_piece_reads_control_tokens_as_text_on_demand():
    own = WordPieceTokenizer.train(["[ MASK ] the mask [ cls ]"], 60)
    library = tokenizers.Tokenizer.from_str(json.dumps(own.description))
    library.encode_special_tokens = True
    text = "the [MASK] [CLS]mask"
    assert own.encode(text, special="never") == library.encode(text).ids
    assert own.token_to_id("[MASK]") in own.encode(text) and own.encode(text)[1:-1] != own.encode(
        text, False, False
    )


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_pattern_is_to_choose_and_the_library_agrees(pattern):
    trained = tokenizers.Tokenizer(models.BPE())
    trained.pre_tokenizer = (
        SPLITS["GPT-2"]()
        if pattern == "gpt2"
        else split_sequence(pre_tokenizers.Split(Regex(PATTERNS[pattern]), "isolated"))
    )
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    trained.train_from_iterator(CORPUS, trainer)
    own = BytePairTokenizer.train(CORPUS, 500, pattern=pattern)
    assert (own.model["vocab"], own.model["merges"]) == model_of(trained)
    again = tokenizers.Tokenizer.from_str(json.dumps(own.description))
    for text in mixed_sentences(3):
        assert own.encode(text) == trained.encode(text).ids == again.encode(text).ids
        assert own.decode(own.encode(text)) == text


@pytest.mark.parametrize("kind", [BytePairTokenizer, WordPieceTokenizer])
def test_tokens_added_later_have_the_ids_of_the_library(kind):
    own = kind.train(CORPUS, 500)
    library = tokenizers.Tokenizer.from_str(json.dumps(own.description))
    own.encode("x")  # what is remembered must not outlive the change
    for add, tokens in (
        ("add_special_tokens", ["<|user|>", "le", "<|user|>"]),
        ("add_tokens", ["naïve", "<tool>", "le"]),
        ("add_special_tokens", ["<|user|>", "<|end|>"]),
    ):
        assert getattr(own, add)(tokens) == getattr(library, add)(list(dict.fromkeys(tokens)))
        again = tokenizers.Tokenizer.from_str(json.dumps(own.description))
        for text in ("<|user|>le naïve<tool>", "le <|end|> naïve", "x"):
            assert own.encode(text) == library.encode(text).ids == again.encode(text).ids
        assert own.n_ids == own.n_tokens == library.get_vocab_size()
    with pytest.raises(ValueError, match="tokens must be a list of strings"):
        own.add_tokens("<one>")


def test_ids_with_gaps_and_a_table_larger_than_the_tokenizer(own):
    description = json.loads(json.dumps(own.description))
    description["added_tokens"].append(
        {"id": 900, "content": "<|user|>", "special": True, "normalized": False}
    )
    gaps = BytePairTokenizer(description)
    assert (gaps.n_tokens, gaps.n_ids, gaps.vocab_size) == (601, 901, 901)
    assert gaps.encode("<|user|>a") == [900, *own.encode("a")]
    assert (
        gaps.decode([700, 900, *own.encode("é"), 10**6]) == "<|user|>é"
    )  # an id without a token has no text
    with pytest.raises(ValueError, match="token id 700 is outside the vocabulary of 601 tokens"):
        gaps.id_to_token(700)
    gaps.add_tokens(["<new>"])
    assert gaps.token_to_id("<new>") == 901


@settings(max_examples=80, deadline=None)
@given(st.lists(any_text, max_size=30), st.integers(20, 90))
def test_a_text_in_pieces_has_the_ids_of_the_whole(own, parts, block):
    text = "".join(parts)
    assert list(own.encode_iterable(parts)) == own.encode(text) == list(own.encode_iterable(text))
    encode = own.encode
    assert list(encode_in_blocks(parts, encode, block, reach=40)) == encode(text)


@pytest.mark.slow
def test_pieces_are_read_as_they_are_needed(own):
    read = 0

    def lines():
        nonlocal read
        for _ in range(20_000):
            read += 1
            yield "It takes great courage to let yourself appear weak.\n"

    ids = own.encode_iterable(lines())
    assert [next(ids) for _ in range(3)] == own.encode("It takes great")[:3] and read < 2_000
    assert next(iter(own.encode_iterable(["a" * 200_000]))) == own.encode("a" * 200_000)[0]


# --- properties ---------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
@example(b"\xff\xfe caf\xc3 \xed\xa0\x80 \xf0\x9f\x98")
def test_bytes_that_are_no_utf8_round_trip(own, data):
    ids = own.encode_bytes(data)
    assert own.decode_bytes(ids) == data
    assert own.decode(ids) == data.decode("utf-8", "replace")
    assert own.decode(ids) == library_decode(own, ids)


def library_decode(own, ids):
    return decoders.ByteLevel().decode([own.id_to_token(i) for i in ids])


def test_training_on_bytes_that_are_no_utf8():
    own = BytePairTokenizer.train([b"\xff\xfe\xff\xfe\xff\xfe ok"], 257)
    assert own.decode_bytes([256]) == b"\xff\xfe"


@pytest.mark.parametrize("pattern", list(PATTERNS)[:4])
@settings(max_examples=150, deadline=None)
@given(any_text)
@example("a \u2003 b")
@example(" \x1c x  \n y ")
@example("a\t 1 .\r\n \n 'LL")
def test_chunks_cut_only_where_words_begin(pattern, text):
    split = build_splitter(describe_split(PATTERNS[pattern]))
    words = split(text)
    assert words == regex.findall(PATTERNS[pattern], text) and "".join(words) == text
    assert [word for chunk in CHUNK.findall(text) for word in split(chunk)] == words
    assert not text or count_words([text], split) == count_words([text], split, at_spaces=False)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=40), st.data())
def test_the_queue_encodes_as_the_loop(ids, data):
    pairs = data.draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8, unique=True))
    merges = {pair: (rank, 4 + rank % 6) for rank, pair in enumerate(pairs)}
    expected = encode_word(ids, merges)
    table = MergeTable(merges)
    assert (
        encode_long_word(ids, merges) == expected == table.encode(list(ids)) == _LongWord(ids, table).encode()
    )


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("abcd", min_size=1, max_size=9), min_size=1, max_size=6),
    st.integers(0, 20),
    st.randoms(),
)
def test_tokens_said_to_be_encoded_as_themselves_are(words, n_merges, shuffle):
    """Also where the merges are in an order in which no training would learn them."""
    tokens = list("abcd")
    coded = {"".join(chr("abcd".index(c)) for c in word): 1 for word in words}
    learned = list(dict.fromkeys(learn_merges_incrementally(coded, tokens, 4 + n_merges)))
    if shuffle.random() < 0.5:
        shuffle.shuffle(learned)
    ids = {token: i for i, token in enumerate(tokens)}
    merges = {(a, b): (rank, ids[tokens[a] + tokens[b]]) for rank, (a, b) in enumerate(learned)}
    table = MergeTable(merges)
    for i in table.whole():
        assert encode_word(["abcd".index(c) for c in tokens[i]], merges) == [i]


def test_nearly_all_tokens_of_a_trained_tokenizer_are_known_to_be_whole(own):
    assert len(own._table.whole()) > 0.8 * len(own._table.news)


@pytest.mark.parametrize(
    "text", ["中文ab" * 7000, "a" * 30_000, "aaab" * 9000, "".join(CORPUS).replace(" ", "") * 40]
)
def test_long_words_have_the_ids_of_the_library(own, library, text):
    for part in (text, text[:5000], text[:70]):
        assert own.encode(part) == library.encode(part).ids


@given(st.lists(st.integers(0, 2), max_size=20))
def test_merge_replaces_from_left_to_right(ids):
    text = "".join(map(str, ids))
    assert merge(ids, (0, 1), 9) == [int(c) for c in text.replace("01", "9")]
    assert merge(ids, (1, 1), 9) == [int(c) for c in text.replace("11", "9")]


@given(st.binary(max_size=20))
def test_spelling_of_bytes_round_trips_and_is_that_of_the_library(data):
    assert unspell(spell(data)) == data
    assert set(spell(bytes(range(256)))) == set(pre_tokenizers.ByteLevel.alphabet())


@given(st.lists(st.binary(max_size=3), min_size=1, max_size=6), st.data())
def test_decoding_reads_the_bytes_as_the_library_does(tokens, data):
    ids = data.draw(st.lists(st.integers(0, len(tokens) - 1), max_size=8))
    spelled = [spell(tokens[i]) for i in ids]
    assert decode_tokens(ids, tokens) == decoders.ByteLevel().decode(spelled)


def test_special_tokens_can_be_left_out(own):
    ids = own.encode("a<s>b<|endoftext|>")
    assert own.decode(ids, skip_special_tokens=True) == "ab"


def test_a_tokenizer_survives_pickling(own, tmp_path):
    assert pickle.loads(pickle.dumps(own)).encode(NEVER_SEEN) == own.encode(NEVER_SEEN)
    word_piece = WordPieceTokenizer.train(CORPUS, 300)
    assert pickle.loads(pickle.dumps(word_piece)).encode(NEVER_SEEN) == word_piece.encode(NEVER_SEEN)


def test_ids_may_come_as_an_array(own):
    numpy = pytest.importorskip("numpy")
    ids = own.encode(NEVER_SEEN)
    assert own.decode(numpy.array(ids)) == own.decode(iter(ids)) == NEVER_SEEN


def test_texts_may_be_one_text_or_a_generator():
    text = TEXTS["French"]
    expected = BytePairTokenizer.train([text], 300).description
    assert BytePairTokenizer.train(text, 300).description == expected
    assert BytePairTokenizer.train((t for t in [text, ""]), 300).description == expected


def test_torch_is_not_imported():
    program = "import sys, lecture_lib.tokenization; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BytePairTokenizer.train([], 300), "the corpus is empty"),
        (lambda: BytePairTokenizer.train(["", ""], 300), "the corpus is empty"),
        (lambda: BytePairTokenizer.train(["a"], 255), "vocab_size 255 is smaller than the alphabet.* 256"),
        (lambda: BytePairTokenizer.train(["a"], 257, ["<s>", "<t>"]), "special tokens make 258"),
        (lambda: BytePairTokenizer.train(None, 300), "a corpus is a list of texts, not None"),
        (lambda: BytePairTokenizer.train(["a"], "300"), "vocab_size must be an integer, .*got '300'"),
        (lambda: BytePairTokenizer.train(["a"], 300, None), "list of strings, not None"),
        (lambda: BytePairTokenizer.train(["a", 3], 300), "must be a str .*, not int"),
        (lambda: BytePairTokenizer.train(["a\ud800"], 300), r"lone surrogate U\+D800"),
        (lambda: BytePairTokenizer.train(["a\udc80"], 300), r"lone surrogate U\+DC80"),
        (lambda: BytePairTokenizer.train(["a"], 300, ["<\ud800>"]), r"lone surrogate U\+D800"),
        (lambda: BytePairTokenizer.train(["a"], 300, pattern="(a"), "pattern '\\(a' does not compile"),
        (lambda: WordPieceTokenizer.train(["abc\udfff"], 100), r"lone surrogate U\+DFFF"),
        (lambda: BytePairTokenizer.train(["a"], 300, "<s>"), "list of strings, not '<s>'"),
        (lambda: BytePairTokenizer.train(["a"], 300, ["<s>", ""]), "not empty"),
        (lambda: WordPieceTokenizer.train([" "], 300), "the corpus is empty"),
        (lambda: WordPieceTokenizer.train(["abc"], 9), "vocab_size 9 is smaller.* make 10"),
        (lambda: WordPieceTokenizer.train(["abc", None], 100), "not NoneType"),
        (
            lambda: WordPieceTokenizer.train(["abc"], 100, ["[CLS]"]),
            r"lacks the token for unknown words.*\[UNK\]",
        ),
        (lambda: decode_tokens([0, -1], [b"a", b"b"]), "token id -1 is outside the vocabulary of 2"),
        (lambda: decode_tokens([2], [b"a", b"b"]), "token id 2 is outside the vocabulary of 2"),
        (lambda: fertility(BytePairTokenizer.train("a", 256), " \n"), "at least one word"),
        (lambda: bytes_per_token(BytePairTokenizer.train("a", 256), ""), "at least one token"),
    ],
)
def test_wrong_input_is_one_clear_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda own: own.encode(b"bytes"), "encode takes a str, not bytes"),
        (lambda own: own.encode(None), "encode takes a str, not NoneType"),
        (lambda own: own.encode("a\ud800"), r"lone surrogate U\+D800"),
        (lambda own: own.encode("a\udc80"), r"lone surrogate U\+DC80"),
        (lambda own: list(own.encode_iterable(["a", "\ud800"])), r"lone surrogate U\+D800"),
        (lambda own: own.encode("a", special="some"), 'special must be "all", "never" or a set'),
        (
            lambda own: own.encode("a", special={"<t>"}),
            r"'<t>' is not one of the special tokens: <s>, <\|end",
        ),
        (lambda own: own.decode([-1]), "token id -1 is outside"),
        (lambda own: own.decode([1.0]), "whole numbers"),
        (lambda own: own.decode(3), "whole numbers"),
        (lambda own: own.decode("12"), "whole numbers"),
        (lambda own: own.id_to_token(10**9), "outside the vocabulary"),
        (lambda own: own.token_to_id("<pad>"), r"no token '<pad>'; its special tokens: <s>, <\|endoftext\|>"),
    ],
)
def test_wrong_calls_are_one_clear_sentence(own, call, message):
    with pytest.raises(ValueError, match=message):
        call(own)


def broken(description, **model):
    return json.dumps(description | {"model": description["model"] | model})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda d: "", "not valid JSON"),
        (lambda d: json.dumps(d)[:-200], "not valid JSON"),
        (lambda d: "[1, 2]", "holds a list"),
        (lambda d: "{}", "'model' is missing"),
        (lambda d: broken(d, vocab=None), "vocabulary must give each token an id"),
        (lambda d: broken(d, vocab={"a": "0"}), "vocabulary must give each token an id"),
        (lambda d: broken(d, vocab={"a": 0, "b": 0}, merges=[]), "share an id"),
        (lambda d: broken(d, merges=[["a", "nowhere"]]), "merge 0, .* is not a pair of tokens"),
        (lambda d: broken(d, merges=["a"]), "merge 0"),
        (lambda d: broken(d, merges=[3]), "merge 0"),
        (lambda d: broken(d, byte_fallback=True), "byte_fallback=True"),
        (lambda d: broken(d, dropout=0.1), "dropout=0.1"),
        (lambda d: broken(d, end_of_word_suffix="</w>"), "end_of_word_suffix"),
        (
            lambda d: broken(d, type="Unigram", vocab=[["a", 0.0]]),
            "holds a Unigram model, not BPE; lecture_lib reads",
        ),
        (lambda d: broken(d, type="WordPiece"), "load it with WordPieceTokenizer"),
        (lambda d: json.dumps(d | {"pre_tokenizer": None}), "does not end in ByteLevel"),
        (
            lambda d: json.dumps(d | {"pre_tokenizer": {"type": "Metaspace"}}),
            "'Metaspace' does not end in ByteLevel",
        ),
        (
            lambda d: json.dumps(d | {"normalizer": {"type": "Prepend", "prepend": "▁"}}),
            "normalizer 'Prepend'",
        ),
        (lambda d: json.dumps(d | {"post_processor": {"type": "Other"}}), "post-processor 'Other'"),
        (
            lambda d: json.dumps(d | {"added_tokens": [{"content": "<x>"}]}),
            "added_tokens|added token|not a tokenizer",
        ),
        (lambda d: json.dumps(d | {"added_tokens": [3]}), "not a tokenizer file"),
    ],
)
def test_a_damaged_file_is_one_clear_sentence(own, content, message, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(content(own.description), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        BytePairTokenizer.load(path)
    assert str(path) in str(caught.value)


def test_missing_files_and_folders(own, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no tokenizer file"):
        BytePairTokenizer.load(tmp_path / "nowhere.json")
    with pytest.raises(ValueError, match="is a folder; give the tokenizer.json inside it"):
        BytePairTokenizer.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        own.save(tmp_path / "nowhere" / "tokenizer.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8"):
        WordPieceTokenizer.load(tmp_path / "binary")
    (tmp_path / "vocab.txt").write_text("hello\nworld\n")
    with pytest.raises(ValueError, match="lacks the token for unknown words"):
        WordPieceTokenizer.load(tmp_path / "vocab.txt")
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "b": 1, "ab": 2}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b c\n")
    with pytest.raises(ValueError, match="'a b c' is not a pair of tokens"):
        BytePairTokenizer.from_gpt2_files(tmp_path / "vocab.json", tmp_path / "merges.txt")


def test_a_full_disk_leaves_the_old_file(own, tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        own.save(path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("tokenizer.json", "old")]


def test_every_public_name_exists():
    assert all(hasattr(tokenization, name) for name in tokenization.__all__)
