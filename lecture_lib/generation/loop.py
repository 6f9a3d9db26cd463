"""The autoregressive loop: predict the next token, append it, start again (lecture, "Sampling: generating text").

Slow and obvious: every step reads the whole text anew. It is the oracle for everything faster.

Source: Bishop & Bishop (2024), section 12.3.2.
Axes: B texts, N tokens of the longest prompt, M of the longest text, |V| tokens of the vocabulary.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from lecture_lib.generation.rows import Prompts, in_the_form_of, pad, to_rows
from lecture_lib.generation.text import Decodes, Stop
from lecture_lib.sampling import SamplingParameters, sample

Model = Callable[..., Tensor]  # model(ids, lengths=None) -> (B, N, |V|) logits
Generators = torch.Generator | Sequence[torch.Generator] | None


def generate(
    model: Model,
    ids: Prompts,
    max_new_tokens: int,
    sampling: SamplingParameters = SamplingParameters(),
    generator: Generators = None,
    stop: Collection[int | str] | int | str = (),
    lengths: Tensor | None = None,
    tokenizer: Decodes | None = None,
    context_length: int | None = None,
    pad_id: int = 0,
) -> Tensor | list[Tensor]:
    """Continue texts, one token after another.

    The model is used as it is: call `model.eval()` first if it has dropout.

    Args:
        model: gives (B, N, |V|) logits for (B, N) ids; called as `model(ids)`, or `model(ids, lengths)` when the texts
            differ in length and are padded on the right.
        ids: (N,) or (B, N) ids, one prompt or a table of them, or a list of prompts of any lengths (lists or tensors of ids).
        max_new_tokens: largest number of new tokens of a text.
        sampling: how a token is chosen; temperature 0: greedy.
        generator: source of the random numbers: one for all texts, in turn, or a list of one for each text, which then
            comes out as it would alone. None: torch's own.
        stop: token ids and strings that end a text; they are part of it. A string may end inside a token.
        lengths: (B,) number of real tokens in each right-padded row of ids; None: all N.
        tokenizer: gives the text in which stop strings are looked for.
        context_length: let the model see the last so many tokens only; None: all, and a text for which the model's
            context (`model.config.context_length`) has no room is an error.
        pad_id: what stands behind the end of a text in a (B, M) table; the model must know it as a token.

    Returns:
        (M,) or (B, M) ids, prompt and new tokens, or a list of tensors if the prompts came as a list.

    Raises:
        ValueError: prompts or numbers that do not fit, no room in the context, or logits of another shape.

    Example:
        >>> successor = lambda ids, lengths=None: torch.eye(10)[(ids + 1) % 10]
        >>> generate(successor, torch.tensor([3, 4]), 4, SamplingParameters(temperature=0), stop=[7])
        tensor([3, 4, 5, 6, 7])
    """
    rows, device = to_rows(ids, lengths), device_of(ids, model)
    is_end = Stop(stop, tokenizer)
    check_room(model, rows, max_new_tokens, context_length)
    choices = (
        next_tokens(model, rows, sampling, generator, context_length, pad_id, device).tolist()
        for _ in range(max_new_tokens)
    )
    for _ in steps(choices, rows, is_end):
        pass
    return in_the_form_of(ids, rows, pad_id, device)


def stream(
    model: Model,
    ids: Tensor | Sequence[int],
    max_new_tokens: int,
    sampling: SamplingParameters = SamplingParameters(),
    generator: Generators = None,
    stop: Collection[int | str] | int | str = (),
    tokenizer: Decodes | None = None,
    context_length: int | None = None,
) -> Iterator[int]:
    """Give the new tokens of one text as they come, the same as `generate`; `decode_stream` makes text of them.

    Args:
        model: gives (1, N, |V|) logits for (1, N) ids.
        ids: (N,) or (1, N) ids of the prompt, or a list of token ids.
        max_new_tokens: largest number of new tokens.
        sampling: how a token is chosen.
        generator: source of the random numbers; None: torch's own.
        stop: token ids and strings that end the text; the last token is given as well.
        tokenizer: gives the text in which stop strings are looked for.
        context_length: let the model see the last so many tokens only; None: all.

    Returns:
        Iterator over token ids.

    Raises:
        ValueError: as `generate`, or more than one prompt.

    Example:
        >>> successor = lambda ids, lengths=None: torch.eye(10)[(ids + 1) % 10]
        >>> list(stream(successor, [3, 4], 3, SamplingParameters(temperature=0)))
        [5, 6, 7]
    """
    rows, device = to_rows(ids), device_of(ids, model)
    if len(rows) != 1:
        raise ValueError(f"stream follows one text, got {len(rows)}; generate takes several")
    is_end = Stop(stop, tokenizer)
    check_room(model, rows, max_new_tokens, context_length)
    choices = (
        next_tokens(model, rows, sampling, generator, context_length, 0, device).tolist()
        for _ in range(max_new_tokens)
    )
    return (tokens[0] for tokens in steps(choices, rows, is_end))


def steps(choices: Iterable[list[int]], rows: list[list[int]], is_end: Stop) -> Iterator[list[int]]:
    """Lengthen the rows in place, a token at a time, until all have ended.

    A text that has ended takes part in the draws, but keeps nothing of them: what the others get does not depend on it.

    Args:
        choices: the B tokens of each step, asked for when the rows hold those before.
        rows: B lists of token ids, the prompts.
        is_end: tells from its new tokens whether a text has ended.

    Returns:
        Iterator over the B tokens of each step.
    """
    prompt_lengths = [len(row) for row in rows]
    running = list(range(len(rows)))
    for tokens in choices:
        for i in running:
            rows[i].append(tokens[i])
        running = [i for i in running if not is_end(rows[i][prompt_lengths[i] :])]
        yield tokens
        if not running:
            break


@torch.no_grad()
def next_tokens(
    model: Model,
    rows: list[list[int]],
    sampling: SamplingParameters,
    generator: Generators = None,
    context_length: int | None = None,
    pad_id: int = 0,
    device: torch.device | None = None,
) -> Tensor:
    """Choose the token that follows each row.

    Args:
        model: gives (B, N, |V|) logits.
        rows: B lists of token ids.
        sampling: how a token is chosen.
        generator: source of the random numbers.
        context_length: number of tokens that the model sees; None: all. A repetition penalty always sees all.
        pad_id: what stands behind the end of a row.
        device: where the model is.

    Returns:
        (B,) token ids.

    Raises:
        ValueError: logits of another shape.
    """
    ids, lengths = pad([row[-(context_length or len(row)) :] for row in rows], pad_id, device)
    logits = model(ids) if (lengths == ids.shape[1]).all() else model(ids, lengths)  # (B, N, |V|)
    if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != ids.shape:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the model must give (B, N, |V|) logits for ids {tuple(ids.shape)}: got {got}")
    last = logits[torch.arange(len(rows), device=logits.device), lengths - 1]  # (B, |V|)
    if context_length and sampling.repetition_penalty != 1:
        ids, lengths = pad(rows, pad_id, device)
    return sample(last, sampling, ids, generator, lengths)


def check_room(
    model: Model, rows: list[list[int]], max_new_tokens: int, context_length: int | None = None
) -> None:
    """Refuse texts that do not fit into the context of the model, before anything is computed.

    Args:
        model: whose `config.context_length`, if it has one, is the largest number of tokens it can read.
        rows: B lists of token ids, the prompts.
        max_new_tokens: number of new tokens; the last of them need not be read.
        context_length: number of tokens that the model shall see; None: all.

    Raises:
        ValueError: no room, or a number out of range.
    """
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be 0 or more, got {max_new_tokens}")
    if context_length is not None and context_length < 1:
        raise ValueError(f"context_length must be at least 1 token, got {context_length}")
    context = getattr(getattr(model, "config", None), "context_length", None)
    longest = max(len(row) for row in rows)
    read = longest + max(max_new_tokens - 1, 0)
    read = read if context_length is None else min(read, context_length)
    if context is not None and read > context:
        raise ValueError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones do not fit into the context of {context} tokens: "
            f"shorten them, or let the model see the last tokens only with context_length={context}"
        )


def device_of(ids: Prompts, model: Model) -> torch.device:
    """Find where to work: where the prompts are, or, if they are lists, where the model is."""
    first = ids if isinstance(ids, Tensor) else ids[0] if len(ids) else None
    if isinstance(first, Tensor):
        return first.device
    parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return torch.device("cpu") if parameter is None else parameter.device
