"""Cached decoding: against transformers, the slow loop, and the model without a cache for any chunks."""

import copy
import dataclasses
import doctest
import functools
import gc
import weakref

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lecture_lib import generation, kv_cache
from lecture_lib.decoder import Decoder
from lecture_lib.embedding import RotaryScaling
from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.generation import Conditioned, Reread
from lecture_lib.kv_cache import Cached, KVCache, lay_out_for_decoding
from lecture_lib.lora import add_lora, merge_lora
from lecture_lib.pretrained import load_pretrained, save_pretrained
from lecture_lib.quantization import quantize_model
from lecture_lib.sampling import SamplingParameters
from lecture_lib.transformer import ModelConfig, TransformerLayer

GREEDY = SamplingParameters(temperature=0)
ENDS = [21, 16, 5, 9]
WARM = SamplingParameters(temperature=1.5, top_k=20, repetition_penalty=1.3)
SIZES = {"vocab_size": 31, "d_model": 12, "n_layers": 2, "context_length": 40, "init_std": 0.6}
CONFIGS = {
    "gpt2": ModelConfig(n_heads=3, norm_first=True, activation="gelu_tanh", **SIZES),
    "llama": ModelConfig(
        **{"n_heads": 4, "n_kv_heads": 2, "d_head": 6, "d_ff": 20, "norm": "rms", "norm_first": True},
        **{"activation": "swiglu", "positions": "rotary", "rope_scaling": RotaryScaling(4.0, 1.0, 4.0, 16)},
        **{"qkv_bias": False, "out_bias": False, "mlp_bias": False, "tied_head": False},
        **SIZES,
    ),
    "qwen3": ModelConfig(
        **{"n_heads": 3, "n_kv_heads": 1, "d_head": 8, "norm": "rms", "norm_first": True, "qk_norm": True},
        **{"activation": "geglu_tanh", "positions": "rotary"},
        **SIZES,
    ),
    "post-LN": ModelConfig(
        **{"n_heads": 2, "positions": "sinusoidal", "scale_embedding": True, "embedding_norm": True},
        **{"n_segments": 2, "head_bias": True, "activation": "relu"},
        **SIZES,
    ),
    "marian": ModelConfig(n_heads=4, positions="sinusoidal_halves", activation="silu", dropout=0.1, **SIZES),
}
PROMPTS = [[7, 3, 9, 1, 20], [4], [11, 12, 13], [30, 2]]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def recordings(monkeypatch):
    """A list with an entry for each recording that is made."""
    from lecture_lib.kv_cache import reader as module

    made = []
    monkeypatch.setattr(module, "record", lambda *given, old=module.record: made.append(1) or old(*given))
    return made


@functools.cache
def decoder(name="gpt2", laid_out=False):
    """A model in which every weight matters, biases, gains and segment tables too."""
    model = Decoder(CONFIGS[name], generator=seeded(1)).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=seeded(2))
    return lay_out_for_decoding(model) if laid_out else model


def texts(ids):
    return [text.tolist() for text in ids]


def shuffled(lengths, n_tokens, seed=3):
    return torch.randint(0, 31, (len(lengths), n_tokens), generator=seeded(seed))


class Bytes:
    def decode(self, ids):
        return bytes(48 + token for token in ids).decode()


# The idea: each token is computed once


def test_each_token_goes_through_the_model_once():
    model, seen = copy.deepcopy(decoder()), []
    model.stack.layers[1].feed_forward.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].numel() // 12)
    )
    generation.generate(model, [1, 2, 3], 3, GREEDY)
    assert seen == [3, 4, 5]
    seen.clear()
    kv_cache.generate(model, [1, 2, 3], 3, GREEDY)
    assert seen == [3, 1, 1]


@pytest.mark.parametrize("module", [kv_cache.cache], ids=lambda m: m.__name__)
def test_the_examples_in_the_docstrings(module):
    result = doctest.testmod(module, extraglobs={"torch": torch, "ModelConfig": ModelConfig})
    assert result.attempted and not result.failed


# An independent oracle: transformers with the same weights, its cache beside ours

IDS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
LLAMA = {"hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA |= {"num_key_value_heads": 2, "initializer_range": 0.5, "max_position_embeddings": 40}
THEIRS = [
    ("GPT2", {"n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 40, "initializer_range": 0.6}),
    ("Llama", LLAMA | {"head_dim": 6}),
    ("Qwen3", LLAMA | {"head_dim": 8}),
]


@pytest.mark.parametrize(("family", "sizes"), THEIRS)
@pytest.mark.parametrize("laid_out", [False, True])
def test_tokens_are_those_of_transformers(family, sizes, laid_out, tmp_path):
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(vocab_size=31, **sizes, **IDS)
    name = "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM"
    theirs = getattr(transformers, name)(config).eval()
    theirs.save_pretrained(tmp_path)
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    ours = lay_out_for_decoding(ours) if laid_out else ours
    prompts = torch.tensor([[3, 1, 4], [1, 5, 9], [2, 6, 5], [30, 0, 8]])
    mask = torch.ones_like(prompts)
    expected = theirs.generate(prompts, attention_mask=mask, max_new_tokens=20, do_sample=False)
    assert torch.equal(kv_cache.generate(ours, prompts, 20, GREEDY), expected)
    assert len(set(expected[:, 3:].flatten().tolist())) > 3


# Logits: any chunks, any lengths, equal to the model without a cache


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(list(CONFIGS)),
    pieces=st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=1, max_size=5),
    laid_out=st.booleans(),
)
def test_cached_logits_are_the_models_for_any_chunks(name, pieces, laid_out):
    """Piece p brings row b `pieces[p][b]` tokens, right-padded to the longest of the three."""
    pieces = [piece for piece in pieces if max(piece)]
    lengths = [sum(piece[b] for piece in pieces) for b in range(3)]
    if not pieces:
        return
    model, ids = decoder(name, laid_out), shuffled(lengths, max(lengths))
    cache = KVCache(model.config, 3, max(lengths))
    starts, got = [0, 0, 0], torch.full((3, max(lengths), 31), torch.nan)
    for piece in pieces:
        n = max(piece)
        chunk = torch.full((3, n), 30)
        for b in range(3):
            chunk[b, : piece[b]] = ids[b, starts[b] : starts[b] + piece[b]]
        here = cache.begin(n, None if min(piece) == n else torch.tensor(piece))
        with torch.no_grad():
            logits = model(chunk, here=here)
        for b in range(3):
            got[b, starts[b] : starts[b] + piece[b]] = logits[b, : piece[b]]
        starts = [start + new for start, new in zip(starts, piece, strict=True)]
    assert cache.lengths == lengths
    expected = model(ids)
    for b in range(3):
        assert_close(got[b, : lengths[b]], expected[b, : lengths[b]], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(list(CONFIGS)),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    chunk_size=st.none() | st.integers(1, 10),
    max_length=st.none() | st.integers(14, 20),
    recorded=st.booleans(),
    news=st.lists(st.integers(1, 3), min_size=4, max_size=4),
)
def test_a_reader_gives_the_models_logits(name, lengths, chunk_size, max_length, recorded, news):
    """Texts that grow by one or by several tokens, in one memory or in one that grows."""
    model = decoder(name)
    reader, slow = Cached(model, max_length, chunk_size, recorded), Reread(model)
    rows = shuffled(lengths, max(lengths) + 4).tolist()
    rows = [row[:n] for row, n in zip(rows, lengths, strict=True)]
    for _ in range(2):  # the second texts find nothing of the first
        for n in (1, 1, 2, 1):
            assert_close(reader.read(rows), slow.read(rows), atol=1e-5, rtol=1e-5)
            rows = [row + [(3 * row[-1] + k + news[0]) % 31 for k in range(n)] for row in rows]
        rows = [list(reversed(row))[: len(row) // 2 + 1] for row in rows]


def test_texts_may_grow_unevenly():
    reader, slow = Cached(decoder("llama"), recorded=True), Reread(decoder("llama"))
    rows = [[1, 2, 3], [4], [5, 6]]
    for grown in ([1, 1, 1], [1, 4, 2], [2, 1, 1], [1, 1, 1], [1, 1, 1], [7, 1, 1]):
        assert_close(reader.read(rows), slow.read(rows), atol=1e-5, rtol=1e-5)
        rows = [row + [9] * n for row, n in zip(rows, grown, strict=True)]


@pytest.mark.parametrize("name", list(CONFIGS))
def test_one_recording_serves_a_memory_that_grows(name, recordings):
    model = Decoder(dataclasses.replace(CONFIGS[name], context_length=130), generator=seeded(1)).eval()
    reader, rooms = Cached(model, recorded=True), set()
    slow, text = Reread(model), [1]
    for n in range(120):
        logits = reader.read([text])
        assert_close(logits, slow.read([text]), atol=1e-4, rtol=1e-4)
        rooms.add(reader.cache.max_length)
        text = [*text, (3 * text[-1] + n) % 31]
    assert len(recordings) == 1 and len(rooms) > 2


# Tokens: those of the slow loop, whatever the arguments


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CONFIGS))
@pytest.mark.parametrize("sampling", [GREEDY, WARM])
@pytest.mark.parametrize(
    ("options", "cached_options"),
    [
        ({}, {}),
        ({}, {"chunk_size": 2}),
        ({"stop": ENDS}, {}),
        ({"context_length": 7}, {}),
        ({"stop": "A", "tokenizer": Bytes()}, {}),
    ],
)
def test_tokens_are_those_of_the_slow_loop(name, sampling, options, cached_options):
    model = decoder(name)
    expected = texts(generation.generate(model, PROMPTS, 14, sampling, seeded(5), **options))
    got = kv_cache.generate(model, PROMPTS, 14, sampling, seeded(5), **options, **cached_options)
    assert texts(got) == expected
    fixed = Cached(model, recorded=True)
    assert texts(kv_cache.generate(fixed, PROMPTS, 14, sampling, seeded(5), **options)) == expected
    one_each = lambda: [seeded(b) for b in range(4)]  # noqa: E731
    expected = texts(generation.generate(model, PROMPTS, 9, sampling, one_each(), **options))
    assert texts(kv_cache.generate(fixed, PROMPTS, 9, sampling, one_each(), **options)) == expected
    torch.manual_seed(4)
    expected = texts(generation.generate(model, PROMPTS, 9, sampling, **options))
    torch.manual_seed(4)
    assert texts(kv_cache.generate(model, PROMPTS, 9, sampling, **options)) == expected


@pytest.mark.parametrize("name", list(CONFIGS))
def test_some_texts_stop_early_and_no_text_is_monotonous(name):
    """Otherwise the tests above would show little."""
    free = kv_cache.generate(decoder(name), PROMPTS, 14, WARM, seeded(5))
    stopped = kv_cache.generate(decoder(name), PROMPTS, 14, WARM, seeded(5), stop=ENDS)
    new = [len(text) - len(prompt) for text, prompt in zip(stopped, PROMPTS, strict=True)]
    assert min(new) < max(new)
    assert min(len(text.unique()) for text in free) > 5
    greedy = kv_cache.generate(decoder(name), PROMPTS, 14, GREEDY)
    assert len(torch.cat(greedy).unique()) > 10


def test_every_form_of_prompts():
    padded, lengths = torch.tensor([[1, 2, 3], [5, 30, 30]], dtype=torch.int32), torch.tensor([3, 1])
    for ids, options in (
        (padded, {"lengths": lengths, "pad_id": 9, "stop": [4]}),
        (padded[0], {}),
        ([4, 5], {}),
        ([torch.tensor([1]), torch.tensor([8, 9])], {}),
        ([4, 5], {"max_new_tokens": 0}),
        (torch.arange(30), {"max_new_tokens": 11}),
    ):
        options = {"max_new_tokens": 5, "sampling": GREEDY} | options
        expected, got = (
            generation.generate(decoder(), ids, **options),
            kv_cache.generate(decoder(), ids, **options),
        )
        assert type(got) is type(expected)
        assert texts(got if isinstance(got, list) else [got]) == texts(
            expected if isinstance(expected, list) else [expected]
        )
    assert kv_cache.generate(decoder(), padded, 1).dtype == torch.int32


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_streamed_tokens_are_those_of_generate(sampling):
    for stop in ((), [5, 9]):
        tokens = list(kv_cache.stream(decoder(), [7, 3], 15, sampling, seeded(7), stop))
        assert [7, 3, *tokens] == generation.generate(
            decoder(), [7, 3], 15, sampling, seeded(7), stop
        ).tolist()
    following = kv_cache.stream(decoder(), [1, 2], 10**9, sampling, seeded(8), context_length=10)
    tokens = [next(following) for _ in range(30)]
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert [1, 2, *tokens] == generation.generate(
        decoder(), [1, 2], 30, sampling, seeded(8), context_length=10
    ).tolist()


def test_a_runner_serves_one_request_after_another():
    runner = Cached(decoder("llama"), max_length=30)
    for prompts in ([[1, 2, 3], [4]], [[9], [8, 7, 6, 5]], torch.tensor([[3, 3], [4, 4]])):
        expected = generation.generate(decoder("llama"), prompts, 8, WARM, seeded(1))
        assert texts(kv_cache.generate(runner, prompts, 8, WARM, seeded(1))) == texts(expected)


def test_no_gradients_are_kept_and_none_are_lost():
    model = copy.deepcopy(decoder())
    runner = Cached(model)
    ids = kv_cache.generate(runner, torch.tensor([1, 2]), 3, GREEDY)
    model(ids[None]).logsumexp(-1).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad
    expected = generation.generate(model, torch.tensor([1, 2]), 9, GREEDY)
    assert torch.equal(
        kv_cache.generate(runner, torch.tensor([1, 2]), 9, GREEDY), expected
    )  # of the new weights


# Encoder-decoders


@pytest.mark.slow
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"norm_first": True, "n_kv_heads": 2, "positions": "rotary", "qk_norm": True}]
)
def test_translations_are_those_of_the_slow_loop(fixed, options):
    config = (
        ModelConfig(n_heads=2, **SIZES)
        if not options
        else ModelConfig(**({"n_heads": 4, "d_head": 4} | SIZES | options))
    )
    model = EncoderDecoder(config, generator=seeded(6)).eval()
    sources, lengths = shuffled([1] * 4, 6), torch.tensor([6, 2, 5, 1])
    for given_source, prompts in (
        (Conditioned(model, sources, lengths), [[1], [1], [1, 5], [1, 7, 8]]),
        (Conditioned(model, sources[:1]), [[1], [2, 9]]),
    ):
        for sampling in (GREEDY, WARM):
            expected = texts(generation.generate(given_source, prompts, 12, sampling, seeded(2), stop=[3]))
            runner = Cached(given_source, max_length=20, recorded=fixed)
            assert texts(kv_cache.generate(runner, prompts, 12, sampling, seeded(2), stop=[3])) == expected
            assert (
                texts(kv_cache.generate(given_source, prompts, 12, sampling, seeded(2), stop=[3])) == expected
            )


# Weights in other forms


def test_laying_out_changes_nothing_but_strides(tmp_path):
    for name in CONFIGS:
        model = decoder(name)
        laid = lay_out_for_decoding(copy.deepcopy(model))
        layer = laid.stack.layers[0]
        assert layer.feed_forward.W_in.weight.stride() == (1, layer.feed_forward.W_in.out_features)
        assert laid.head.weight.stride() == (1, 31)
        assert laid.config.tied_head == (laid.head.weight is laid.embedding.tokens.weight)
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, laid.state_dict()[key])
        ids = shuffled([1, 1], 7)
        assert_close(laid(ids), model(ids), atol=1e-5, rtol=1e-5)
        optimizer = torch.optim.SGD(laid.parameters(), 0.1)
        laid(ids).square().sum().backward()
        before = layer.attention.W_v.weight.clone()
        layer.attention.W_k.weight.grad.zero_()
        optimizer.step()
        assert not torch.equal(layer.attention.W_v.weight, before)
        copied = copy.deepcopy(laid)
        assert texts([kv_cache.generate(copied, [1, 2], 9, GREEDY)]) == texts(
            [generation.generate(laid, [1, 2], 9, GREEDY)]
        )
    model = decoder("llama", laid_out=True)
    save_pretrained(model, None, tmp_path)
    again, _ = load_pretrained(tmp_path, tokenizer=False)
    assert torch.equal(
        again.state_dict()["stack.layers.1.attention.W_k.weight"], model.stack.layers[1].attention.W_k.weight
    )


def test_laying_out_leaves_other_weights_alone():
    half = lay_out_for_decoding(copy.deepcopy(decoder()).bfloat16())
    assert all(p.is_contiguous() for p in half.parameters())
    quantized = quantize_model(copy.deepcopy(decoder()), 8, progress=False)
    before = {key: tensor.clone() for key, tensor in quantized.state_dict().items()}
    lay_out_for_decoding(quantized)
    assert all(torch.equal(before[key], tensor) for key, tensor in quantized.state_dict().items())
    adapted = add_lora(copy.deepcopy(decoder()), ["W_q"], 2, 4)
    expected = adapted(torch.tensor([[1, 2, 3]]))
    assert_close(lay_out_for_decoding(adapted)(torch.tensor([[1, 2, 3]])), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("laid_out", [False, True])
@pytest.mark.parametrize("form", ["lora", "int8", "int4", "lora on int8"])
def test_other_layers_are_called_as_they_are(form, laid_out):
    model = copy.deepcopy(decoder("llama", laid_out))
    if "int" in form:
        quantize_model(model, 8 if "8" in form else 4, None if "8" in form else 2, progress=False)
    if "lora" in form:
        add_lora(model, ["W_q", "W_v", "W_in"], 2, 4)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data = torch.randn(parameter.shape, generator=seeded(3))
        model.eval()
    for sampling in (GREEDY, WARM):
        expected = texts(generation.generate(model, PROMPTS, 10, sampling, seeded(4)))
        assert texts(kv_cache.generate(model, PROMPTS, 10, sampling, seeded(4))) == expected
    if "lora" in form:  # training goes on afterwards
        model(torch.tensor([[1, 2, 3]])).logsumexp(-1).sum().backward()
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


# The cache itself


def test_begin_gives_positions_and_mask():
    cache = KVCache(CONFIGS["llama"], 2, 6)
    here = cache.begin(2)
    assert here.positions.tolist() == [0, 1] and here.mask is None and here.is_causal
    here = cache.begin(1)
    assert here.positions.tolist() == [2] and here.mask is None and not here.is_causal
    here = cache.begin(2, torch.tensor([2, 1]))
    assert here.positions.tolist() == [3, 4]
    assert here.mask.tolist() == [[True] * 4 + [False], [True] * 5]
    here = cache.begin(1)
    assert here.positions.tolist() == [[5], [4]]
    assert here.mask[:, 0, 0].tolist() == [[True] * 6, [True] * 5 + [False]]
    assert cache.lengths == [6, 5]
    cache.truncate([3, 5])
    assert cache.begin(1).positions.tolist() == [[3], [5]]
    cache.truncate(0)
    assert cache.begin(3).positions.tolist() == [0, 1, 2]


@torch.no_grad()
def test_what_is_cut_off_is_never_seen():
    model, cache = decoder("qwen3"), KVCache(CONFIGS["qwen3"], 2, 12)
    ids = shuffled([1, 1], 9)
    model(ids, here=cache.begin(9))
    cache.truncate([5, 2])
    rows = [ids[0, :5].tolist() + [7, 8], ids[1, :2].tolist() + [7, 8]]
    logits = model(torch.tensor([[7, 8], [7, 8]]), here=cache.begin(2))
    for b, row in enumerate(rows):
        assert_close(logits[b], model(torch.tensor([row]))[0, -2:], atol=1e-5, rtol=1e-5)


# Rotary clocks that depend on the length of the text


@pytest.mark.parametrize("kind", ["dynamic", "yarn", "linear"])
def test_scaled_clocks_are_those_of_transformers_beyond_the_first_context(kind, tmp_path):
    torch.manual_seed(0)
    rope = {"rope_type": kind, "factor": 4.0, "original_max_position_embeddings": 10, "rope_theta": 100.0}
    rope = {k: v for k, v in rope.items() if kind != "linear" or "original" not in k}
    # transformers counts "dynamic" from max_position_embeddings and lets longer texts in
    changes = {"head_dim": 6, "max_position_embeddings": 10 if kind == "dynamic" else 40}
    config = transformers.LlamaConfig(vocab_size=31, **LLAMA | changes, **IDS, rope_parameters=rope)
    theirs = transformers.LlamaForCausalLM(config).eval()
    ours = {"n_heads": 4, "n_kv_heads": 2, "d_head": 6, "d_ff": 20, "norm": "rms", "norm_first": True}
    ours |= {"activation": "swiglu", "positions": "rotary", "rope_theta": 100.0, "tied_head": False}
    ours |= {"qkv_bias": False, "out_bias": False, "mlp_bias": False, "norm_eps": 1e-6}
    scaling = RotaryScaling(
        4.0, rope_type=kind, original_max_position_embeddings=rope.get("original_max_position_embeddings")
    )
    model = Decoder(ModelConfig(**ours, **SIZES, rope_scaling=scaling)).eval()
    theirs.save_pretrained(tmp_path)
    state = load_pretrained(tmp_path, tokenizer=False)[0].state_dict() if kind == "linear" else None
    names = {
        "embed_tokens": "embedding.tokens",
        "q_proj": "W_q",
        "k_proj": "W_k",
        "v_proj": "W_v",
        "o_proj": "W_o",
    }
    names |= {
        "self_attn": "attention",
        "gate_proj": "W_gate",
        "up_proj": "W_in",
        "down_proj": "W_out",
        "mlp": "feed_forward",
    }
    names |= {"input_layernorm": "attention_norm", "post_attention_layernorm": "feed_forward_norm"}
    renamed = {}
    for name, tensor in theirs.state_dict().items():
        parts = [names.get(part, part) for part in name.removeprefix("model.").split(".")]
        name = ".".join(parts).replace("layers.", "stack.layers.")
        renamed["stack.final_norm.weight" if name == "norm.weight" else name.replace("lm_head", "head")] = (
            tensor
        )
    model.load_state_dict(renamed)
    assert state is None or state.keys() == renamed.keys()
    prompt = torch.tensor([[3, 1, 4, 1, 5]])
    options = {"attention_mask": torch.ones_like(prompt), "max_new_tokens": 30, "do_sample": False}
    assert torch.equal(kv_cache.generate(model, prompt, 30, GREEDY), theirs.generate(prompt, **options))
    slow = theirs.generate(prompt, use_cache=False, **options)
    assert torch.equal(generation.generate(model, prompt, 30, GREEDY), slow)


# Sliding windows


WINDOWS = {
    "all": {"sliding_window": 3},
    "one layer sees everything": {"sliding_window": 4, "full_layers": (1,)},
    "as long as the text": {"sliding_window": 40},
}


@pytest.mark.parametrize("window", list(WINDOWS))
@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_window_is_kept_to_in_every_way_of_reading(window, name, recorded):
    config = dataclasses.replace(CONFIGS[name], **WINDOWS[window])
    model = Decoder(config, generator=seeded(1)).eval()
    reader, slow = Cached(model, chunk_size=3, recorded=recorded), Reread(model)
    rows = [[7, 3, 9, 1, 20, 4, 4, 8], [4], [11, 12, 13]]
    for _ in range(6):
        assert_close(reader.read(rows), slow.read(rows), atol=1e-5, rtol=1e-5)
        rows = [row + [(row[-1] * 5 + 3) % 31] for row in rows]


def test_a_window_hides_what_lies_before_it():
    config = dataclasses.replace(CONFIGS["gpt2"], n_layers=1, sliding_window=3)
    model, ids = Decoder(config, generator=seeded(1)).eval(), torch.tensor([[1, 2, 3, 4, 5, 6]])
    for n in range(6):
        changed = ids.clone()
        changed[0, n] = 30
        seen = (model(changed) - model(ids))[0].abs().amax(-1) > 1e-6
        assert seen.tolist() == [n <= i < n + 3 for i in range(6)]


# Weights that change


def step_of_an_optimizer(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=seeded(9))


def merged(model):
    add_lora(model, ["W_q", "W_out"], 2, 4)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=seeded(3))
    merge_lora(model)


def other_state(model):
    return {k: v + 0.05 * torch.randn(v.shape, generator=seeded(7)) for k, v in model.state_dict().items()}


CHANGES = {
    "optimizer": step_of_an_optimizer,
    "load": lambda model: model.load_state_dict(other_state(model)),
    "assign": lambda model: model.load_state_dict(other_state(model), assign=True),
    "to": lambda model: model.double(),
    "to and back": lambda model: model.bfloat16().float(),
    "merge": merged,
    "quantize": lambda model: quantize_model(model, 4, 2, progress=False),
    "layer": lambda model: setattr(model.stack.layers[0], "feed_forward", model.stack.layers[1].feed_forward),
    "lay out": lay_out_for_decoding,
}


@pytest.mark.slow
@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.parametrize("recorded", [False, True])
def test_a_reader_never_mixes_old_and_new_weights(change, recorded):
    model = copy.deepcopy(decoder("llama"))
    reader = Cached(model, recorded=recorded)
    text = kv_cache.generate(reader, [1, 2, 3], 6, GREEDY).tolist()
    CHANGES[change](model)
    for prompt in (text, [1, 2, 3]):  # one goes on by a single token, the other begins anew
        expected = generation.generate(model, prompt, 12, GREEDY).tolist()
        assert kv_cache.generate(reader, prompt, 12, GREEDY).tolist() == expected


TOLD = {
    "nothing": lambda model: None,
    "epsilon": lambda model: setattr(model.stack.layers[0].attention_norm, "eps", 0.5),
    "activation": lambda model: setattr(model.stack.layers[1].feed_forward, "activation", torch.tanh),
    "forward": lambda model: setattr(model.stack.layers[1].feed_forward, "forward", lambda X: X.flip(-1)),
    "order": lambda model: setattr(model.stack.layers[0], "norm_first", False),
    "class": lambda model: setattr(model.stack.layers[0], "__class__", Turned),
}


class Turned(TransformerLayer):
    def forward(self, X, here=None, there=None):
        return super().forward(X, here, there).flip(-1)


@pytest.mark.parametrize("change", [*TOLD, *CHANGES])
def test_another_reader_uses_what_was_recorded_of_the_model_as_it_is(change, recordings):
    model = copy.deepcopy(decoder("llama"))
    text = kv_cache.generate(Cached(model, recorded=True), [1, 2, 3], 6, GREEDY).tolist()
    {**TOLD, **CHANGES}[change](model)
    expected = generation.generate(model, [1, 2, 3], 12, GREEDY).tolist()
    if change in TOLD:
        assert (expected[:9] == text) == (change == "nothing")  # so that the old step would be seen
    reader = Cached(model, recorded=True)
    assert kv_cache.generate(reader, [1, 2, 3], 12, GREEDY).tolist() == expected
    assert len(recordings) == (1 if change == "nothing" else 2)


def test_a_kind_of_step_is_recorded_when_it_was_done_often_whoever_reads(recordings):
    model = copy.deepcopy(decoder())
    for _ in range(5):  # 24 steps behind the prompt, one of them in the prompt's read
        kv_cache.generate(model, [1, 2, 3], 25, GREEDY)
        made = len(recordings)
    assert made == 1
    kv_cache.generate(model, [[1, 2, 3], [4, 5, 6]], 25, GREEDY)
    kv_cache.generate(Cached(model, recorded=False), [1, 2, 3], 25, GREEDY)
    assert len(recordings) == 1


def test_recordings_go_with_their_model(recordings):
    model = copy.deepcopy(decoder())
    kv_cache.generate(Cached(model, recorded=True), [1, 2, 3], 6, GREEDY)
    there = weakref.ref(model)
    del model
    gc.collect()
    assert recordings and there() is None


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_a_read_that_failed_leaves_nothing_behind(chunk_size):
    """Slots that were counted but never written must not be looked at by the text that goes on."""
    model, fails = copy.deepcopy(decoder("llama")), []

    def interrupt(*_):
        if fails:
            raise KeyboardInterrupt

    model.stack.layers[0].feed_forward.register_forward_pre_hook(interrupt)
    reader = Cached(model, chunk_size=chunk_size)
    for rows in ([[1, 2, 3]], [[1, 2, 3, 4, 5, 6]], [[9, 8, 7]]):
        fails.append("once")
        with pytest.raises(KeyboardInterrupt):
            reader.read(rows)
        fails.clear()
        for row in [*rows[0], 6], [*rows[0], 6, 7]:
            assert_close(reader.read([row]), Reread(decoder("llama")).read([row]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_run_at_every_step_whether_it_could_be_recorded_or_not(before, register):
    model, seen = copy.deepcopy(decoder()), []
    reader = Cached(model, recorded=True)
    if not before:
        kv_cache.generate(reader, [1, 2, 3], 4, GREEDY)
    getattr(model.stack.layers[1].attention.W_v, register)(lambda module, *args: seen.append(1))
    lay_out_for_decoding(model)
    kv_cache.generate(reader, [1, 2, 3], 6, GREEDY)
    assert len(seen) == 6


def test_a_new_bias_is_seen_beside_an_old_weight():
    model = lay_out_for_decoding(copy.deepcopy(decoder()))
    reader = Cached(model)
    kv_cache.generate(reader, [1, 2, 3], 4, GREEDY)
    attention = model.stack.layers[0].attention
    attention.W_q.bias = torch.nn.Parameter(attention.W_q.bias + torch.randn(12, generator=seeded(1)))
    attention.W_v.bias.data = attention.W_v.bias.data + 1
    rows = [[1, 2, 3, 4], [1, 2, 3, 4, 5]]
    for row in rows:
        assert_close(reader.read([row]), Reread(copy.deepcopy(model)).read([row]), atol=1e-5, rtol=1e-5)
        with torch.no_grad():
            plain = copy.deepcopy(model)
            for layer in plain.stack.layers:
                layer.attention.in_one = None
            assert_close(reader.read([[*row, 9]]), Reread(plain).read([[*row, 9]]), atol=1e-5, rtol=1e-5)


def test_a_model_that_went_back_to_training_is_refused():
    model = copy.deepcopy(decoder("marian"))
    reader = Cached(model)
    reader.read([[1, 2]])
    model.train()
    with pytest.raises(ValueError, match="call model.eval"):
        reader.read([[1, 2, 3]])


@pytest.mark.parametrize("change", ["optimizer", "assign", "merge"])
def test_a_source_is_read_by_the_weights_of_now(change):
    config = ModelConfig(n_heads=2, **SIZES)
    model = EncoderDecoder(config, generator=seeded(6)).eval()
    given_source = Conditioned(model, shuffled([1, 1], 6))
    reader = Cached(given_source, recorded=True)
    kv_cache.generate(reader, [[1], [1]], 5, GREEDY)
    CHANGES[change](model)
    fresh = Conditioned(model, shuffled([1, 1], 6))
    expected = texts(generation.generate(fresh, [[1], [1]], 9, GREEDY))
    assert texts(generation.generate(given_source, [[1], [1]], 9, GREEDY)) == expected
    assert texts(kv_cache.generate(reader, [[1], [1]], 9, GREEDY)) == expected


@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_wrapped_models_are_read_as_what_they_hold(wrap):
    expected = kv_cache.generate(decoder(), [1, 2], 5, GREEDY)
    assert torch.equal(kv_cache.generate(wrap(decoder()), [1, 2], 5, GREEDY), expected)


# Errors


def cache_for(**changes):
    return KVCache(CONFIGS["llama"], **{"batch": 2, "max_length": 10} | changes)


@torch.no_grad()
def read_with(model, tokens, cache):
    return model(tokens, here=cache.begin(tokens.shape[1]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cache_for(batch=0), "batch must be a positive integer, got 0"),
        (lambda: Cached(decoder(), 10).read([[1] * 11, [2]]), "text of 11 tokens does not fit.* room for 10"),
        (lambda: Cached(decoder()).read([[1] * 41]), "text of 41 tokens does not fit.* room for 40"),
        (
            lambda: kv_cache.generate(Cached(decoder(), 10), [[1] * 8, [2]], 5),
            "text of 11 tokens does not fit.* room for 10",
        ),
        (
            lambda: read_with(decoder("llama"), torch.ones(3, 1).long(), cache_for()),
            r"expects keys \(2, 2, 1, 6\)",
        ),
        (
            lambda: read_with(
                decoder("qwen3"),
                torch.ones(2, 1).long(),
                KVCache(dataclasses.replace(CONFIGS["qwen3"], n_kv_heads=3), 2, 9),
            ),
            r"got \(2, 1, 1, 8\)",
        ),
        (
            lambda: decoder("llama")(torch.ones(2, 1).long(), here=cache_for().begin(1)),
            "keeps no gradients: read with it under torch.no_grad",
        ),
        (lambda: cache_for().begin(11), "row of 11 tokens does not fit: .* room for 10"),
        (lambda: cache_for().begin(3, torch.tensor([1, 4])), "0 ... 3, got"),
        (
            lambda: cache_for().begin(3, torch.tensor([1])),
            r"lengths of 2 rows must lie in 0 ... 3, got \[1\]",
        ),
        (lambda: cache_for().truncate([1, 0]), r"rows of \[0, 0\] tokens cannot be cut to \[1, 0\]"),
        (
            lambda: kv_cache.generate(decoder(), torch.arange(30), 12),
            "30 tokens and 12 new ones do not fit .* 40 tokens",
        ),
        (
            lambda: kv_cache.generate(decoder(), [1], 2, chunk_size=0),
            "chunk_size must be a positive integer, got 0",
        ),
        (lambda: kv_cache.generate(decoder(), [31], 2), "token id 31 is outside the vocabulary of 31"),
        (lambda: kv_cache.generate(lambda ids: ids, [1], 2), "a cache serves a Decoder, .* got function"),
        (
            lambda: kv_cache.generate(decoder(), [[1], [2]], 1, generator=[seeded(1)]),
            "one generator for each row",
        ),
        (lambda: kv_cache.generate(copy.deepcopy(decoder("marian")).train(), [1], 2), "call model.eval"),
        (lambda: kv_cache.stream(decoder(), [[1], [2]], 1), "one text, got 2"),
        (lambda: kv_cache.generate(decoder(), [], 1), "at least one prompt"),
        (lambda: kv_cache.generate(decoder(), [1], 1, stop="a"), "give the tokenizer"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Steps of fixed shape, and a GPU


@pytest.mark.parametrize("name", list(CONFIGS))
def test_a_step_over_the_whole_memory_is_the_same(name):
    """What a CUDA graph records: all slots are shown, the mask hides those behind a row's end."""
    reader, slow = Cached(decoder(name), max_length=12), Reread(decoder(name))
    rows = [[7, 3, 9], [4], [11, 12]]
    with torch.inference_mode():
        reader.read(rows)
        for _ in range(4):
            at = torch.tensor([[len(row)] for row in rows])
            rows = [row + [(row[-1] * 5 + 3) % 31] for row in rows]
            tokens = torch.tensor([row[-1:] for row in rows])
            logits = reader.look_and_read(tokens, at, reader.cache.pool[:, :, :, :12])
            assert_close(logits, slow.read(rows), atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", list(CONFIGS))
def test_a_graph_gives_the_same_tokens(name):
    model = copy.deepcopy(decoder(name)).cuda()
    reader = Cached(model, max_length=30)
    for sampling in (GREEDY, WARM):
        expected = generation.generate(model, PROMPTS, 14, sampling, torch.Generator("cuda").manual_seed(1))
        got = kv_cache.generate(reader, PROMPTS, 14, sampling, torch.Generator("cuda").manual_seed(1))
        assert texts(got) == texts(expected)
