"""The autoregressive loop: predict the next token, append it, start again (lecture, "Sampling: generating text").

A model reads the whole text anew at every step (`Reread`), or what is new in it (`kv_cache.Cached`).

Source: Bishop & Bishop (2024), section 12.3.2.
Axes: B texts, N tokens of the longest prompt, M of the longest text, |V| tokens of the vocabulary.
"""

import operator
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lecture_lib.fields import whole
from lecture_lib.generation.reread import Model, Reader, Reread
from lecture_lib.generation.text import Decodes, Stop
from lecture_lib.padding import pad
from lecture_lib.sampling import SamplingParameters, constrain, sample

Prompts = Tensor | Sequence[int] | Sequence[Sequence[int]] | Sequence[Tensor]  # or arrays of NumPy
Generators = torch.Generator | Sequence[torch.Generator] | None


def generate(
    model: Model | Reader,
    ids: Prompts,
    max_new_tokens: int,
    sampling: SamplingParameters = SamplingParameters(),
    generator: Generators = None,
    stop: Collection[int | str] | int | str | None = (),
    lengths: Tensor | None = None,
    tokenizer: Decodes | None = None,
    context_length: int | None = None,
    pad_id: int | None = None,
    attention_mask: Tensor | None = None,
) -> Tensor | list[Tensor]:
    """Continue texts, one token after another; call `model.eval()` first if the model has dropout.

    Args:
        model: as for `Reread`, or anything with its method `read`.
        ids: (N,) or (B, N) ids, one prompt or a table of them, or a list of prompts (lists, tensors or arrays).
        max_new_tokens: largest number of new tokens of a text.
        sampling: how a token is chosen; temperature 0: greedy.
        generator: one for all texts, in turn, or one for each, which then comes out as it would alone; None: torch's.
        stop: token ids and strings that end a text; they are part of it. A string may end inside a token.
        lengths: (B,) number of real tokens in each right-padded row of ids; None: all N.
        tokenizer: gives the text in which stop strings are looked for.
        context_length: let the model see the last so many tokens only; None: all, and a text for which the
            model's context (`model.config.context_length`) has no room is an error.
        pad_id: what fills the rows of a (B, M) table behind the end of a text.
        attention_mask: (B, N) 1 for real tokens, 0 for padding, as tokenizers of `transformers` give it with
            padding on the left or on the right; in place of `lengths`.

    Returns:
        (M,) or (B, M) ids, prompt and new tokens, in the form of the prompts; a list of B tensors for a list of prompts,
        and for a table whose texts may differ in length (by `stop`, `lengths` or `attention_mask`), but for `pad_id`.

    Raises:
        ValueError: prompts or numbers that do not fit, no room in the context, or logits of another shape.

    Example:
        >>> successor = lambda ids, lengths=None: torch.eye(10)[(ids + 1) % 10]
        >>> generate(successor, torch.tensor([3, 4]), 4, SamplingParameters(temperature=0), stop=[7])
        tensor([3, 4, 5, 6, 7])
    """
    (rows, is_one, first), end = to_rows(ids, lengths, attention_mask), Stop(stop, tokenizer)
    reader = reader_of(model, first, rows, max_new_tokens, context_length)
    ends = [len(row) for row in rows]
    for i, _ in follow(reader, rows, max_new_tokens, sampling, generator, end, context_length):
        ends[i] += 1
    texts = [row[:n] for row, n in zip(rows, ends, strict=True)]
    device, dtype = getattr(reader, "device", None), torch.long
    if first is not None:
        device, dtype = first.device, first.dtype
    differ = end.ids or end.strings or lengths is not None or attention_mask is not None
    if isinstance(ids, Tensor) and ids.ndim == 2 and not (differ and pad_id is None):
        return pad(texts, pad_id or 0, device)[0].to(dtype)
    texts = [torch.tensor(text, dtype=dtype, device=device) for text in texts]
    return texts[0] if is_one else texts


def stream(
    model: Model | Reader,
    ids: Prompts,
    max_new_tokens: int,
    sampling: SamplingParameters = SamplingParameters(),
    generator: Generators = None,
    stop: Collection[int | str] | int | str | None = (),
    tokenizer: Decodes | None = None,
    context_length: int | None = None,
) -> Iterator[int]:
    """Give the new tokens of one text, the one that ends it included, as they come; arguments as `generate`.

    `decode_stream` makes text of them.

    Raises:
        ValueError: as `generate`, or more than one prompt.

    Example:
        >>> successor = lambda ids, lengths=None: torch.eye(10)[(ids + 1) % 10]
        >>> list(stream(successor, [3, 4], 3, SamplingParameters(temperature=0)))
        [5, 6, 7]
    """
    (rows, _, first), end = to_rows(ids), Stop(stop, tokenizer)
    if len(rows) != 1:
        raise ValueError(f"stream follows one text, got {len(rows)}; generate takes several")
    reader = reader_of(model, first, rows, max_new_tokens, context_length)
    following = follow(reader, rows, max_new_tokens, sampling, generator, end, context_length)
    return (token for _, token in following)


def follow(
    reader: Reader,
    rows: list[list[int]],
    max_new_tokens: int,
    sampling: SamplingParameters,
    generator: Generators,
    end: Stop,
    context_length: int | None,
) -> Iterator[tuple[int, int]]:
    """Lengthen the rows in place until all texts have ended: (row, token) of what each text gets, step by step.

    A text that has ended is read on, so that what the others get does not depend on it.
    """
    starts, running = [len(row) for row in rows], list(range(len(rows)))
    for n in range(max_new_tokens):
        logits = reader.read([row[-context_length:] for row in rows] if context_length else rows)
        if sampling.constrained:
            is_last = n == max_new_tokens - 1
            logits = constrain(logits, sampling, rows, [n] * len(rows), is_last, end.ids)
        texts = pad(rows, 0, logits.device) if sampling.repetition_penalty != 1 else (None, None)
        tokens = sample(logits, sampling, texts[0], generator, texts[1]).tolist()
        for row, token in zip(rows, tokens, strict=True):
            row.append(token)
        yield from ((i, tokens[i]) for i in running)
        if end.ids or end.strings:
            running = [i for i in running if not end(rows[i][starts[i] :], rows[i][: starts[i]])]
        if not running:
            break


def reader_of(
    model: Model | Reader, first: Tensor | None, rows: list[list[int]], n_new: int, window: int | None
) -> Reader:
    """Give what reads for a model, and refuse texts that do not fit into its context, before anything is computed."""
    reader = model
    if not hasattr(model, "read"):
        is_function = not (isinstance(model, nn.Module) or hasattr(model, "device"))
        reader = Reread(model, getattr(first, "device", None) if is_function else None)
    n_new = whole("max_new_tokens", n_new)
    window = None if window is None else whole("context_length", window, 1)
    context = getattr(getattr(reader, "config", None), "context_length", None)
    longest = max(map(len, rows))
    read = longest + max(n_new - 1, 0)  # the last new token need not be read
    if context is not None and min(read, window or read) > context:
        raise ValueError(
            f"a prompt of {longest} tokens and {n_new} new ones do not fit into the context of {context} tokens: "
            f"shorten them, or show the model the last ones only, context_length={context}"
        )
    return reader


def to_rows(
    ids: Prompts, lengths: Tensor | None = None, attention_mask: Tensor | None = None
) -> tuple[list[list[int]], bool, Tensor | None]:
    """Write prompts, as `generate`, as lists of token ids without padding, and refuse what does not fit.

    Also tell whether they were one prompt, and give the first tensor among them, which says dtype and device.
    """
    rows = nested(ids)
    is_one = isinstance(rows, str) or not any(isinstance(each, list | str) for each in rows)
    rows = [rows] if is_one else rows
    first = ids if isinstance(ids, Tensor) else next((each for each in ids if isinstance(each, Tensor)), None)
    if attention_mask is not None:
        real = attention_mask.tolist() if hasattr(attention_mask, "tolist") else list(attention_mask)
        real = real if any(isinstance(each, list) for each in real) else [real]
        sizes = [len(row) for row in rows], [len(row) for row in real]
        if sizes[0] != sizes[1]:
            raise ValueError(f"a mask needs an entry for each of the ids: {sizes[1]} for {sizes[0]}")
        rows = [
            [t for t, keep in zip(row, here, strict=True) if keep]
            for row, here in zip(rows, real, strict=True)
        ]
    elif lengths is not None:
        n = nested(lengths)
        if not isinstance(ids, Tensor) or ids.ndim != 2 or len(n) != len(rows):
            raise ValueError(f"{len(n)} lengths need a table of ids (B, N) with one row a length")
        n = [whole("every length", length, 0, ids.shape[1]) for length in n]
        rows = [row[:length] for row, length in zip(rows, n, strict=True)]
    if not rows or not all(rows):
        raise ValueError("there must be at least one prompt, and at least one token in each")
    try:
        return [[operator.index(token) for token in row] for row in rows], is_one, first
    except TypeError:
        raise ValueError("a prompt is made of token ids (integers); encode a text first") from None


def nested(ids: Any) -> Any:
    """Write tensors and arrays, alone or in a list, as lists of Python's own numbers."""
    if hasattr(ids, "tolist"):
        numbers = str(ids.dtype).removeprefix("torch.")
        if ids.ndim > 2 or not numbers.startswith(("int", "uint")):
            raise ValueError(f"prompts must be (N,) or (B, N) integers, got {tuple(ids.shape)} {ids.dtype}")
        return ids.tolist()
    if isinstance(ids, str):
        return ids
    return [nested(each) if hasattr(each, "__len__") else each for each in ids]
