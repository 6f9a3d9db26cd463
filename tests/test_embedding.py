"""Embedding and positions, against one-hot products, complex rotations and transformers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lecture_lib.embedding import (
    RotaryScaling,
    TokenEmbedding,
    apply_rotary,
    one_hot_lookup,
    rotary_frequencies,
    rotary_tables,
    rotate,
    sinusoidal_positions,
    tied_logits,
)


# --- the lecture's example: a table of |V| = 30,000 columns of 1024 numbers, looked up by a product ------------------
def test_lookup_is_the_product_with_the_lectures_matrix():
    omega_e = torch.randn(4, 7)  # (D, |V|), one column a token
    ids = torch.tensor([[3, 0, 6], [6, 6, 1]])
    vectors = one_hot_lookup(ids, omega_e.mT)
    assert vectors.shape == (2, 3, 4)
    for b in range(2):
        for n in range(3):
            assert_close(vectors[b, n], omega_e[:, ids[b, n]])


def test_rotary_turns_the_first_pair_by_one_radian_a_token():
    x = torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 3)  # pairs (0, 2) and (1, 3)
    turned = apply_rotary(x, torch.tensor([0, 1, 5]))
    assert_close(turned[:, 0], torch.tensor([0.0, 1.0, 5.0]).cos())
    assert_close(turned[:, 2], torch.tensor([0.0, 1.0, 5.0]).sin())
    assert turned[:, [1, 3]].abs().max() == 0


# --- independent oracles --------------------------------------------------------------------------------------------
def test_token_embedding_is_the_one_hot_product():
    table = TokenEmbedding(11, 5)
    ids = torch.randint(0, 11, (2, 3, 4))
    assert_close(table(ids), one_hot_lookup(ids, table.weight))
    assert_close(table(ids.int()), table.weight[ids])
    assert_close(
        tied_logits(table(ids), table.weight), torch.einsum("...d,vd->...v", table(ids), table.weight)
    )


def test_token_embedding_gradient_counts_the_uses():
    table = TokenEmbedding(4, 3)
    table(torch.tensor([1, 1, 3])).sum().backward()
    assert table.weight.grad[:, 0].tolist() == [0, 2, 0, 1]


@pytest.mark.parametrize(("n", "d"), [(1, 2), (7, 6), (3000, 10)])
def test_sinusoidal_positions_number_by_number(n, d):
    alternating = sinusoidal_positions(n, d)
    halves = sinusoidal_positions(n, d, halves=True)
    assert alternating.shape == halves.shape == (n, d)
    for position in {0, n // 2, n - 1}:
        for i in range(d // 2):
            angle = position / 10000 ** (2 * i / d)
            assert alternating[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert alternating[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
            assert halves[position, i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert halves[position, d // 2 + i].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_sinusoidal_positions_of_any_tensor_are_rows_of_the_table():
    positions = torch.tensor([[4, 0], [2, 9]])
    assert_close(sinusoidal_positions(positions, 6), sinusoidal_positions(10, 6)[positions])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotary_is_a_product_of_complex_numbers(dtype):
    x = torch.randn(2, 3, 5, 8, dtype=dtype)
    positions = torch.tensor([[0, 7, 7, 2, 1000], [3, 4, 5, 6, 7]])[:, None]
    frequencies = 500.0 ** (-torch.arange(4, dtype=torch.float64) / 4)
    phases = torch.polar(torch.tensor(1.0, dtype=torch.float64), positions[..., None] * frequencies)
    turned = torch.complex(x[..., :4].double(), x[..., 4:].double()) * phases
    expected = torch.cat([turned.real, turned.imag], dim=-1).to(dtype)
    assert_close(apply_rotary(x, positions, theta=500.0), expected, atol=3e-4, rtol=0)  # angles are float32


@pytest.mark.parametrize("theta", [10_000.0, 77.0])
def test_models_turn_by_tables_as_the_definition_does(theta):
    x = torch.randn(2, 3, 5, 8)
    positions = torch.tensor([[0, 1, 2, 3, 4], [9, 3, 3, 70, 1]])[:, None]
    tables = rotary_tables(positions, rotary_frequencies(8, theta))
    assert_close(rotate(x, *tables), apply_rotary(x, positions, theta), atol=1e-5, rtol=0)
    assert rotate(x.bfloat16(), *tables).dtype == torch.bfloat16


def test_rotary_equals_transformers_at_positions_of_their_own_in_every_row():
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = llama.LlamaConfig(hidden_size=32, num_attention_heads=4, max_position_embeddings=4096)
    positions = torch.tensor([[0, 1, 2], [4000, 5, 4000]])
    q = torch.randn(2, 4, 3, 8)
    cos, sin = llama.LlamaRotaryEmbedding(config)(q, positions)
    expected, _ = llama.apply_rotary_pos_emb(q, q, cos, sin)
    assert_close(apply_rotary(q, positions[:, None]), expected, atol=1e-6, rtol=0)


LLAMA3 = {"low_freq_factor": 1.5, "high_freq_factor": 4.0, "original_max_position_embeddings": 512}
YARN = {"original_max_position_embeddings": 512}
SCALINGS = [
    ("linear", {"factor": 3.0}),
    ("llama3", {"factor": 8.0, **LLAMA3}),
    ("dynamic", {"factor": 4.0}),
    ("yarn", {"factor": 8.0, **YARN}),
    ("yarn", {"factor": 1.0, **YARN}),
    ("yarn", {"factor": 4.0, **YARN, "beta_fast": 8.0, "beta_slow": 2.0, "truncate": False}),
    ("yarn", {"factor": 40.0, **YARN, "mscale": 1.0, "mscale_all_dim": 0.7}),
    ("yarn", {"factor": 2.5, "original_max_position_embeddings": 16, "attention_factor": 1.3, "mscale": 1.0}),
    ("yarn", {"factor": 4.0, "original_max_position_embeddings": 3}),
]


@pytest.mark.parametrize(("kind", "more"), [("default", {}), *SCALINGS])
@pytest.mark.parametrize("d_head", [2, 8, 64, 128])
@pytest.mark.parametrize("length", [5, 512, 513, 5000])
def test_scaled_frequencies_equal_transformers(kind, more, d_head, length):
    ropes = pytest.importorskip("transformers.modeling_rope_utils")
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    if kind == "dynamic" and d_head == 2:
        return  # divides by zero there
    rope = {"rope_type": kind, "rope_theta": 50_000.0, **more}
    config = LlamaConfig(
        hidden_size=d_head * 2, num_attention_heads=2, max_position_embeddings=512, rope_parameters=rope
    )
    if kind == "default":
        scaling, (expected, amplitude) = None, LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    else:
        first = {"original_max_position_embeddings": 512} if kind == "dynamic" else {}
        scaling = RotaryScaling(rope_type=kind, **more, **first)
        expected, amplitude = ropes.ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)
        assert scaling.amplitude == pytest.approx(amplitude, rel=1e-12)
    frequencies = rotary_frequencies(d_head, 50_000.0, scaling, length=length)
    assert_close(frequencies, expected, rtol=6e-7, atol=0)
    theirs = LlamaRotaryEmbedding(config)(torch.zeros(1), torch.arange(length)[None])
    tables = rotary_tables(torch.arange(length), frequencies, amplitude)
    for ours, full in zip(tables, theirs, strict=True):
        assert_close(ours, full[0, :, : d_head // 2], atol=2e-3, rtol=0)


def test_dynamic_scaling_begins_beyond_the_first_context():
    scaling = RotaryScaling(4.0, rope_type="dynamic", original_max_position_embeddings=100)
    plain = rotary_frequencies(16)
    for length in (None, 1, 100):
        assert torch.equal(rotary_frequencies(16, scaling=scaling, length=length), plain)
    slowed = rotary_frequencies(16, scaling=scaling, length=400)
    assert slowed[0] == 1 and slowed[-1] == pytest.approx(plain[-1].item() / 13)  # 4 * 4 - 3


# --- properties -----------------------------------------------------------------------------------------------------
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 300), st.integers(1, 8))
def test_rotary_products_depend_on_the_distance_alone(i, j, shift, half):
    q, k = torch.randn(2, 1, 2 * half, dtype=torch.float64)

    def product(i: int, j: int) -> float:
        return (apply_rotary(q, torch.tensor([i])) * apply_rotary(k, torch.tensor([j]))).sum().item()

    assert product(i, j) == pytest.approx(product(i + shift, j + shift), abs=2e-3)
    turned = apply_rotary(q, torch.tensor([i]))
    assert turned.norm().item() == pytest.approx(q.norm().item(), rel=1e-5)


def test_rotary_keeps_dtype_and_broadcasts_positions():
    x = torch.randn(2, 3, 5, 4, dtype=torch.bfloat16)
    turned = apply_rotary(x, torch.arange(5))
    assert turned.dtype == torch.bfloat16
    assert_close(turned[1, 2], apply_rotary(x[1, 2], torch.arange(5)))


# --- errors ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("wrong", [50257, -1])
def test_an_id_outside_the_vocabulary_is_named(wrong):
    message = rf"token id {wrong} is outside the vocabulary of 50257 \(ids 0 to 50256\)"
    with pytest.raises(ValueError, match=message):
        TokenEmbedding(50257, 2)(torch.tensor([5, wrong]))
    with pytest.raises(ValueError, match=message):
        one_hot_lookup(torch.tensor([[wrong]]), torch.zeros(50257, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_ids_must_be_integers(dtype):
    with pytest.raises(ValueError, match=f"token ids must be integers .*got {dtype}"):
        TokenEmbedding(5, 2)(torch.zeros(3, dtype=dtype))


def test_empty_ids_give_no_vectors():
    assert TokenEmbedding(5, 2)(torch.zeros(0, dtype=torch.long)).shape == (0, 2)


def test_odd_widths_and_misplaced_positions_are_refused():
    with pytest.raises(ValueError, match="d_model must be even, got 7"):
        sinusoidal_positions(3, 7)
    with pytest.raises(ValueError, match="d_head must be even, got 5"):
        apply_rotary(torch.randn(3, 5), torch.arange(3))
    with pytest.raises(ValueError, match=r"positions \(4,\) do not broadcast to \(2, 3\)"):
        apply_rotary(torch.randn(2, 3, 6), torch.arange(4))
    with pytest.raises(ValueError, match=r"positions \(2, 3\) do not broadcast to \(2, 4, 3\)"):
        apply_rotary(torch.randn(2, 4, 3, 6), torch.zeros(2, 3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"share d_model: got \(2, 3\) and \(9, 4\)"):
        tied_logits(torch.zeros(2, 3), torch.zeros(9, 4))


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"factor": 0.0}, "factor must be a positive number"),
        (
            {"factor": 8.0, "low_freq_factor": 1.0},
            "'llama3' needs high_freq_factor and original_max_position",
        ),
        ({"factor": 8.0, **LLAMA3, "low_freq_factor": 4.0}, "low_freq_factor must be below high_freq_factor"),
        ({"factor": 8.0, **LLAMA3, "low_freq_factor": 0.0}, "low_freq_factor must be a positive number"),
        ({"factor": 8.0, "rope_type": "dynamic"}, "'dynamic' needs original_max_position_embeddings"),
        ({"factor": 8.0, "beta_fast": 3.0}, "beta_fast has no meaning in rotary scaling of type 'linear'"),
        ({"factor": 8.0, "rope_type": "yarn", **LLAMA3}, "low_freq_factor has no meaning"),
        (
            {"factor": 8.0, "rope_type": "yarn", **YARN, "beta_slow": 3, "beta_fast": 2},
            "beta_slow must be below",
        ),
        ({"factor": 8.0, "rope_type": "longrope"}, "rope_type must be one of linear, dynamic, llama3, yarn"),
    ],
)
def test_rotary_scaling_that_makes_no_sense_is_refused(scaling, message):
    with pytest.raises(ValueError, match=message):
        RotaryScaling(**scaling)
