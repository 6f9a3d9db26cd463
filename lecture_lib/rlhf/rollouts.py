"""Replies that a policy draws, and how likely they are under a model, with gradients.

Replies are drawn through the cache, all prompts of a batch together; their probabilities are then computed in one forward.
Axes: B texts, N tokens of the longest, |V| vocabulary. Place n (0 to N - 2) stands for token n + 1, which is predicted there.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lecture_lib import kv_cache
from lecture_lib.decoder import Decoder
from lecture_lib.fields import whole
from lecture_lib.padding import pad


class Rollout(NamedTuple):
    """Texts of B prompts with the replies that were drawn for them."""

    ids: Tensor  # (B, N) prompt, reply, and padding on the right
    lengths: Tensor  # (B,) tokens of prompt and reply together
    said: Tensor  # (B, N - 1) bool: is token n + 1 one of the reply?


def rollout(
    policy: Decoder,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    generator: torch.Generator | None = None,
    stop: Collection[int] | int = (),
    pad_id: int = 0,
) -> Rollout:
    """Draw a reply to every prompt from the policy itself, temperature 1, without gradients.

    Args:
        policy: a decoder without dropout, or in eval mode.
        prompts: B lists of token ids, none empty.
        max_new_tokens: largest number of tokens of a reply, 1 or more.
        generator: source of the draws; None: torch's own.
        stop: token ids that end a reply; they are part of it.
        pad_id: fills up the rows.
    """
    prompts = [list(map(int, prompt)) for prompt in prompts]
    texts = kv_cache.generate(policy, prompts, max_new_tokens, generator=generator, stop=stop)
    device = next(policy.parameters()).device
    ids, lengths = pad([text.tolist() for text in texts], pad_id, device)
    return Rollout(ids, lengths, said_places(prompts, lengths, ids.shape[1]))


def said_places(prompts: Sequence[Sequence[int]], lengths: Tensor, n_tokens: int) -> Tensor:
    """Tell which places of B texts stand for tokens behind their prompts, (B, N - 1), from their lengths (B,) and N."""
    starts = torch.tensor([len(prompt) for prompt in prompts], device=lengths.device)
    places = torch.arange(1, n_tokens, device=lengths.device)
    return (places >= starts[:, None]) & (places < lengths[:, None])


def every_reply(prompt: Sequence[int], vocab_size: int, n_tokens: int) -> Rollout:
    """List all replies of `n_tokens` to one prompt, vocab_size to the power n_tokens of them; the last token changes fastest.

    `reply_log_probs(model, *every_reply(...))` is then the whole law of a model. More than a million are refused.
    """
    n_tokens = whole("n_tokens", n_tokens, 1)
    if (n := whole("vocab_size", vocab_size, 1) ** n_tokens) > 10**6:
        raise ValueError(f"{n:,} replies are too many to list: at most 1,000,000")
    replies = torch.cartesian_prod(*[torch.arange(vocab_size)] * n_tokens).view(n, n_tokens)
    ids = torch.cat([torch.tensor(list(prompt)).expand(n, -1), replies], dim=1)
    said = torch.arange(1, ids.shape[1]) >= len(prompt)
    return Rollout(ids, torch.full((n,), ids.shape[1]), said.expand(n, -1))


def token_log_probs(logits: Tensor, ids: Tensor) -> Tensor:
    """Logarithm of the probability of every token but the first, (B, N - 1).

    Args:
        logits: (B, N, |V|) what a decoder says at every token.
        ids: (B, N) the tokens; other shapes are refused.
    """
    if logits.shape[:-1] != ids.shape:
        raise ValueError(f"logits (B, N, |V|) need ids (B, N): got {tuple(logits.shape)}, {tuple(ids.shape)}")
    return logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)


def reply_log_probs(model: nn.Module, ids: Tensor, lengths: Tensor, said: Tensor) -> Tensor:
    """Logarithm of the probability of whole replies under a decoder, (B,): the sum over the places that are `said`.

    Args:
        model: a decoder.
        ids: (B, N) texts, padded on the right.
        lengths: (B,) number of real tokens in each.
        said: (B, N - 1) bool, as in `Rollout`.
    """
    return token_log_probs(model(ids, lengths), ids).masked_fill(~said, 0).sum(-1)
