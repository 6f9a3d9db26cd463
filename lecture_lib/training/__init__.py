"""Training: batches, losses, the steps of AdamW, and one loop that can be stopped and resumed exactly."""

from lecture_lib.padding import pad
from lecture_lib.training.batches import Batch, random_windows, sequential_windows
from lecture_lib.training.checkpoint import load_checkpoint, save_checkpoint
from lecture_lib.training.config import TrainingConfig, TrainingDivergedError, TrainingRun
from lecture_lib.training.distributed import local_device, process_rank
from lecture_lib.training.evaluation import Evaluation, evaluate, target_loss
from lecture_lib.training.loop import train
from lecture_lib.training.losses import cross_entropy, mask_tokens, mlm_loss, shift
from lecture_lib.training.optimization import adamw_groups, clip_gradients, learning_rate
from lecture_lib.training.rows import (
    in_order,
    labelled_batches,
    masked_batches,
    next_token_batches,
    shuffled,
    translation_batches,
)

__all__ = [
    "Batch",
    "Evaluation",
    "TrainingConfig",
    "TrainingDivergedError",
    "TrainingRun",
    "adamw_groups",
    "clip_gradients",
    "cross_entropy",
    "evaluate",
    "in_order",
    "labelled_batches",
    "learning_rate",
    "load_checkpoint",
    "local_device",
    "mask_tokens",
    "masked_batches",
    "mlm_loss",
    "next_token_batches",
    "pad",
    "process_rank",
    "random_windows",
    "save_checkpoint",
    "sequential_windows",
    "shift",
    "shuffled",
    "target_loss",
    "train",
    "translation_batches",
]
