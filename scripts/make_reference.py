"""Store what another library gives, where that library is too heavy for a notebook: `python -m scripts.make_reference NAME`.

`encoder_decoder` needs sacrebleu and `rlhf` trl 0.11.4, the last release in which PPO's parts are methods that can be called. Nothing else here
needs them: `pip install --target /tmp/theirs sacrebleu`, or `trl==0.11.4`, and /tmp/theirs on PYTHONPATH.
"""

import json
import random
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

FOLDER = Path(__file__).resolve().parents[1] / "lecture_lib" / "reference"
WORDS = [
    "le",
    "la",
    "un",
    "une",
    "chat",
    "chien",
    "maison",
    "noir",
    "noire",
    "voit",
    "aime",
    "petit",
    "grande",
    "rouge",
]
VARIANTS = 6  # of each kind of corpus


def spoil(sentence: list[str], rng: random.Random, change: float) -> list[str]:
    """Change, drop and double words, each with a share of the probability."""
    spoilt = []
    for word in sentence:
        luck = rng.random()
        new = [rng.choice(WORDS)] if luck < change / 2 else [] if luck < 0.75 * change else [word]
        spoilt += new * (2 if rng.random() < change / 4 else 1)
    return spoilt


def texts(rng: random.Random, lengths: list[int]) -> list[list[str]]:
    """Draw sentences of these lengths."""
    return [[rng.choice(WORDS) for _ in range(n)] for n in lengths]


def usual(rng: random.Random) -> tuple:
    """Sentences of different length with some mistakes; hypotheses a little longer than references."""
    references = texts(rng, [5, 9, 7, 11])
    return [[*spoil(r, rng, 0.25), rng.choice(WORDS), rng.choice(WORDS)] for r in references], references, 4


def shortened(rng: random.Random) -> tuple:
    """Translations that stop early: the brevity penalty; one is longer than its reference."""
    references = texts(rng, [12, 9, 10])
    return [references[0][:7], references[1][:6], [*references[2], "voit"]], references, 4


def repeated(rng: random.Random) -> tuple:
    """A run that is said again and again: counted as often as the reference has it."""
    references = texts(rng, [8, 6])
    return [references[0][:6] * 2, [*references[1], *references[1][:3]]], references, 4


def tiny(rng: random.Random) -> tuple:
    """Some sentences have fewer words than the longest run."""
    references = texts(rng, [2, 8, 3, 1])
    return [references[0], [*references[1][:6], "oiseau"], references[2][:2], references[3]], references, 4


def all_short(rng: random.Random) -> tuple:
    """No sentence has a run of four words, and every word is right."""
    references = texts(rng, [3, 2])
    return references, references, 4


def silent(rng: random.Random) -> tuple:
    """One translation is empty."""
    references = texts(rng, [4, 10])
    return [[], [*references[1][:9], "oiseau", "voit"]], references, 4


def crossed(rng: random.Random) -> tuple:
    """Runs that stand in the reference of another sentence only."""
    a, b, c = texts(rng, [7, 8, 6])
    return [[*a[:4], *b[:4]], [*b[4:], *a[3:]], c], [a, b, c], 4


def pairs_only(rng: random.Random) -> tuple:
    """Runs of one and two words only."""
    references = texts(rng, [6, 5])
    return [spoil(r, rng, 0.3) for r in references], references, 2


def hopeless(rng: random.Random) -> tuple:
    """No run of four words fits."""
    references = texts(rng, [6, 7])
    return [[*r[:3], "oiseau", *r[4:6]] for r in references], references, 4


def one(rng: random.Random) -> tuple:
    """A single sentence, a little short."""
    (reference,) = texts(rng, [9])
    return [[*reference[:5], *reference[6:8]]], [reference], 4


def perfect(rng: random.Random) -> tuple:
    """Every word right."""
    references = texts(rng, [5, 6])
    return references, references, 4


def words_only(rng: random.Random) -> tuple:
    """Single words only, one translation too short."""
    references = texts(rng, [6, 7])
    return [[references[0][1], *references[0][2:], references[0][0]], references[1][:4]], references, 1


def long_runs(rng: random.Random) -> tuple:
    """Runs of up to six words."""
    references = texts(rng, [12, 9])
    return [[*r[:7], "oiseau", *r[7:]] for r in references], references, 6


def twice(rng: random.Random) -> tuple:
    """The same translation of two sentences, which have different references."""
    a, b, c = texts(rng, [9, 9, 7])
    return [[*a[:5], *b[5:]], [*a[:5], *b[5:]], [*c[:5], "oiseau"]], [a, b, c], 4


KINDS: tuple[Callable, ...] = (
    *(usual, shortened, repeated, tiny, crossed, silent, pairs_only, hopeless, one, perfect, all_short),
    *(words_only, long_runs, twice),
)


def bleu_corpora() -> list[dict]:
    """Score drawn corpora by sacrebleu: words split at spaces, nothing smoothed."""
    from sacrebleu.metrics import BLEU

    corpora = []
    for kind in KINDS:
        for seed in range(VARIANTS):
            hypotheses, references, max_n = kind(random.Random(f"{kind.__name__} {seed}"))
            metric = BLEU(tokenize="none", smooth_method="none", max_ngram_order=max_n, force=True)
            hypotheses, references = (
                [" ".join(words) for words in each] for each in (hypotheses, references)
            )
            score = metric.corpus_score(hypotheses, [references]).score
            corpus = {"kind": kind.__name__, "max_n": max_n, "bleu": score}
            corpora.append(corpus | {"hypotheses": hypotheses, "references": references})
    return corpora


def of_trl() -> tuple[type, type]:
    """Give trl's trainers of PPO and DPO; names that a newer transformers no longer has are put in their place first."""
    from transformers.models.auto import modeling_auto

    modeling_auto.MODEL_FOR_VISION_2_SEQ_MAPPING_NAMES = {}
    sys.modules["llm_blender"] = MagicMock(__spec__=ModuleSpec("llm_blender", None))
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.ppo_trainer import PPOTrainer

    return PPOTrainer, DPOTrainer


def trl_case(seed: int, gamma: float, lam: float, beta: float) -> dict:
    """Draw a batch of tokens and of pairs: what trl makes of their advantages, its policy, value and preference losses."""
    import torch

    ppo, dpo = of_trl()
    draw = torch.Generator().manual_seed(seed)
    names = ("rewards", "values", "predicted", "new", "old", "A", "returns")
    x = {name: 0.5 * torch.randn(3, 5, generator=draw) for name in names}
    x["mask"] = (torch.arange(5) < torch.tensor([[5], [3], [4]])).float()
    pairs = 3 * torch.randn(4, 6, generator=draw)
    config = SimpleNamespace(
        gamma=gamma,
        lam=lam,
        whiten_rewards=False,
        cliprange=0.2,
        cliprange_value=0.2,
        vf_coef=0.1,
        ratio_threshold=99,
    )
    here = SimpleNamespace(config=config)
    values, _, returns = ppo.compute_advantages(here, x["values"], x["rewards"], x["mask"])
    order = (
        x["old"],
        x["values"],
        torch.zeros(3, 5, 2),
        x["predicted"],
        x["new"],
        x["mask"],
        x["A"],
        x["returns"],
    )
    policy, weighted, _ = ppo.loss(here, *order)
    settings = {
        "beta": beta,
        "reference_free": False,
        "f_divergence_type": "reverse_kl",
        "loss_type": "sigmoid",
    }
    device = SimpleNamespace(device="cpu")
    there = SimpleNamespace(accelerator=device, label_smoothing=0, f_divergence_params=None, **settings)
    preference = dpo.dpo_loss(there, *pairs)[0].mean()
    losses = [float(policy), float(weighted) / 0.1, float(preference)]
    inputs = {name: value.tolist() for name, value in (x | {"pairs": pairs}).items()}
    found = {"advantages": (returns - values).tolist(), "losses": losses, "inputs": inputs}
    return {"gamma": gamma, "lam": lam, "beta": beta} | found


def trl_cases() -> list[dict]:
    """Settings on both sides of the usual ones."""
    settings = [(1.0, 0.95, 0.1), (0.9, 0.5, 0.5), (1.0, 1.0, 1.0), (0.99, 0.0, 0.02)]
    return [trl_case(seed, *each) for seed, each in enumerate(settings)]


CONTENT = {
    "encoder_decoder": ("bleu.json", "sacrebleu", bleu_corpora),
    "rlhf": ("trl.json", "trl", trl_cases),
}


def main(name: str) -> None:
    """Write the file of one chapter anew."""
    file, library, make = CONTENT[name]
    path = FOLDER / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    key = "corpora" if name == "encoder_decoder" else "cases"
    content = {"from": f"{library} {__import__(library).__version__}", key: make()}
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(content[key])} {key}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
