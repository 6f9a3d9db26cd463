"""Learning from preferences: instruction masks, reward models, PPO, DPO, groups, and the exact optimum by enumeration."""

from lecture_lib.rlhf.advantages import gae, group_advantages, kl_estimate, kl_per_token, token_rewards
from lecture_lib.rlhf.dpo import DPO, answer_pairs
from lecture_lib.rlhf.gibbs import best_of_n_distance, best_of_n_distribution, distance, gibbs_policy
from lecture_lib.rlhf.losses import dpo_loss, masked_mean, ppo_loss, value_loss
from lecture_lib.rlhf.masks import answer_mask, answer_targets
from lecture_lib.rlhf.ppo import PPO, Learner, prompt_batches
from lecture_lib.rlhf.rewards import RewardModel, fit_linear_reward, preference_batches, reward_loss
from lecture_lib.rlhf.rollouts import Rollout, every_reply, reply_log_probs, rollout, token_log_probs

__all__ = [
    "DPO",
    "PPO",
    "Learner",
    "RewardModel",
    "Rollout",
    "answer_mask",
    "answer_pairs",
    "answer_targets",
    "best_of_n_distance",
    "best_of_n_distribution",
    "distance",
    "dpo_loss",
    "every_reply",
    "fit_linear_reward",
    "gae",
    "gibbs_policy",
    "group_advantages",
    "kl_estimate",
    "kl_per_token",
    "masked_mean",
    "ppo_loss",
    "preference_batches",
    "prompt_batches",
    "reply_log_probs",
    "reward_loss",
    "rollout",
    "token_log_probs",
    "token_rewards",
    "value_loss",
]
