"""Attention whose keys and values lie in blocks, wherever the block table says."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise


def paged_attention(
    Q: Tensor, K_pool: Tensor, V_pool: Tensor, tables: list[list[int]], lengths: list[int]
) -> Tensor:
    """Let the newest token of each text look back; the mistakes below are changes of these lines."""
    n_blocks, size, n_kv_heads = K_pool.shape[:3]
    shared = Q.shape[1] // n_kv_heads
    mixed = []
    for q, table, length in zip(Q, tables, lengths, strict=True):
        slots = torch.tensor([table[p // size] * size + p % size for p in range(length)])
        K = K_pool.flatten(0, 1)[slots].repeat_interleave(shared, 1)  # (M, H, D_k)
        V = V_pool.flatten(0, 1)[slots].repeat_interleave(shared, 1)
        scores = torch.einsum("hd,mhd->hm", q, K) / q.shape[-1] ** 0.5
        mixed.append(torch.einsum("hm,mhd->hd", scores.softmax(-1), V))
    return torch.stack(mixed)


def contiguous(Q, K_pool, V_pool, tables, lengths) -> Tensor:
    """Lay each text out in one piece, block behind block, and call torch's kernel."""
    rows = []
    for i, length in enumerate(lengths):
        K, V = (torch.cat([pool[b] for b in tables[i]])[:length] for pool in (K_pool, V_pool))
        K, V = (x.movedim(0, 1)[None] for x in (K, V))  # (1, H_kv, M, D)
        rows.append(F.scaled_dot_product_attention(Q[i][None, :, None], K, V, enable_gqa=True)[0, :, 0])
    return torch.stack(rows)


def longest_for_all(Q, K_pool, V_pool, tables, lengths) -> Tensor:
    """Let every text look at as many tokens as its table has room for, up to the longest of all."""
    most = [min(max(lengths), len(table) * K_pool.shape[1]) for table in tables]
    return paged_attention(Q, K_pool, V_pool, tables, most)


def side_by_side(Q, K_pool, V_pool, tables, lengths, hide: float = -torch.inf, late: bool = False) -> Tensor:
    """All texts at once, in rows as long as the longest table; places behind a text's end are hidden, or not quite."""
    most = max(map(len, tables))
    blocks = torch.tensor([[*table, *[0] * (most - len(table))] for table in tables])
    shared = Q.shape[1] // K_pool.shape[2]
    K, V = (pool[blocks].flatten(1, 2).repeat_interleave(shared, 2) for pool in (K_pool, V_pool))
    behind = (torch.arange(K.shape[1]) >= torch.tensor(lengths)[:, None])[:, None]  # (R, 1, M)
    scores = torch.einsum("rhd,rmhd->rhm", Q, K) / Q.shape[-1] ** 0.5
    weights = (scores if late else scores.masked_fill(behind, hide)).softmax(-1)
    return torch.einsum("rhm,rmhd->rhd", weights.masked_fill(behind, 0) if late else weights, V)


def paged_cases(seed: int) -> list[Case]:
    """Full and partly full blocks, shared ones, tables with blocks in reserve, grouped heads, left-overs of other texts."""
    draw = Draw(seed)

    def case(what: str, lengths: list[int], heads: tuple = (6, 2), spare: int = 0, dtype: torch.dtype = torch.float32,
             size: int = 4, common: int = 0) -> Case:  # fmt: skip
        d_k, d_v = draw.random.sample(range(3, 9), 2)
        needed = [-(-n // size) + spare for n in lengths]
        n_blocks = sum(needed) + 3
        order = draw.order(n_blocks).tolist()
        first, tables = order[:common], []
        at = common
        for n in needed:
            tables.append(first + order[at : at + n - common])
            at += n - common
        shape = (n_blocks, size, heads[1])
        K, V = draw.normal(*shape, d_k, dtype=dtype), 1 + draw.normal(*shape, d_v, dtype=dtype)
        texts = zip(tables, lengths, strict=True)
        used = {table[p // size] * size + p % size for table, n in texts for p in range(n)}
        left = [slot for slot in range(n_blocks * size) if slot not in used]
        K.flatten(0, 1)[left] *= 4  # what other texts left behind is loud
        V.flatten(0, 1)[left] -= 30
        Q = 2 * draw.normal(len(lengths), heads[0], d_k, dtype=dtype)
        return Case(what, (Q, K, V, tables, list(lengths)))

    a, b = draw.random.sample(range(5, 14), 2)
    return [
        case("one text, one full block, one head", [4], (1, 1)),
        case(f"one text of {4 * (a // 4) + 3} tokens", [4 * (a // 4) + 3]),
        case(f"three texts of {a}, {b} and 1 tokens, 6 heads on 2", [a, b, 1]),
        case("lengths that fill their blocks", [8, 12, 4], (4, 4)),
        case("texts that share two blocks", [9, 11, 10], common=2),
        case("tables with two blocks in reserve", [a, 3, b], spare=2),
        case("blocks of one token", [5, 3], size=1),
        case("blocks of 7, all queries on one key head", [a, b], (5, 1), size=7),
        case("double precision", [b, a], dtype=F64),
        case("half precision", [6, 3], dtype=torch.bfloat16),
    ]


PAGED = Exercise(
    name="serving.paged_attention",
    points=3, difficulty=2, minutes=20,
    against="torch's kernel on texts that are laid out in one piece",
    reference=contiguous,
    right=paged_attention,
    cases=paged_cases,
    mistakes=(
        ("the table is not used: the text is taken to lie at the beginning of the pool. Where is its first block?",
         "table[p // size] * size + p % size", "p"),
        ("the text is taken to lie in one piece behind its first block. Where is its second one?",
         "table[p // size] * size + p % size", "(table[0] * size + p) % (n_blocks * size)"),
        ("the blocks are read in the order of their numbers, up to the length. Which block holds the beginning?",
         "table[p // size]", "sorted(table)[p // size]"),
        ("every token is looked for in the first place of its block. Which place has token p?",
         "table[p // size] * size + p % size", "table[p // size] * size"),
        ("the last block is read to its end. How many tokens has the text?",
         "range(length)", "range(-(-length // size) * size)"),
        ("all blocks of the table are read. What stands in those that are in reserve?",
         "range(length)", "range(len(table) * size)"),
        ("the newest token does not see itself. Its key is stored already: is it among the `length` tokens?",
         "range(length)", "range(max(1, length - 1))"),
        ("every text looks at as many tokens as the longest one. How long is this one?", longest_for_all),
        ("the scores are divided by the square root of D_v. Which width do queries and keys share?",
         "q.shape[-1] ** 0.5", "V.shape[-1] ** 0.5"),
        ("the scores are not divided at all. By what, in chapter 3?",
         " / q.shape[-1] ** 0.5", ""),
        ("query head h looks at key head h modulo the number of key heads. Which queries share a key?",
         "K_pool.flatten(0, 1)[slots].repeat_interleave(shared, 1)", "K_pool.flatten(0, 1)[slots].repeat(1, shared, 1)",
         "V_pool.flatten(0, 1)[slots].repeat_interleave(shared, 1)", "V_pool.flatten(0, 1)[slots].repeat(1, shared, 1)"),
        ("all queries look at the first key head. Which one belongs to query head h?",
         "K_pool.flatten(0, 1)[slots].repeat_interleave(shared, 1)", "K_pool.flatten(0, 1)[slots][:, :1].expand(-1, len(q), -1)",
         "V_pool.flatten(0, 1)[slots].repeat_interleave(shared, 1)", "V_pool.flatten(0, 1)[slots][:, :1].expand(-1, len(q), -1)"),
        ("only the last block is read. Where are the tokens before it?",
         "for p in range(length)", "for p in range((length - 1) // size * size, length)"),
        ("places behind the end of a text are set to 0 after the softmax. Do the weights that are left sum to 1?",
         lambda Q, K_pool, V_pool, tables, lengths: side_by_side(Q, K_pool, V_pool, tables, lengths, late=True)),
        ("scores behind the end of a text are set to 0. Which weight does a score of 0 give?",
         lambda Q, K_pool, V_pool, tables, lengths: side_by_side(Q, K_pool, V_pool, tables, lengths, hide=0.0)),
        ("the softmax runs over the heads. Over which axis should the weights sum to 1?",
         "scores.softmax(-1)", "scores.softmax(0)"),
        ("keys take the place of values. What is mixed?",
         "V = V_pool.flatten(0, 1)[slots].repeat_interleave(shared, 1)",
         "V = K.mean(-1, keepdim=True) + 0 * V_pool.flatten(0, 1)[slots].repeat_interleave(shared, 1)"),
    ),
)  # fmt: skip
