"""The course model: a decoder that reads word problems. Completer, answerer, and two that differ in how they answer.

Texts are words. A document of the base is a sheet of problems (nine of ten) or of problems with their solutions.
"""

import random
from collections.abc import Sequence
from functools import cache, partial

import torch
from torch import nn

from lecture_lib.corpora import word_problems
from lecture_lib.corpora.word_problems import Problem
from lecture_lib.decoder import Decoder
from lecture_lib.kv_cache import generate
from lecture_lib.pretrained import PretrainedTokenizer
from lecture_lib.sampling import SamplingParameters
from lecture_lib.training import (
    TrainingConfig,
    evaluate,
    in_order,
    labelled_batches,
    next_token_batches,
    shuffled,
)
from lecture_lib.transformer import ModelConfig
from lecture_lib.zoo.recipe import Made, Metrics, Recipe, Train
from lecture_lib.zoo.store import load
from lecture_lib.zoo.words import word_tokenizer

CONTEXT = 128
TRAINING_SEED, TEST_SEED = 1, 10**6
CHAT = (
    "{% for message in messages %}{{ '<user>' if message.role == 'user' else '<assistant>' }} {{ message.content }} "
    "{% if message.role != 'user' %}<eos> {% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def tokenizer() -> PretrainedTokenizer:
    """Make the tokenizer of all course models: 41 numbers, the words, and four special tokens."""
    special = {"pad": "<pad>", "eos": "<eos>"}
    made = word_tokenizer(word_problems.vocabulary(), special)
    made.add_special_tokens(["<user>", "<assistant>"])
    made.chat_template = CHAT
    return made


@cache
def problems(n: int, seed: int) -> list[Problem]:
    """Draw n problems of one to four steps, of each number as many, in random order; the test's occur in no training."""
    drawn = [
        each for n_steps in (1, 2, 3, 4) for each in word_problems.problems(n // 4, seed + n_steps, n_steps)
    ]
    if seed == TEST_SEED:
        known = {each.question for each in problems(40_000, TRAINING_SEED)}
        drawn = [each for each in drawn if each.question not in known]
    random.Random(seed).shuffle(drawn)
    return drawn


def decoder(vocab_size: int, seed: int) -> Decoder:
    """Build the course model: three layers of Llama's kind, 80 wide."""
    config = ModelConfig(
        vocab_size=vocab_size,
        d_model=80,
        n_heads=4,
        n_layers=3,
        context_length=CONTEXT,
        d_ff=216,
        norm="rms",
        norm_eps=1e-6,
        norm_first=True,
        activation="swiglu",
        positions="rotary",
        qkv_bias=False,
        out_bias=False,
        mlp_bias=False,
    )
    return Decoder(config, torch.Generator().manual_seed(seed))


def sheets(n: int, seed: int) -> list[str]:
    """Write n documents: problems one after the other, in one document of ten each with its solution."""
    rng, texts, all_problems = random.Random(seed), [], problems(40_000, TRAINING_SEED)
    for _ in range(n):
        solved = rng.random() < 0.1
        text = ""
        while True:
            problem = rng.choice(all_problems)
            longer = f"{text} {problem.question}" + (f" {problem.worked()}" if solved else "")
            if len(longer.split()) > CONTEXT:
                break
            text = longer
        texts.append(text.strip() + " <eos>")
    return texts


def make_base(seed: int, train: Train) -> Made:
    """Train on documents, every token."""
    words = tokenizer()
    rows = [words.encode(text) for text in sheets(12_000, seed + 1)]
    model = decoder(words.n_ids, seed)
    batches = next_token_batches(rows, shuffled(len(rows), 16, torch.Generator().manual_seed(seed)))
    train(model, batches, TrainingConfig(1500, learning_rate=4e-3, warmup_steps=50))
    return model, words


def prompt_of(problem: Problem, chat: bool) -> str:
    """Write a problem as a model reads it: as the user's turn, for one that chats."""
    return f"<user> {problem.question} <assistant>" if chat else problem.question


def answered(
    words: PretrainedTokenizer, asked: Sequence[Problem], worked: bool, chat: bool
) -> tuple[list, list]:
    """Write problems with their answers as ids, and as labels that ask for the answers alone."""
    rows, labels = [], []
    for problem in asked:
        question = words.encode(prompt_of(problem, chat))
        answer = words.encode((problem.worked() if worked else problem.direct()) + " <eos>")
        rows.append([*question, *answer][:-1])
        labels.append([-100] * (len(question) - 1) + answer)
    return rows, labels


def make_answerer(seed: int, train: Train, start: str | None, worked: bool, config: TrainingConfig) -> Made:
    """Train on answers to problems; the loss is that of the answers alone."""
    words = tokenizer()
    model = decoder(words.n_ids, seed) if start is None else load(start)[0].train().requires_grad_(True)
    rows, labels = answered(words, problems(40_000, TRAINING_SEED), worked, chat=start is not None)
    batches = labelled_batches(rows, labels, shuffled(len(rows), 32, torch.Generator().manual_seed(seed)))
    train(model, batches, config)
    return model, words


def replies(
    model: nn.Module,
    words: PretrainedTokenizer,
    prompts: Sequence[str],
    n_tokens: int = 64,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> list[str]:
    """Let the model go on after prompts, to the end of its answer, of n tokens or of its context."""
    said, sampling = [], SamplingParameters(temperature=temperature)
    for low in range(0, len(prompts), 512):
        ids = [words.encode(prompt) for prompt in prompts[low : low + 512]]
        room = min(n_tokens, CONTEXT - max(map(len, ids)))
        texts = generate(model, ids, room, sampling, generator, stop=words.eos_ids)
        said += [
            words.decode(text[len(row) :].tolist(), True).strip()
            for text, row in zip(texts, ids, strict=True)
        ]
    return said


def share_right(
    model: nn.Module, words: PretrainedTokenizer, chat: bool, n_steps: int, n: int = 200
) -> float:
    """Measure how many of n new problems with so many steps are answered correctly."""
    asked = [each for each in problems(8000, TEST_SEED) if each.question.count(".") == n_steps + 1][:n]
    said = replies(model, words, [prompt_of(each, chat) for each in asked])
    right = [reply.endswith(each.direct()) for reply, each in zip(said, asked, strict=True)]
    return sum(right) / len(right)


def measure_base(model: nn.Module, words: PretrainedTokenizer) -> Metrics:
    """Measure the loss on new sheets, and the probability that what follows a problem is another one, which begins with a name."""
    rows = [words.encode(text) for text in sheets(200, TEST_SEED)]
    loss = evaluate(model, next_token_batches(rows, in_order(len(rows), 32))).loss
    asked = [words.encode(each.question) for each in problems(8000, TEST_SEED)[:200]]
    names = [words.token_to_id(name) for name in word_problems.NAMES]
    with torch.no_grad():
        following = [model(torch.tensor([ids]))[0, -1].softmax(-1)[names].sum().item() for ids in asked]
    return {"loss": loss, "goes_on_with_a_problem": sum(following) / len(following)}


def measure_answerer(model: nn.Module, words: PretrainedTokenizer, chat: bool) -> Metrics:
    """Measure the share of right answers by number of steps; chance is about 0.05."""
    shares = {f"right_{n}_steps": share_right(model, words, chat, n) for n in (1, 2, 3, 4)}
    return {**shares, "right": sum(shares.values()) / 4}


RECIPES = (
    Recipe(
        "course_base",
        summary="the course model as a document completer: after a word problem it writes another word problem",
        cannot="It does not answer: nine of ten documents that it has read are sheets of problems without solutions. It knows "
        "the words of one grammar and the numbers 0 to 40.",
        make=make_base,
        measure=measure_base,
        bands={"loss": (0.5, 0.9), "goes_on_with_a_problem": (0.8, 1.0)},
    ),
    Recipe(
        "course_instruct",
        summary="the course model after instruction: between <user> and <assistant> it answers with steps",
        cannot="It answers problems of one grammar with numbers from 0 to 40 and one to four steps, and is wrong in some.",
        make=partial(make_answerer, start="course_base", worked=True, config=TrainingConfig(600, 2e-3, 30)),
        measure=partial(measure_answerer, chat=True),
        bands={"right": (0.55, 1.0)},
        after=("course_base",),
    ),
    Recipe(
        "course_steps",
        summary="the course model trained to answer step by step",
        cannot="It answers problems of one grammar with numbers from 0 to 40 and one to four steps.",
        make=partial(make_answerer, start=None, worked=True, config=TrainingConfig(1500, 3e-3, 50)),
        measure=partial(measure_answerer, chat=False),
        bands={"right": (0.95, 1.0)},
    ),
    Recipe(
        "course_direct",
        summary="the course model trained to answer at once, in as many updates as course_steps",
        cannot="It answers at once, without steps: problems of one grammar with numbers from 0 to 40, and most of those with "
        "several steps wrongly; one of three trainings stays at 30 in 100.",
        make=partial(make_answerer, start=None, worked=False, config=TrainingConfig(1500, 3e-3, 50)),
        measure=partial(measure_answerer, chat=False),
        bands={"right": (0.2, 0.9)},  # one of three seeds stays on a plateau
    ),
)
