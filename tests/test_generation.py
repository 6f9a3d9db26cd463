"""The autoregressive loop: against transformers, fake models whose next token is known, and the text decoded at once."""

import doctest
import functools
import itertools

import numpy as np
import pytest
import torch
from helpers import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MarianConfig,
    MarianMTModel,
)

from lecture_lib import generation, padding
from lecture_lib.decoder import Decoder
from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.generation import Conditioned, Reread, Stop, decode_stream, generate, stream, translate
from lecture_lib.sampling import SamplingParameters, beam_search
from lecture_lib.tokenization import BytePairTokenizer
from lecture_lib.transformer import ModelConfig

GREEDY = SamplingParameters(temperature=0)
PLAYGROUND = SamplingParameters(temperature=0.7, top_p=0.7, top_k=50)
WARM = SamplingParameters(temperature=1.5, top_k=20, repetition_penalty=1.3)


def wrapped(model):
    """A transformers model with the call of this library."""

    def call(ids, lengths=None):
        mask = None if lengths is None else (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        return model(ids, attention_mask=mask).logits

    return call


@functools.cache
def gpt2():
    torch.manual_seed(0)
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    sizes = {"n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 40, "initializer_range": 0.6}
    return GPT2LMHeadModel(GPT2Config(vocab_size=31, **sizes, **ids)).eval()


@functools.cache
def llama():
    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4}
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=31, num_key_value_heads=2, initializer_range=0.5, **sizes, **ids)
    ).eval()


@functools.cache
def decoder(**options):
    config = {"vocab_size": 31, "d_model": 12, "n_heads": 3, "n_layers": 2, "context_length": 40}
    return Decoder(
        ModelConfig(**config, norm_first=True, init_std=0.6, **options), generator=seeded(2)
    ).eval()


def successor(ids, lengths=None):
    """Every token is followed by the next number, modulo 10."""
    return F.one_hot((ids + 1) % 10, 10).float()


class Bytes:
    """The simplest byte-level tokenizer: a token is a byte."""

    def decode(self, ids):
        return bytes(ids).decode("utf-8", "replace")


# The lecture's worked example


def test_the_new_sequence_is_fed_back():
    """ "The new extended sequence can be fed back into the decoder": the model sees all tokens, one more a step."""
    seen = []

    def model(ids, lengths=None):
        seen.append(ids.tolist())
        return successor(ids)

    assert generate(model, torch.tensor([3]), 3, GREEDY).tolist() == [3, 4, 5, 6]
    assert seen == [[[3]], [[3, 4]], [[3, 4, 5]]]


@pytest.mark.parametrize("module", [generation.loop, generation.text, padding], ids=lambda m: m.__name__)
def test_the_examples_in_the_docstrings(module):
    result = doctest.testmod(module, extraglobs={"torch": torch})
    assert result.attempted and not result.failed


# An independent oracle: transformers


@pytest.mark.parametrize("model", [gpt2, llama])
@pytest.mark.parametrize("sampling", [GREEDY, PLAYGROUND, WARM, SamplingParameters(1.2, min_p=0.05)])
def test_tokens_are_those_of_transformers(model, sampling):
    model, prompts = model(), torch.tensor([[3, 1, 4], [1, 5, 9], [2, 6, 5], [30, 0, 8]])
    options = {} if sampling.temperature == 0 else {"temperature": sampling.temperature}
    torch.manual_seed(5)
    expected = model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=20,
        do_sample=sampling.temperature > 0,
        top_k=sampling.top_k or 0,
        top_p=sampling.top_p or 1.0,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        **options,
    )
    torch.manual_seed(5)
    assert torch.equal(generate(wrapped(model), prompts, 20, sampling), expected)


@pytest.mark.parametrize("stop", [[9], [7, 12, 20]])
def test_stop_tokens_and_padding_are_those_of_transformers(stop):
    prompts = torch.randint(0, 31, (6, 4), generator=seeded(3))
    options = {"eos_token_id": stop, "pad_token_id": 17, "do_sample": False, "max_new_tokens": 25}
    expected = gpt2().generate(prompts, attention_mask=torch.ones_like(prompts), **options)
    result = generate(wrapped(gpt2()), prompts, 25, GREEDY, stop=stop, pad_id=17)
    assert torch.equal(result, expected)
    assert (result == 17).any()


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_prompts_with_a_mask_are_those_of_transformers(side):
    prompts = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3]]
    fill = lambda row, x: [x] * (5 - len(row)) + row if side == "left" else row + [x] * (5 - len(row))  # noqa: E731
    ids = torch.tensor([fill(row, 17) for row in prompts])
    mask = torch.tensor([fill([1] * len(row), 0) for row in prompts])
    texts = generate(wrapped(gpt2()), ids, 8, GREEDY, attention_mask=mask)
    for row, text in zip(prompts, texts, strict=True):
        alone = gpt2().generate(torch.tensor([row]), max_new_tokens=8, do_sample=False, pad_token_id=17)
        assert text.tolist() == alone[0].tolist()
    with pytest.raises(ValueError, match="an entry for each of the ids"):
        generate(wrapped(gpt2()), ids, 8, GREEDY, attention_mask=mask[:, :4])


def test_masks_and_lengths_may_be_lists():
    ids, mask = [[17, 17, 3], [5, 6, 7]], [[0, 0, 1], [1, 1, 1]]
    expected = [[3, 4, 5], [5, 6, 7, 8, 9]]
    for prompts, real in ((ids, mask), (torch.tensor(ids), mask), (ids, torch.tensor(mask).bool())):
        assert [t.tolist() for t in generate(successor, prompts, 2, GREEDY, attention_mask=real)] == expected
    assert generate(successor, [0, 3], 1, GREEDY, attention_mask=[0, 1]).tolist() == [3, 4]
    table = torch.tensor([[3, 17], [5, 6]])
    assert [t.tolist() for t in generate(successor, table, 1, GREEDY, lengths=[1, 2])] == [[3, 4], [5, 6, 7]]
    for wrong in (mask[:1], [[0, 1], [1, 1]], [1, 1, 1, 1, 1, 1, 1], [[0, 0, 1], [1, 1]]):
        with pytest.raises(ValueError, match="an entry for each of the ids"):
            generate(successor, ids, 2, GREEDY, attention_mask=wrong)
    with pytest.raises(ValueError, match="one row a length"):
        generate(successor, [[3, 4], [5, 6]], 2, GREEDY, lengths=[1, 2])


def test_the_model_gets_its_ids_where_the_prompts_are():
    """A plain function has no parameters that would say where: "meta" stands for a GPU here."""
    seen = []

    def model(ids, lengths=None):
        seen.append(ids.device.type)
        return torch.zeros(*ids.shape, 10, device=ids.device)

    Reread(model, torch.device("meta")).read([[1, 2]])
    Reread(model).read([[1, 2]])
    assert seen == ["meta", "cpu"]
    config = ModelConfig(vocab_size=19, d_model=12, n_heads=3, n_layers=1, context_length=16)
    given_source = Conditioned(
        EncoderDecoder(config).to("meta"), torch.zeros(1, 3, dtype=torch.long, device="meta")
    )
    assert Reread(given_source).device.type == "meta"


def test_a_least_number_of_new_tokens_is_that_of_transformers():
    prompts = torch.randint(0, 31, (6, 4), generator=seeded(3))
    options = {"eos_token_id": [7, 12, 20], "pad_token_id": 17, "do_sample": False, "max_new_tokens": 25}
    mask = torch.ones_like(prompts)
    expected = gpt2().generate(prompts, attention_mask=mask, min_new_tokens=9, **options)
    at_least_nine = SamplingParameters(temperature=0, min_new_tokens=9)
    result = generate(wrapped(gpt2()), prompts, 25, at_least_nine, stop=[7, 12, 20], pad_id=17)
    assert torch.equal(result, expected)


class MarianAsOurs(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def mask(self, memory, lengths):
        return None if lengths is None else (torch.arange(memory.shape[1]) < lengths[:, None]).long()

    def encode(self, source_ids, source_lengths=None):
        mask = self.mask(source_ids, source_lengths)
        return self.model.get_encoder()(source_ids, attention_mask=mask).last_hidden_state

    def decode(self, target_ids, memory, source_lengths=None):
        mask = self.mask(memory, source_lengths)
        return self.model(
            encoder_outputs=(memory,), attention_mask=mask, decoder_input_ids=target_ids, use_cache=False
        ).logits


@pytest.mark.parametrize("beam_width", [1, 2, 4])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 1.6])
def test_translations_are_those_of_transformers(beam_width, length_penalty):
    torch.manual_seed(4)
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 20, "decoder_ffn_dim": 20}
    heads = {
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 2,
        "d_model": 16,
        "init_std": 0.4,
        "tie_word_embeddings": False,
    }
    ids = {"pad_token_id": 12, "eos_token_id": 0, "decoder_start_token_id": 12, "forced_eos_token_id": None}
    theirs = MarianMTModel(MarianConfig(vocab_size=13, **layers, **heads, **ids)).eval()
    theirs.final_logits_bias[0, 0] = 2.0  # so that some sentences end
    lengths = torch.tensor([6, 3, 5, 1])
    sources = torch.randint(1, 12, (4, 6), generator=seeded(5))
    sources = sources.where(torch.arange(6) < lengths[:, None], 12)
    expected = theirs.generate(
        sources,
        attention_mask=(sources != 12).long(),
        num_beams=beam_width,
        length_penalty=length_penalty,
        max_new_tokens=11,
        do_sample=False,
        bad_words_ids=None,
    )
    ours = translate(MarianAsOurs(theirs), sources, 11, 12, 0, lengths, beam_width, length_penalty)
    for row, text in zip(expected.tolist(), ours, strict=True):
        end = row.index(0) if 0 in row else len(row)
        assert text.tolist() == row[1:end]
    assert len({len(text) for text in ours}) > 1 or length_penalty == 0  # 0 favours the empty text


# Properties


@pytest.mark.parametrize("model", [decoder, gpt2, functools.partial(decoder, positions="rotary")])
@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_each_row_alone_gives_the_same_tokens(model, sampling):
    model = model()
    model = model if isinstance(model, Decoder) else wrapped(model)
    prompts = [[7, 3, 9, 1, 20], [4], [11, 12, 13], [30, 2]]
    generators = lambda: [seeded(i) for i in range(4)]  # noqa: E731
    together = generate(model, prompts, 12, sampling, generators(), stop=[6, 22])
    for prompt, text, own in zip(prompts, together, generators(), strict=True):
        alone = generate(model, torch.tensor(prompt), 12, sampling, own, stop=[6, 22])
        assert torch.equal(alone, text)
    assert len({len(text) - len(prompt) for text, prompt in zip(together, prompts, strict=True)}) > 1


def test_every_form_of_prompts():
    padded = torch.tensor([[1, 2, 3], [5, 99, 99]], dtype=torch.int32)
    lengths = torch.tensor([3, 1])
    table = generate(successor, padded, 2, GREEDY, lengths=lengths, pad_id=0)
    assert table.dtype == torch.int32 and table.tolist() == [[1, 2, 3, 4, 5], [5, 6, 7, 0, 0]]
    assert [t.tolist() for t in generate(successor, [[1, 2, 3], [5]], 2, GREEDY)] == [
        [1, 2, 3, 4, 5],
        [5, 6, 7],
    ]
    tensors = generate(successor, [torch.tensor([1]), torch.tensor([8, 9])], 1, GREEDY)
    assert [t.tolist() for t in tensors] == [[1, 2], [8, 9, 0]]
    assert generate(successor, [4, 5], 1, GREEDY).tolist() == [4, 5, 6]
    assert generate(successor, torch.tensor([4, 5]), 0).tolist() == [4, 5]
    assert generate(successor, padded, 4, GREEDY, lengths=lengths, stop=4, pad_id=9).tolist() == [
        [1, 2, 3, 4, 9],
        [5, 6, 7, 8, 9],
    ]
    assert padded.tolist() == [[1, 2, 3], [5, 99, 99]]


def test_numbers_of_numpy_are_numbers():
    row = np.array([4, 5])
    for ids in (row, list(row), [row], np.stack([row]), row.astype(np.uint8)):
        texts = generate(successor, ids, np.int64(2), GREEDY, stop=np.int64(9))
        assert [t.tolist() for t in (texts if isinstance(texts, list) else [texts])] == [[4, 5, 6, 7]]
    assert generate(successor, row, 9, GREEDY, stop=None)[-1] == 4
    assert generate(successor, torch.tensor([4]), 9, GREEDY, stop=np.int32(6)).tolist() == [4, 5, 6]


def test_what_stands_behind_an_early_end_is_no_word():
    ids = torch.tensor([[1], [4]])
    assert [t.tolist() for t in generate(successor, ids, 3, GREEDY, stop=5)] == [[1, 2, 3, 4], [4, 5]]
    assert generate(successor, ids, 3, GREEDY, stop=5, pad_id=9).tolist() == [[1, 2, 3, 4], [4, 5, 9, 9]]
    assert generate(successor, ids, 3, GREEDY).tolist() == [[1, 2, 3, 4], [4, 5, 6, 7]]


def test_an_unpadded_batch_calls_the_model_without_lengths():
    model = lambda ids: successor(ids)  # noqa: E731
    assert generate(model, torch.tensor([[1], [2]]), 2, GREEDY).tolist() == [[1, 2, 3], [2, 3, 4]]


def test_texts_of_different_length_are_padded_and_the_model_is_told():
    seen = []

    def model(ids, lengths=None):
        seen.append((ids.tolist(), lengths if lengths is None else lengths.tolist(), torch.is_grad_enabled()))
        return successor(ids)

    generate(model, [[1, 2], [7]], 2, GREEDY, stop=8, pad_id=6)
    assert seen == [([[1, 2], [7, 0]], [2, 1], False), ([[1, 2, 3], [7, 8, 0]], [3, 2], False)]


def test_padding_is_not_penalised():
    tilted = lambda ids, lengths=None: torch.tensor([1.0, 1.5, 1.4]).expand(*ids.shape, 3)  # noqa: E731
    penalty = SamplingParameters(0, repetition_penalty=2.0)
    texts = generate(tilted, [[0, 0], [1]], 1, penalty, pad_id=2)
    assert [text.tolist() for text in texts] == [[0, 0, 1], [1, 2]]


def test_reproducible_by_generator():
    runs = [generate(decoder(), [[1], [2, 3]], 8, generator=seeded(seed)) for seed in (1, 1, 2)]
    texts = [[text.tolist() for text in run] for run in runs]
    assert texts[0] == texts[1] != texts[2]


def test_a_finished_text_does_not_change_what_the_others_get():
    prompts = torch.tensor([[7], [4], [11]])
    free = generate(decoder(), prompts, 10, generator=seeded(6))
    first = int(free[1, 2])
    stopped = generate(decoder(), prompts, 10, generator=seeded(6), stop=[first])
    for row, whole in zip(stopped, free.tolist(), strict=True):
        end = whole.index(first, 1) + 1 if first in whole[1:] else len(whole)
        assert row.tolist() == whole[:end]


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_streamed_tokens_are_those_of_generate(sampling):
    for stop in ((), [5, 9]):
        tokens = list(stream(decoder(), [7, 3], 15, sampling, seeded(7), stop))
        assert [7, 3, *tokens] == generate(decoder(), [7, 3], 15, sampling, seeded(7), stop).tolist()
    following = stream(successor, torch.tensor([[1, 2]]), 10**9, GREEDY)
    assert list(itertools.islice(following, 4)) == [3, 4, 5, 6]
    assert torch.is_grad_enabled()


def test_no_gradients_are_kept():
    ids = generate(decoder(), torch.tensor([1, 2]), 3, GREEDY)
    loss = decoder()(ids[None]).logsumexp(-1).sum()  # the ids may be trained on
    loss.backward()


def test_stop_strings():
    text = "ab€ cd\n\nef"
    model = spelling("x" + text)
    for stop, kept in [
        ("€", "ab€"),
        (["zz", "\n\n"], "ab€ cd\n\n"),
        (["b", 97], "a"),
        ("no", text),
        ("\ufffdx", text),
    ]:
        ids = generate(model, list(b"x"), len(text.encode()), GREEDY, stop=stop, tokenizer=Bytes())
        assert bytes(ids.tolist()).decode() == "x" + kept
    ids = generate(model, list(b"xab"), 3, GREEDY, stop="b", tokenizer=Bytes())  # the prompt does not stop it
    assert bytes(ids.tolist()) == "xab€".encode()


def spelling(text):
    """A model that writes this text, whatever it has read: byte n follows n bytes."""
    data = torch.tensor(list(text.encode()) + [0])
    return lambda ids, lengths=None: F.one_hot(data[1 : ids.shape[1] + 1], 256).float()[None]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=12) | st.text(max_size=6).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_pieces_of_bytes_together_are_the_text(data):
    pieces = list(decode_stream(data, Bytes().decode))
    assert "".join(pieces) == data.decode("utf-8", "replace")
    assert all(pieces)


def test_characters_come_when_they_are_complete():
    text = "naïve 中文 👩‍🚀!"
    pieces = list(decode_stream(text.encode(), Bytes().decode))
    assert pieces == list(text)
    assert list(decode_stream(b"a\xff\xe4\xbdb\xf0\x9f", Bytes().decode)) == ["a", "\ufffd\ufffdb", "\ufffd"]


def test_pieces_of_byte_pairs_together_are_the_text():
    texts = ["the naïve cat, the 中文 text, 🙂🙂 и текст", "το κείμενο, 👩‍🚀 and the end"] * 3
    tokenizer = BytePairTokenizer.train(texts, 300)
    for text in (*texts[:2], "Größe 👩‍🚀 漢字"):
        ids = tokenizer.encode(text)
        assert len(ids) < len(text.encode())
        assert "".join(decode_stream(ids, tokenizer.decode)) == text
    for seed in range(20):  # what an untrained model writes is mostly no UTF-8
        ids = torch.randint(0, 300, (30,), generator=seeded(seed)).tolist()
        assert "".join(decode_stream(iter(ids), tokenizer.decode)) == tokenizer.decode(ids)


def test_context():
    model = decoder()
    full = generate(model, torch.arange(30) % 31, 11, GREEDY)
    assert len(full) == 41  # the last token need not be read
    with pytest.raises(ValueError, match="prompt of 30 tokens and 12 new ones do not fit .* of 40 tokens"):
        generate(model, torch.arange(30) % 31, 12, GREEDY)
    with pytest.raises(ValueError, match="context_length=40"):
        stream(model, torch.arange(30) % 31, 12, GREEDY)
    longer = generate(model, torch.arange(30) % 31, 20, GREEDY, context_length=40)
    assert torch.equal(longer[:41], full)
    ids = (torch.arange(50) % 31).tolist()
    for _ in range(5):
        ids.append(int(model(torch.tensor([ids[-4:]]))[0, -1].argmax()))
    assert generate(model, ids[:50], 5, GREEDY, context_length=4).tolist() == ids


def test_the_repetition_penalty_sees_what_the_model_does_not():
    flat = lambda ids, lengths=None: torch.arange(5, 0, -1).expand(*ids.shape, 5).float()  # noqa: E731
    penalty = SamplingParameters(0, repetition_penalty=100.0)
    result = generate(flat, [[0], [1, 0]], 4, penalty, context_length=1)
    assert [text.tolist() for text in result] == [[0, 1, 2, 3, 4], [1, 0, 2, 3, 4, 0]][:1] + [
        [1, 0, 2, 3, 4, 0][:6]
    ]


@pytest.mark.slow
def test_from_a_source():
    config = ModelConfig(vocab_size=19, d_model=12, n_heads=3, n_layers=2, context_length=16, init_std=0.5)
    model = EncoderDecoder(config, generator=seeded(8)).eval()
    sources, lengths = torch.randint(1, 19, (3, 5), generator=seeded(9)), torch.tensor([5, 2, 4])
    batch = translate(model, sources, 10, 1, 2, lengths)
    for i, text in enumerate(batch):
        source = sources[i : i + 1, : lengths[i]]
        ids = [1]
        while len(ids) < 11 and ids[-1] != 2:
            ids.append(int(model(source, torch.tensor([ids]))[0, -1].argmax()))
        assert text.tolist() == [token for token in ids[1:] if token != 2]
        given_source = Conditioned(model, source)
        best = beam_search(lambda ids, p=given_source: p(ids)[:, -1], torch.tensor([1]), 3, 10, [2])[0]
        beam = translate(model, sources, 10, 1, 2, lengths, beam_width=3)[i]
        assert beam.tolist() == [token for token in best.ids.tolist()[1:] if token != 2]
        drawn = generate(given_source, [1], 6, WARM, seeded(i))
        again = list(stream(given_source, [1], 6, WARM, seeded(i)))
        assert drawn.tolist() == [1, *again]
    with pytest.raises(ValueError, match="context of 16 tokens"):
        translate(model, sources, 17, 1, 2)
    with pytest.raises(ValueError, match="3 sources need as many targets, got 2"):
        generate(Conditioned(model, sources), [[1], [1]], 2)


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: generate(successor, torch.ones(2), 1), r"integers, got \(2,\) torch.float32"),
        (lambda: generate(successor, torch.ones(1, 1, 1).long(), 1), r"\(N,\) or \(B, N\)"),
        (lambda: generate(successor, torch.empty(2, 0).long(), 1), "at least one token in each"),
        (lambda: generate(successor, torch.empty(0).long(), 1), "at least one token in each"),
        (lambda: generate(successor, [], 1), "at least one"),
        (lambda: generate(successor, [[1], []], 1), "at least one token in each"),
        (lambda: generate(successor, ["a text"], 1), "encode a text first"),
        (lambda: generate(successor, "a text", 1), "encode a text first"),
        (lambda: generate(successor, [1.5], 1), "token ids"),
        (lambda: generate(successor, [1], -1), "max_new_tokens must be an integer, 0 or more, got -1"),
        (
            lambda: generate(successor, [1], 1, context_length=0),
            "context_length must be a positive integer, got 0",
        ),
        (lambda: generate(successor, [1], 1, stop="end"), "to stop at the string 'end', give the tokenizer"),
        (lambda: generate(successor, [1], 1, stop=[""], tokenizer=Bytes()), "not empty"),
        (lambda: generate(successor, [1], 1, stop=[1.5]), r"token ids and strings .* got \[1.5\]"),
        (lambda: generate(successor, [1], 1, lengths=torch.tensor([1])), "lengths"),
        (
            lambda: generate(successor, torch.ones(2, 3).long(), 1, lengths=torch.tensor([1, 4])),
            "every length must be an integer from 0 to 3, got 4",
        ),
        (
            lambda: generate(successor, torch.ones(2, 3).long(), 1, lengths=torch.tensor([1, 0])),
            "at least one token in each",
        ),
        (lambda: generate(lambda ids: torch.ones(2, 5), [1], 1), r"ids \(1, 1\): got \(2, 5\)"),
        (lambda: generate(gpt2(), [1], 1), "got CausalLMOutputWithCrossAttentions"),
        (lambda: generate(lambda ids: successor(ids) * torch.nan, [1], 1), "NaN"),
        (lambda: generate(successor, [[1], [2]], 1, generator=[seeded(1)]), "one generator for each row"),
        (lambda: stream(successor, [[1], [2]], 1), "one text, got 2"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_stop_takes_ids_and_strings():
    end = Stop([3, "lo"], Bytes())
    assert end([3]) and end(list(b"hello!")) and not end(list(b"hell")) and not end([3, 4])
    assert Stop(3)([1, 3]) and Stop(torch.tensor([3, 5]))([5]) and not Stop()([5])
