r"""Beam search: keep the W most likely beginnings of a text, not only the best one (lecture, "Sampling").

Greedy search is W = 1; with W as large as the number of texts the search is exhaustive.

Source: Sutskever et al. (2014), section 3.2; length penalty and stopping rules as in `transformers`.
Axes: W beams, n tokens so far, V tokens of the vocabulary.
"""

from collections.abc import Callable, Collection
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lecture_lib.fields import choice, whole
from lecture_lib.sampling.constraints import apply_constraints
from lecture_lib.sampling.filters import repetition_penalty
from lecture_lib.sampling.sampler import SamplingParameters


class Hypothesis(NamedTuple):
    """A finished text with its score."""

    ids: Tensor  # (n,) the prompt, the new tokens, and the stop token if there was room for it
    score: float  # log-probability of the new tokens, nats, divided by (their number) ** length_penalty


@torch.no_grad()
def beam_search(
    step: Callable[[Tensor], Tensor],
    ids: Tensor,
    beam_width: int,
    max_new_tokens: int,
    stop: Collection[int] = (),
    length_penalty: float = 1.0,
    early_stopping: bool | Literal["never"] = False,
    sampling: SamplingParameters | None = None,
) -> list[Hypothesis]:
    r"""Find texts of high probability: the score is $\sum_i \ln p_i / n^\alpha$ over the n new tokens.

    Every beam is continued by every token; the best W unfinished texts are the beams of the next round. A text is finished
    by a stop token, or by `max_new_tokens`, if it is among the best W of its round. The best W of these are given, best
    first, or fewer; logits that are NaN or misshaped, and a search that cannot finish any text, are refused.

    Args:
        step: takes (W, n) ids, gives (W, V) logits of the token after each row.
        ids: (n,) the prompt.
        beam_width: W, number of beginnings that are kept, and of texts that are returned at most.
        stop: token ids that finish a text; they count as tokens of it.
        length_penalty: alpha; 0 compares log-probabilities, which favours short texts; 1 their mean per token.
        early_stopping: True: stop as soon as W texts are finished. False: stop when the best beam, scored at its present
            length, is no better than the worst of W finished texts. "never": stop only when no beam can become better.
        sampling: its constraints and its repetition penalty act on the log-probabilities, as in `transformers`; the
            knobs of a draw do nothing here.

    Example:
        >>> likely = torch.tensor([[.5, .4, .1], [.3, .3, .4], [.9, .05, .05]]).log()  # row: last token, column: next
        >>> best = beam_search(lambda ids: likely[ids[:, -1]], torch.tensor([0]), beam_width=3, max_new_tokens=2)
        >>> [(text.ids.tolist(), round(text.score, 3)) for text in best]
        [([0, 0, 0], -0.693), ([0, 0, 1], -0.805), ([0, 1, 2], -0.916)]
    """
    if ids.ndim != 1 or len(ids) == 0 or ids.is_floating_point():
        raise ValueError(f"beam search continues one text, (n,) integers: got {tuple(ids.shape)} {ids.dtype}")
    beam_width = whole("beam_width", beam_width, 1)
    max_new_tokens = whole("max_new_tokens", max_new_tokens, 1)
    choice("early_stopping", early_stopping, (True, False, "never"))
    stop_ids = torch.tensor(sorted(set(stop)), dtype=torch.long, device=ids.device)
    n_candidates = max(2, 1 + len(stop_ids)) * beam_width  # enough that W of them are unfinished
    beams, log_probs = ids[None].long(), torch.zeros(1, device=ids.device)  # (1, n), (1,)
    finished: list[Hypothesis] = []
    for length in range(1, max_new_tokens + 1):
        following = constrained(
            next_log_probs(step, beams), beams, sampling, length - 1, max_new_tokens, stop
        )
        scores = log_probs[:, None] + following  # (W, V)
        log_probs, index = scores.flatten().topk(min(n_candidates, scores.numel()))  # (2 W,)
        log_probs, index = log_probs[log_probs > -torch.inf], index[log_probs > -torch.inf]
        parent, token = index // scores.shape[1], index % scores.shape[1]
        beams = torch.cat([beams[parent], token[:, None]], dim=1)  # (2 W, n + 1)
        is_finished = torch.isin(token, stop_ids) | (length == max_new_tokens)

        best = is_finished[:beam_width].nonzero()[:, 0].tolist()
        finished += [Hypothesis(beams[i], float(log_probs[i]) / length**length_penalty) for i in best]
        finished = sorted(finished, key=lambda text: -text.score)[:beam_width]
        going_on = (~is_finished).nonzero()[:beam_width, 0]
        beams, log_probs = beams[going_on], log_probs[going_on]  # (W, n + 1), (W,)
        if len(beams) == 0:
            break
        if len(finished) == beam_width:
            # A log-probability only falls, but divided by the length to a positive power it may still rise.
            final = max_new_tokens if early_stopping == "never" and length_penalty > 0 else length
            best_possible = float(log_probs[0]) / final**length_penalty
            if early_stopping is True or best_possible <= finished[-1].score:
                break
    if not finished:
        raise ValueError("the constraints leave no text that could be finished: relax them")
    return finished


def next_log_probs(step: Callable[[Tensor], Tensor], beams: Tensor) -> Tensor:
    """Ask `step` for the log-probabilities behind each beam, as `beam_search`: (W, V) nats, in single precision or better."""
    logits = step(beams)
    if logits.ndim != 2 or len(logits) != len(beams):
        raise ValueError(f"step must give (W, |V|) for ids {tuple(beams.shape)}: got {tuple(logits.shape)}")
    log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    if log_probs.isnan().any():
        raise ValueError("step gave logits that are NaN or +inf, or that rule every token out")
    return log_probs


def constrained(
    log_probs: Tensor,
    beams: Tensor,
    sampling: SamplingParameters | None,
    n_new: int,
    max_new_tokens: int,
    stop: Collection[int],
) -> Tensor:
    """Give the log-probabilities (W, V) of what follows the beams, after `sampling`'s penalty and constraints, as `beam_search`."""
    if sampling is None:
        return log_probs
    if sampling.repetition_penalty != 1:
        log_probs = repetition_penalty(log_probs, beams, sampling.repetition_penalty)
    if not sampling.constrained:
        return log_probs
    counts, is_last = [n_new] * len(beams), n_new + 1 == max_new_tokens
    return apply_constraints(log_probs, sampling, beams.tolist(), counts, is_last, stop)
