"""The autoregressive loop with a cache: the tokens of `generation.generate`, each computed once.

Axes: B texts, N tokens of the longest prompt, M of the longest text.
"""

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from lecture_lib.decoder import Decoder
from lecture_lib.generation import Conditioned, Decodes, Stop
from lecture_lib.generation.loop import Generators, check_room, steps
from lecture_lib.generation.rows import Prompts, in_the_form_of, pad, to_rows
from lecture_lib.kv_cache.runner import Runner
from lecture_lib.sampling import SamplingParameters, sample

STEPS_AHEAD = 16  # on a GPU, between two looks at the tokens


def generate(
    model: Decoder | Conditioned | Runner,
    ids: Prompts,
    max_new_tokens: int,
    sampling: SamplingParameters = SamplingParameters(),
    generator: Generators = None,
    stop: Collection[int | str] | int | str = (),
    lengths: Tensor | None = None,
    tokenizer: Decodes | None = None,
    context_length: int | None = None,
    pad_id: int = 0,
    chunk_size: int | None = None,
    check_every: int | None = None,
) -> Tensor | list[Tensor]:
    """Continue texts: the arguments and the tokens of `generation.generate`, each computed once.

    Args:
        model: a decoder; an encoder-decoder with its source, `Conditioned(model, source_ids)`; or a
            `Runner`, which keeps its cache, and on a GPU its recorded step, from call to call.
        ids: (N,) or (B, N) ids, one prompt or a table of them, or a list of prompts of any lengths (lists or
            tensors of ids).
        max_new_tokens: largest number of new tokens of a text.
        sampling: how a token is chosen; temperature 0: greedy.
        generator: source of the random numbers: one for all texts, in turn, or a list of one for each text.
            None: torch's own.
        stop: token ids and strings that end a text; they are part of it.
        lengths: (B,) number of real tokens in each right-padded row of ids; None: all N.
        tokenizer: gives the text in which stop strings are looked for.
        context_length: let the model see the last so many tokens only; from there on every token moves at
            each step, and nothing of the cache can be kept. None: all, and a text that does not fit into the
            model's context is an error.
        pad_id: what stands behind the end of a text in a (B, M) table.
        chunk_size: read prompts in pieces of so many tokens, which bounds the memory it takes; None: at once.
        check_every: steps between two looks at the tokens, for which a GPU must wait; the tokens are the
            same, but up to so many steps are computed in vain, and random numbers drawn. None: 16 on a GPU,
            else 1.

    Returns:
        (M,) or (B, M) ids, prompt and new tokens, or a list of tensors if the prompts came as a list.

    Raises:
        ValueError: as `generation.generate`; a cache that is too short or of another batch; a model that
            training has not left.

    Example:
        >>> from lecture_lib.transformer import ModelConfig
        >>> config = ModelConfig(vocab_size=9, d_model=8, n_heads=2, n_layers=1, context_length=16)
        >>> model = Decoder(config, generator=torch.Generator().manual_seed(0))
        >>> generate(model, [[1, 2, 3], [4]], 3, SamplingParameters(temperature=0))[1].shape
        torch.Size([4])
    """
    rows, is_end = to_rows(ids, lengths), Stop(stop, tokenizer)
    check_room(model, rows, max_new_tokens, context_length)
    runner = runner_for(model, rows, max_new_tokens, context_length)
    following = choices(
        runner, rows, max_new_tokens, sampling, generator, context_length, pad_id, chunk_size, check_every
    )
    for _ in steps(following, rows, is_end):
        pass
    return in_the_form_of(ids, rows, pad_id, runner.cache.device)


def stream(
    model: Decoder | Conditioned | Runner,
    ids: Tensor | Sequence[int],
    max_new_tokens: int,
    sampling: SamplingParameters = SamplingParameters(),
    generator: Generators = None,
    stop: Collection[int | str] | int | str = (),
    tokenizer: Decodes | None = None,
    context_length: int | None = None,
    chunk_size: int | None = None,
) -> Iterator[int]:
    """Give the new tokens of one text as they come: arguments and tokens of `generation.stream`.

    Args:
        model: as for `generate`.
        ids: (N,) or (1, N) ids of the prompt, or a list of token ids.
        max_new_tokens: largest number of new tokens.
        sampling: how a token is chosen.
        generator: source of the random numbers; None: torch's own.
        stop: token ids and strings that end the text; the last token is given as well.
        tokenizer: gives the text in which stop strings are looked for.
        context_length: let the model see the last so many tokens only; None: all.
        chunk_size: read the prompt in pieces of so many tokens; None: at once.

    Returns:
        Iterator over token ids.

    Raises:
        ValueError: as `generate`, or more than one prompt.
    """
    rows, is_end = to_rows(ids), Stop(stop, tokenizer)
    if len(rows) != 1:
        raise ValueError(f"stream follows one text, got {len(rows)}; generate takes several")
    check_room(model, rows, max_new_tokens, context_length)
    runner = runner_for(model, rows, max_new_tokens, context_length)
    following = choices(runner, rows, max_new_tokens, sampling, generator, context_length, 0, chunk_size, 1)
    return (tokens[0] for tokens in steps(following, rows, is_end))


def runner_for(
    model: Decoder | Conditioned | Runner,
    rows: list[list[int]],
    max_new_tokens: int,
    context_length: int | None,
) -> Runner:
    """Make a runner with just enough room, if the model is none.

    Args:
        model: a model, or a runner.
        rows: B lists of token ids, the prompts.
        max_new_tokens: number of new tokens; the last of them need not be read.
        context_length: number of tokens that the model sees; None: all.

    Returns:
        A runner.
    """
    if isinstance(model, Runner):
        return model
    room = max(map(len, rows)) + max(max_new_tokens - 1, 0)
    return Runner(model, batch=len(rows), max_length=min(room, context_length or room))


@torch.inference_mode()
def choices(
    runner: Runner,
    rows: list[list[int]],
    max_new_tokens: int,
    sampling: SamplingParameters,
    generator: Generators,
    context_length: int | None,
    pad_id: int,
    chunk_size: int | None,
    check_every: int | None,
) -> Iterator[list[int]]:
    """Choose token after token; prompts are read at the first, and whenever a window has moved.

    Args:
        runner: the model with its cache.
        rows: B lists of token ids; whoever asks for the next tokens has appended those before.
        max_new_tokens: largest number of steps.
        sampling: how a token is chosen.
        generator: source of the random numbers.
        context_length: number of tokens that the model sees; None: all.
        pad_id: what stands behind the end of a row.
        chunk_size: number of prompt tokens of a row in one forward pass; None: all.
        check_every: steps between two looks at the tokens; None: 16 on a GPU, else 1.

    Returns:
        Iterator over the B tokens of each step.
    """
    device, tokens, unseen = runner.cache.device, None, []
    if check_every is None:
        check_every = STEPS_AHEAD if device.type == "cuda" else 1
    if check_every < 1:
        raise ValueError(f"check_every must be at least 1 step, got {check_every}")
    texts, lengths = pad(rows, pad_id, device)
    real = torch.arange(texts.shape[1], device=device) < lengths[:, None]
    texts = texts.where(real, texts[:, :1])  # a repetition penalty asks which tokens there were, in any order
    for n in range(1, max_new_tokens + 1):
        if tokens is None or (context_length is not None and max(map(len, rows)) > context_length):
            window = [row[-(context_length or len(row)) :] for row in rows]
            logits = runner.prefill(window, chunk_size, pad_id)
        else:
            logits = runner.step(tokens)
        tokens = sample(logits, sampling, texts, generator)
        if sampling.repetition_penalty != 1:
            texts = torch.cat([texts, tokens[:, None]], 1)
        unseen.append(tokens)
        if len(unseen) >= check_every or n == max_new_tokens or context_length is not None:
            yield from torch.stack(unseen).tolist()
            unseen = []
