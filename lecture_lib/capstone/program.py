r"""A decoder that is made of answers: text, ids, vectors, layers, logits, token (lecture, "Sampling").

The library reads the checkpoint; what is computed with its numbers is computed by the parts.

Axes: N tokens, D = d_model, |V| = vocab_size; one text, so tables are (1, N, D).
"""

import html
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lecture_lib.attention import MultiHeadAttention, causal_mask
from lecture_lib.capstone.answers import Answers, table
from lecture_lib.decoder import Decoder
from lecture_lib.embedding import tied_logits
from lecture_lib.tokenization import BytePairTokenizer, TextTokenizer
from lecture_lib.tokenization.byte_level import BYTE_TO_CHARACTER, unspell
from lecture_lib.tokenization.files import read_merges
from lecture_lib.transformer import ModelConfig

Choose = Callable[[Tensor, list[int]], int]


def assemble(answers: Answers, model: Decoder, tokenizer: TextTokenizer | None = None) -> "Program":
    """Put answers together into a program that has the weights of a model.

    Args:
        answers: from `collect`.
        model: a decoder of GPT-2's or Llama's kind, as `load_pretrained` or `zoo.load` give it, on the CPU.
        tokenizer: its tokenizer; None: the program reads and writes ids alone.

    Raises:
        ValueError: the model has a part that no exercise builds.
    """
    check_model(model.config)
    return Program(answers, model, tokenizer)


def check_model(config: ModelConfig) -> None:
    """Refuse a model that is neither of GPT-2's nor of Llama's kind."""
    rotary = config.positions == "rotary"
    plain = not (config.rope_scaling or config.sliding_window or config.qk_norm or config.scale_embedding)
    kind = rotary and config.norm == "rms" and config.rope_theta == 10_000 and not config.qkv_bias
    gpt2 = config.positions == "learned" and config.norm == "layer" and config.n_kv_heads == config.n_heads
    if not (plain and config.norm_first and not config.embedding_norm and (kind or gpt2)):
        raise ValueError(
            "no exercise builds a part of this model: the program runs GPT-2's kind (layer norm, learned positions) and "
            f"Llama's (root-mean-square norm, rotary positions with base 10000, no biases), not {config}"
        )


class Program:
    """The whole course as one program: `write` continues a text; `parts` says what has run."""

    def __init__(self, answers: Answers, model: Decoder, tokenizer: TextTokenizer | None = None) -> None:
        self.answers, self.model, self.config = answers, model, model.config
        self.tokenizer = getattr(tokenizer, "inner", tokenizer)
        self.borrowed: set[str] = set()  # what no exercise builds

    # ---------------------------------------------------------------------------------------------- text and ids

    @cached_property
    def _bytes(self) -> tuple[list[int], dict] | None:
        """The id of each byte and the merges; None for a tokenizer that does more than merge bytes."""
        known = self.tokenizer
        if not isinstance(known, BytePairTokenizer) or known.description.get("normalizer"):
            self.borrowed.add("tokenizer")
            return None
        vocab = known.model["vocab"]
        return [vocab[BYTE_TO_CHARACTER[byte]] for byte in range(256)], read_merges(known.model)

    def encode(self, text: str) -> list[int]:
        """Cut a text into token ids: words by the tokenizer's pattern, tokens by the part `encode_word`."""
        if self._bytes is None:
            return self.tokenizer.encode(text)
        of_byte, merges = self._bytes
        cut, ids = self.answers["tokenization.encode_word"], []
        for word in self.tokenizer.split_words(text):
            ids += cut([of_byte[byte] for byte in word.encode()], merges)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Give the text of token ids."""
        if self._bytes is None:
            return self.tokenizer.decode(ids)
        tokens = [unspell(self.tokenizer.tokens[i]) for i in range(len(self.tokenizer.tokens))]
        return self.answers["tokenization.decode_tokens"](ids, tokens)

    # ------------------------------------------------------------------------------------------ vectors and layers

    def _norm(self, module: nn.Module) -> Callable[[Tensor], Tensor]:
        if self.config.norm == "rms":
            return lambda X: self.answers["transformer.rms_norm"](X, module.weight, module.eps)
        return lambda X: self.answers["transformer.layer_norm"](X, module.weight, module.bias, module.eps)

    def _feed_forward(self, module: nn.Module) -> Callable[[Tensor], Tensor]:
        W_in, W_out, kind = module.W_in, module.W_out, self.config.activation
        if kind == "swiglu" and W_in.bias is None:
            maps = [each.weight.T for each in (module.W_gate, W_in, W_out)]
            return lambda X: self.answers["capstone.gated_feed_forward"](X, *maps)
        if kind == "gelu" and W_in.bias is not None:
            maps = [W_in.weight.T, W_in.bias, W_out.weight.T, W_out.bias]
            return lambda X: self.answers["transformer.feed_forward"](X, *maps)
        self.borrowed.add(f"feed-forward network with {kind}")
        return module

    def _attention(self, module: MultiHeadAttention, before: Any, after: list) -> Callable:
        maps = [module.W_q, module.W_k, module.W_v, module.W_o]
        if self.config.positions == "rotary":

            def remembering(X: Tensor, mask: Tensor | None = None) -> Tensor:
                cached = self.answers["kv_cache.cached_attention"]
                Y, after[module.layer] = cached(X, *(W.weight.T for W in maps), module.d_head, before)
                return Y

            return remembering

        def reading_all(X: Tensor, mask: Tensor | None = None) -> Tensor:
            # A feature that is always 1 makes the last row of a map its bias.
            many = self.answers["attention.multi_head_attention"]
            with_bias = [torch.cat([W.weight.T, _bias(W)[None]]) for W in maps[:3]]
            Y = many(
                F.pad(X, (0, 1), value=1.0), *with_bias, F.pad(maps[3].weight.T, (0, 1)), module.n_heads, mask
            )
            return Y[..., :-1] + _bias(maps[3])

        return reading_all

    def _features(self, ids: list[int], past: list | None) -> tuple[Tensor, list]:
        """What the head reads, (N, D), and what is kept: of each layer, or for GPT-2's kind all ids."""
        table, config = self.answers["embedding.one_hot_lookup"], self.config
        rotary, n_layers = config.positions == "rotary", config.n_layers
        before = past if past is not None else [None] * n_layers if rotary else []
        kept = [None] * n_layers if rotary else [*before, *ids]
        X = table(torch.tensor([ids if rotary else kept]), self.model.embedding.tokens.weight)
        if not rotary:
            X = X + table(torch.arange(len(kept)), self.model.embedding.positions.weight)
        layers = [
            SimpleNamespace(
                attention=self._attention(layer.attention, before[i] if rotary else None, kept),
                attention_norm=self._norm(layer.attention_norm),
                feed_forward=self._feed_forward(layer.feed_forward),
                feed_forward_norm=self._norm(layer.feed_forward_norm),
            )
            for i, layer in enumerate(self.model.stack.layers)
        ]
        mask = None if rotary else causal_mask(len(kept))
        stack, norm = self.answers["transformer.pre_ln_stack"], self._norm(self.model.stack.final_norm)
        return stack(X, layers, norm, mask=mask)[0, -len(ids) :], kept

    def _head(self, X: Tensor) -> Tensor:
        head = self.model.head
        return tied_logits(X, head.weight) + (0 if head.bias is None else head.bias)

    # ------------------------------------------------------------------------------------------- logits and tokens

    @torch.no_grad()
    def read(self, ids: list[int], past: list | None = None) -> tuple[Tensor, list]:
        """Read new tokens behind those that are kept.

        Args:
            ids: the new tokens, at least one.
            past: what the last call gave, None at the beginning of a text.

        Returns:
            (|V|,) logits of the next token, and what the next call needs.
        """
        X, kept = self._features(list(ids), past)
        return self._head(X[-1:])[0], kept

    @torch.no_grad()
    def logits(self, ids: list[int]) -> Tensor:
        """Read a text at once: (N, |V|) logits of what follows each of its tokens."""
        return self._head(self._features(list(ids), None)[0])

    def drawing(
        self, seed: int, temperature: float = 0.7, top_p: float = 0.7, top_k: int = 50, penalty: float = 1.0
    ) -> Choose:
        """Make a choice that draws by the part `playground`, with its knobs, from a generator with that seed."""
        generator, knobs = torch.Generator().manual_seed(seed), (temperature, top_p, top_k, penalty)

        def choose(logits: Tensor, ids: list[int]) -> int:
            draw = self.answers["sampling.playground"]
            return int(draw(logits[None], torch.tensor([ids]), generator, *knobs)[0])

        return choose

    def tokens(
        self, ids: list[int], max_new_tokens: int, choose: Choose | None = None, end_ids: Collection[int] = ()
    ) -> list[int]:
        """Continue ids by the part `write_tokens`; the new ids alone.

        Args:
            ids: the prompt.
            max_new_tokens: how many are written at most.
            choose: makes a token of (|V|,) logits and all ids so far; None: the most likely one.
            end_ids: tokens that end the text; they are part of it.
        """
        loop = self.answers["capstone.write_tokens"]
        greedy: Choose = lambda logits, _ids: int(logits.argmax())  # noqa: E731
        return loop(self.read, choose or greedy, list(ids), max_new_tokens, tuple(end_ids))

    def write(self, prompt: str, max_new_tokens: int, choose: Choose | None = None) -> str:
        """Continue a text: the new text alone; arguments as `tokens`."""
        return self.decode(self.tokens(self.encode(prompt), max_new_tokens, choose))

    def parts(self) -> "Parts":
        """What has run so far in all programs of these answers, and what no exercise builds."""
        return Parts(self)


class Parts:
    """A table of the parts that have run: chapter, exercise, whose it is, how often it was called."""

    def __init__(self, program: Program) -> None:
        rows, calls = program.answers.rows, program.answers.calls
        self.cells = [(rows[n].chapter, n, rows[n].whose, str(calls[n])) for n in rows if calls[n]]
        self.borrowed = sorted(program.borrowed)

    def __repr__(self) -> str:
        lines = [f"{whose}: {name} ({calls} calls)" for _, name, whose, calls in self.cells]
        return "\n".join([*lines, *(f"no exercise: {each}" for each in self.borrowed)])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>no exercise builds it: {html.escape(each)}</p>" for each in self.borrowed)
        return table(("chapter", "exercise", "whose", "calls"), self.cells) + notes


def _bias(W: nn.Linear) -> Tensor:
    return W.weight.new_zeros(W.out_features) if W.bias is None else W.bias
