"""The autoregressive loop: predict the next token, append it, start again (lecture, "Sampling: generating text").

`Reread` reads the whole text anew at every step: slow, obvious, and the oracle for everything faster, which
has the same method `read` (`kv_cache.Cached`).

Source: Bishop & Bishop (2024), section 12.3.2.
Axes: B texts, N tokens of the longest prompt, M of the longest text, |V| tokens of the vocabulary.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from lecture_lib.fields import whole
from lecture_lib.generation.rows import Prompts, as_given, pad, to_rows
from lecture_lib.generation.text import Decodes, Stop
from lecture_lib.sampling import SamplingParameters, constrain, sample

Model = Callable[..., Tensor]  # model(ids, lengths=None) -> (B, N, |V|) logits
Generators = torch.Generator | Sequence[torch.Generator] | None


class Reader(Protocol):
    """What generation asks of a model: to read texts and score what follows."""

    def read(self, rows: list[list[int]]) -> Tensor:
        """Give the (B, |V|) logits of the tokens that follow B lists of token ids."""
        ...


class Reread:
    """Read every text from its beginning.

    Args:
        model: gives (B, N, |V|) logits for (B, N) ids; called as `model(ids)`, or `model(ids, lengths)` when
            the texts differ in length and are padded on the right.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.config = model, getattr(model, "config", None)
        parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
        self.device = torch.device("cpu") if parameter is None else parameter.device

    @torch.no_grad()
    def read(self, rows: list[list[int]]) -> Tensor:
        """Give the (B, |V|) logits of the tokens that follow B lists of token ids.

        Raises:
            ValueError: the model gives logits of another shape.
        """
        ids, lengths = pad(rows, 0, self.device)
        ragged = min(map(len, rows)) < ids.shape[1]
        logits = self.model(ids, lengths) if ragged else self.model(ids)  # (B, N, |V|)
        if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != ids.shape:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"the model must give (B, N, |V|) logits for ids {tuple(ids.shape)}: got {got}")
        return logits[torch.arange(len(rows), device=logits.device), (lengths - 1).to(logits.device)]


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
    """Continue texts, one token after another.

    The model is used as it is: call `model.eval()` first if it has dropout.

    Args:
        model: as for `Reread`, or anything with its method `read`.
        ids: (N,) or (B, N) ids, one prompt or a table of them, or a list of prompts of any lengths (lists,
            tensors or arrays of ids).
        max_new_tokens: largest number of new tokens of a text.
        sampling: how a token is chosen; temperature 0: greedy.
        generator: source of the random numbers: one for all texts, in turn, or a list of one for each text,
            which then comes out as it would alone. None: torch's own.
        stop: token ids and strings that end a text; they are part of it. A string may end inside a token.
        lengths: (B,) number of real tokens in each right-padded row of ids; None: all N.
        tokenizer: gives the text in which stop strings are looked for.
        context_length: let the model see the last so many tokens only; None: all, and a text for which the
            model's context (`model.config.context_length`) has no room is an error.
        pad_id: what fills the rows of a (B, M) table behind the end of a text.
        attention_mask: (B, N) 1 for real tokens, 0 for padding, as tokenizers of `transformers` give it with
            padding on the left or on the right; in place of `lengths`.

    Returns:
        (M,) or (B, M) ids, prompt and new tokens, in the form of the prompts; a list of B tensors, each as long
        as its text, for a list of prompts, and for a table whose texts may differ in length (by `stop`, `lengths`
        or `attention_mask`), unless `pad_id` says what fills the rows.

    Raises:
        ValueError: prompts or numbers that do not fit, no room in the context, or logits of another shape.

    Example:
        >>> successor = lambda ids, lengths=None: torch.eye(10)[(ids + 1) % 10]
        >>> generate(successor, torch.tensor([3, 4]), 4, SamplingParameters(temperature=0), stop=[7])
        tensor([3, 4, 5, 6, 7])
    """
    rows, end = to_rows(ids, lengths, attention_mask), Stop(stop, tokenizer)
    reader = model if hasattr(model, "read") else Reread(model)
    ends = [len(row) for row in rows]
    for i, _ in follow(reader, rows, max_new_tokens, sampling, generator, end, context_length):
        ends[i] += 1
    texts = [row[:n] for row, n in zip(rows, ends, strict=True)]
    differ = end.ids or end.strings or lengths is not None or attention_mask is not None
    return as_given(ids, texts, pad_id, ragged=pad_id is None and bool(differ))


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
    """Give the new tokens of one text as they come; arguments as for `generate`, `decode_stream` makes text of them.

    Returns:
        Iterator over token ids, the one that ends the text included.

    Raises:
        ValueError: as `generate`, or more than one prompt.

    Example:
        >>> successor = lambda ids, lengths=None: torch.eye(10)[(ids + 1) % 10]
        >>> list(stream(successor, [3, 4], 3, SamplingParameters(temperature=0)))
        [5, 6, 7]
    """
    rows, end = to_rows(ids), Stop(stop, tokenizer)
    if len(rows) != 1:
        raise ValueError(f"stream follows one text, got {len(rows)}; generate takes several")
    reader = model if hasattr(model, "read") else Reread(model)
    check_room(reader, rows, max_new_tokens, context_length)
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
    """Lengthen the rows in place until all texts have ended: read, choose, append.

    A text that has ended is read on, so that what the others get does not depend on it.

    Returns:
        Iterator over row and token of what each text gets, step by step.
    """
    check_room(reader, rows, max_new_tokens, context_length)
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
        running = [i for i in running if not end(rows[i][starts[i] :], rows[i][: starts[i]])]
        if not running:
            break


def check_room(
    reader: Reader, rows: list[list[int]], max_new_tokens: int, context_length: int | None
) -> None:
    """Refuse texts that do not fit into the context of the model, before anything is computed."""
    whole("max_new_tokens", max_new_tokens)
    if context_length is not None:
        whole("context_length", context_length, 1)
    context = getattr(getattr(reader, "config", None), "context_length", None)
    longest = max(map(len, rows))
    read = longest + max(max_new_tokens - 1, 0)  # the last new token need not be read
    if context is not None and min(read, context_length or read) > context:
        raise ValueError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones do not fit into the context of {context} "
            f"tokens: shorten them, or let the model see the last tokens only with context_length={context}"
        )
