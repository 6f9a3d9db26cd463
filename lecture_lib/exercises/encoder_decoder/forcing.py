"""Teacher forcing: the loss of a translator that reads the true words so far; a bug to find."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.kinds import find_the_bug
from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.transformer import ModelConfig

SIZE = {"vocab_size": 13, "d_model": 8, "n_heads": 2, "n_layers": 1, "context_length": 12, "d_ff": 9}


def use_loss(
    answer, shift: Tensor, source_ids, source_lengths, target_ids, target_lengths, seed: int
) -> object:
    """Hand over a small translator with drawn weights, whose logits are shifted by a number for each word."""
    config = ModelConfig(**SIZE, norm_first=True, init_std=0.7)
    translator = EncoderDecoder(config, generator=torch.Generator().manual_seed(seed)).to(shift.dtype)

    def model(source_ids: Tensor, target_ids: Tensor, source_lengths: Tensor | None = None) -> Tensor:
        return translator(source_ids, target_ids, source_lengths) + shift

    return answer(model, source_ids, source_lengths, target_ids, target_lengths)


def one_by_one(model, source_ids, source_lengths, target_ids, target_lengths) -> Tensor:
    """Every translation by itself, without padding, through torch's cross-entropy; then the mean over all words."""
    losses, words = [], 0
    for source, n, target, m in zip(
        source_ids, source_lengths.tolist(), target_ids, target_lengths.tolist(), strict=True
    ):
        logits = model(source[None, :n], target[None, : m - 1])[0]
        losses.append(F.cross_entropy(logits, target[1:m], reduction="sum"))
        words += m - 1
    return sum(losses) / words


def loss_cases(seed: int) -> list[Case]:
    """One pair, equal lengths, lengths of every kind, word 0 in the middle, gradients."""
    draw = Draw(seed)
    N, M = draw.size(5, 6), draw.size(7, 8)

    def case(what: str, lengths: list[int], target_lengths: list[int], exact: bool = False) -> Case:
        n, m = max(lengths), max(target_lengths)
        source, target = (draw.ids(len(lengths), k, below=13) for k in (n, m))
        target[:, 0], target[0, 2] = 1, 0  # the start; a word whose number is often that of padding
        for row, length in enumerate(target_lengths):
            target[row, length - 1] = 2  # the end; behind it any words stand
        shift = draw.normal(13, dtype=torch.float64 if exact else torch.float32)
        tables = (source, torch.tensor(lengths), target, torch.tensor(target_lengths))
        what = f"{what}: {lengths} source and {target_lengths} target tokens"
        return Case(what, (shift, *tables), {"seed": draw.size(0, 10**6)}, gradient=(0,) if exact else ())

    return [
        case("one short pair", [2], [4]),
        case("one pair", [N], [M]),
        case("two pairs of one length, no padding", [N, N], [M, M]),
        case("padded targets", [N, N, N], [M, 4, M - 2]),
        case("padded sources", [N, 2, N - 2], [M, M, M]),
        case("padded on both sides", [2, N, 3], [M, 4, 5]),
        case("the longest is not the first", [3, N], [4, M]),
        case("float64, with the gradient of the logits", [N, 3], [4, M], exact=True),
    ]


def teacher_forcing_loss(
    model: Callable,
    source_ids: Tensor,
    source_lengths: Tensor,
    target_ids: Tensor,
    target_lengths: Tensor,
) -> Tensor:
    r"""Average $-\ln p(y_m \mid y_{<m}, \text{source})$ over all words that the translations really have.

    Args:
        model: model(source_ids, target_ids, source_lengths) gives (B, M, |V|)
            logits; those at place m may depend on the target tokens 0 ... m.
        source_ids: (B, N) sources, padded on the right.
        source_lengths: (B,) their real numbers of tokens.
        target_ids: (B, M) translations from the start token to the end token,
            padded on the right with any number.
        target_lengths: (B,) their real numbers of tokens, start and end included.

    Returns:
        () the mean loss in nats. The start token is given, not predicted; the
        end token is predicted.
    """
    given, wanted = target_ids[:, :-1], target_ids[:, 1:]
    log_probs = model(source_ids, given, source_lengths).log_softmax(dim=-1)
    chosen = log_probs.gather(-1, wanted[:, :, None])[:, :, 0]  # (B, M - 1)
    is_real = torch.arange(wanted.shape[1]) < target_lengths[:, None] - 1
    return -chosen[is_real].mean()


LOSS = Exercise(
    name="encoder_decoder.teacher_forcing_loss",
    points=2, difficulty=1, minutes=15,
    against="every pair by itself, without padding, through torch's cross_entropy (float32 1e-5, float64 gradients)",
    reference=one_by_one,
    right=teacher_forcing_loss,
    cases=loss_cases,
    use=use_loss,
    mistakes=(
        ("every word is asked for at the place where the model reads it: there is no shift. Which word may the "
         "logits at place m already know?",
         "given, wanted = (target_ids[:, :-1], target_ids[:, 1:])", "given, wanted = (target_ids, target_ids)",
         "target_lengths[:, None] - 1", "target_lengths[:, None]"),
        ("the start token is not asked for any more, but every other word still is at the place where the model reads it. "
         "Which word may the logits at place m already know?",
         "given, wanted = (target_ids[:, :-1], target_ids[:, 1:])", "given, wanted = (target_ids, target_ids)",
         "target_lengths[:, None] - 1", "target_lengths[:, None]",
         "chosen[is_real]", "chosen[:, 1:][is_real[:, 1:]]"),
        ("the shift goes the wrong way: each place is asked for the word before it. Which word comes next?",
         "(target_ids[:, :-1], target_ids[:, 1:])", "(target_ids[:, 1:], target_ids[:, :-1])"),
        ("padding counts as words. How long is each translation?",
         "target_lengths[:, None] - 1", "target_ids.shape[1]"),
        ("one place of padding counts for each shorter translation. How many words are asked for when start and "
         "end are among the `length` tokens?",
         "target_lengths[:, None] - 1", "target_lengths[:, None]"),
        ("the end token is not asked for. How would the model learn to stop?",
         "target_lengths[:, None] - 1", "target_lengths[:, None] - 2"),
        ("word number 0 is taken for padding wherever it stands. What says how long a translation is?",
         "torch.arange(wanted.shape[1]) < target_lengths[:, None] - 1",
         "(wanted != 0) & (torch.arange(wanted.shape[1]) < target_lengths[:, None] - 1)"),
        ("every translation counts alike, however long it is: a mean of means. Over what does the mean run?",
         "chosen[is_real].mean()", "((chosen * is_real).sum(1) / is_real.sum(1)).mean()"),
        ("the losses are added up, not averaged. Should twice as many sentences give twice the loss?",
         "[is_real].mean()", "[is_real].sum()"),
        ("the sum is divided by the number of sentences. Over what does the mean run?",
         "chosen[is_real].mean()", "chosen[is_real].sum() / len(chosen)"),
        ("the sum over the real words is divided by all places, padding too. How many words were asked for?",
         "chosen[is_real].mean()", "(chosen * is_real).mean()"),
        ("padding of the source is read: the model is not told the source lengths.",
         "given, source_lengths)", "given)"),
        ("the sign is wrong. Is a probability larger or smaller than 1?",
         "-chosen", "chosen"),
        ("the loss is in bits. Which logarithm does a loss in nats take?",
         "-chosen[is_real].mean()", "-chosen[is_real].mean() / torch.tensor(2.0).log()"),
        ("logits are averaged, not log-probabilities. What turns logits into probabilities that sum to one?",
         ".log_softmax(dim=-1)", ""),
        ("the softmax runs over the places. Over which axis do the probabilities of the next word sum to one?",
         "log_softmax(dim=-1)", "log_softmax(dim=1)"),
        ("the model reads only the start token. Which true words does it read when it is asked for word m?",
         "given, source_lengths)", "given[:, :1].expand_as(given), source_lengths)"),
    ),
)  # fmt: skip

# Symptom: the training loss falls to 0.00, and the trained model writes the start token for ever.
MENDED_LOSS = find_the_bug(
    LOSS,
    "encoder_decoder.mended_loss",
    hint="every word is asked for at the place",
    points=2,
    difficulty=1,
    minutes=10,
)
