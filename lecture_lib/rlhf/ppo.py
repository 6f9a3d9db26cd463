r"""Tune a policy by PPO, in the one training loop: replies are drawn, scored, and followed for a few updates.

`train(learner, prompt_batches(prompts, order, epochs), config, PPO(...))` is the whole of it. A batch is a list of prompts and the seed of
its replies; the replies are drawn when a batch comes with a new seed, and are part of the learner's state. So a
checkpoint holds them, and a run that is resumed between two updates goes on exactly.

Source: Ouyang et al. (2022), section 3.5; Schulman et al. (2017), algorithm 1; Ziegler et al. (2019), section 2.
Axes: B texts, N tokens of the longest.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lecture_lib.decoder import Decoder
from lecture_lib.fields import real, whole
from lecture_lib.padding import pad
from lecture_lib.rlhf.advantages import gae, token_rewards
from lecture_lib.rlhf.losses import masked_mean, ppo_loss, value_loss
from lecture_lib.rlhf.rollouts import Rollout, rollout, token_log_probs
from lecture_lib.training import Batch
from lecture_lib.weights import unwrapped

Reward = Callable[[Rollout], Tensor]  # (B,) scores of whole texts


class Learner(nn.Module):
    """A policy with a value head, zero at the start; it keeps what it last experienced and a history for its checkpoint."""

    def __init__(self, policy: Decoder) -> None:
        super().__init__()
        self.policy = policy
        self.value = nn.Linear(policy.config.d_model, 1)
        nn.init.zeros_(self.value.weight), nn.init.zeros_(self.value.bias)
        self.experience: dict[str, Tensor] = {}
        self.history: list[dict[str, float]] = []  # reward, kl and entropy of every set of replies

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits (B, N, |V|), and (B, N) what is still expected at every place."""
        X = self.policy.features(ids, lengths)
        return self.policy.head(X), self.value(X).squeeze(-1)

    def get_extra_state(self) -> dict[str, Any]:
        """Give what a checkpoint holds beside the weights."""
        return {"experience": self.experience, "history": self.history}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take it back."""
        device = self.value.weight.device
        self.experience = {name: value.to(device) for name, value in state["experience"].items()}
        self.history = state["history"]


def prompt_batches(
    prompts: Sequence[Sequence[int]], order: Iterable[Sequence[int]], epochs: int = 4, seed: int = 0
) -> Iterator[Batch]:
    """Ask for replies to prompts: each list of prompts comes `epochs` times, with the same seed of its replies.

    `order` as in `training.shuffled`. Batches have inputs (ids (B, N), lengths (B,)) and (B,) targets: a number that no other list
    of the run has, from which `PPO` seeds the draws.
    """
    epochs, seed = whole("epochs", epochs, 1), whole("seed", seed)
    for number, chosen in enumerate(order):
        batch = Batch(
            pad([prompts[i] for i in chosen]), torch.full((len(chosen),), seed * 10**6 + number, device="cpu")
        )
        for _ in range(epochs):
            yield batch


class PPO:
    """The objective of PPO for `training.train`: clipped policy loss, value loss, and the price β of leaving the reference.

    Args:
        reference: the policy before tuning; its weights are not changed.
        reward: scores (B,) of the texts of a `Rollout`.
        beta: price of a nat of distance, 0 or more.
        max_new_tokens: longest reply.
        stop: token ids that end a reply.
        clip: ε of the ratio, and of the values.
        lam: λ of the advantages.
        value_weight: weight of the value loss.
    """

    def __init__(
        self,
        reference: Decoder,
        reward: Reward,
        beta: float,
        max_new_tokens: int,
        stop: Collection[int] | int = (),
        clip: float = 0.2,
        lam: float = 0.95,
        value_weight: float = 0.5,
    ) -> None:
        self.reference, self.reward, self.stop = reference, reward, stop
        self.beta = real("beta", beta, lambda x: x >= 0, "a number, 0 or more")
        self.max_new_tokens = whole("max_new_tokens", max_new_tokens, 1)
        self.clip, self.lam, self.value_weight = clip, lam, value_weight
        self.status = ""  # what the progress bar shows

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """Give the loss of the batch's replies, which are drawn if its seed is new."""
        learner, number = unwrapped(model), batch.targets[:1]
        if not torch.equal(learner.experience.get("number", number + 1), number):
            learner.experience = self.experience(learner, batch) | {"number": number.clone()}
        kept = learner.experience
        logits, values = model(kept["ids"], kept["lengths"])
        log_probs = token_log_probs(logits, kept["ids"])
        policy = ppo_loss(log_probs, kept["log_probs"], kept["advantages"], kept["said"], self.clip)
        value = value_loss(values[:, :-1], kept["values"], kept["returns"], kept["said"], self.clip)
        return policy + self.value_weight * value

    @torch.no_grad()
    def experience(self, learner: Learner, batch: Batch) -> dict[str, Tensor]:
        """Draw replies and say what each of their tokens was worth."""
        ids, lengths = batch.inputs
        prompts = [row[:n] for row, n in zip(ids.tolist(), lengths.tolist(), strict=True)]
        generator = torch.Generator(ids.device).manual_seed(int(batch.targets[0]))
        drawn = rollout(learner.policy, prompts, self.max_new_tokens, generator, self.stop)
        logits, values = learner(drawn.ids, drawn.lengths)
        log_probs = token_log_probs(logits, drawn.ids)
        reference = token_log_probs(self.reference(drawn.ids, drawn.lengths), drawn.ids)
        scores = self.reward(drawn)
        values = values[:, :-1].masked_fill(~drawn.said, 0)
        rewards = token_rewards(scores, log_probs, reference, drawn.said, self.beta)
        advantages = gae(rewards, values, 1.0, self.lam)
        self.note(learner, scores, log_probs, reference, logits, drawn.said)
        return {
            **drawn._asdict(),
            "log_probs": log_probs,
            "values": values,
            "returns": advantages + values,
            "advantages": standardized(advantages, drawn.said),
        }

    def note(
        self,
        learner: Learner,
        scores: Tensor,
        log_probs: Tensor,
        reference: Tensor,
        logits: Tensor,
        said: Tensor,
    ) -> None:
        """Write the history: mean score, distance from the reference and entropy, both in nats a reply."""
        laws = logits[:, :-1].log_softmax(-1)
        entropy = -(laws.exp() * laws.masked_fill(laws == -torch.inf, 0)).sum(-1)
        mean = {
            "reward": scores.double().mean(),
            "kl": (log_probs - reference).masked_fill(~said, 0).sum(-1).mean(),
            "entropy": entropy.masked_fill(~said, 0).sum(-1).mean(),
        }
        learner.history.append({name: float(value) for name, value in mean.items()})
        self.status = ", ".join(f"{name} {value:.2f}" for name, value in learner.history[-1].items())


def standardized(values: Tensor, mask: Tensor) -> Tensor:
    """Shift and scale values to mean 0 and variance 1 over the places of the mask."""
    centred = values - masked_mean(values, mask)
    return centred / (masked_mean(centred.square(), mask).sqrt() + 1e-8)
