"""The encoder: every token reads every other (BERT), and the heads that turn its output into predictions.

Source: lecture, "Encoder model example: BERT"; Devlin et al. (2019), section 3.
Axes: B batch, N tokens, D = d_model, |V| = vocab_size, C classes.
"""

import torch
from torch import Tensor, nn

from lecture_lib.fields import whole
from lecture_lib.transformer import (
    ACTIVATIONS,
    GATED,
    InputEmbedding,
    ModelConfig,
    TransformerStack,
    initialise,
    make_context,
    make_norm,
)


class Encoder(nn.Module):
    """Turn each token into a vector that knows its whole text: embeddings, then layers without a causal mask."""

    def __init__(self, config: ModelConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.embedding = InputEmbedding(config)
        self.stack = TransformerStack(config)
        self.pooler: nn.Linear | None = None
        initialise(self, config, generator)

    def add_pooler(self, generator: torch.Generator | None = None) -> None:
        """Add the map that makes a whole text's vector of the first token's, if there is none yet."""
        if self.pooler is None:
            self.pooler = nn.Linear(self.config.d_model, self.config.d_model)
            initialise(self.pooler, self.config, generator)

    def forward(self, ids: Tensor, lengths: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Read a batch of texts, (B, N, D), one vector a token; what stands at padding has no meaning.

        What is out of range, or longer than the context, is refused.

        Args:
            ids: (B, N) integer token ids, padded on the right.
            lengths: (B,) number of real tokens in each text; None: all N.
            segments: (B, N) segment of each token (sentence A: 0, B: 1); None: 0.
        """
        here = make_context(self.config, ids, lengths)
        return self.stack(self.embedding(ids, segments=segments), here)


class MaskedLanguageModel(nn.Module):
    """Guess hidden tokens: a dense map, its activation and norm, then the token table (BERT's MLM head).

    Source: Devlin et al. (2019), section 3.1, task 1.
    """

    def __init__(self, encoder: Encoder, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.encoder, self.config = encoder, encoder.config
        config = encoder.config
        self.dense = nn.Linear(config.d_model, config.d_model)
        self.activation = ACTIVATIONS[GATED.get(config.activation, config.activation)]
        self.norm = make_norm(config)
        self.head = nn.Linear(config.d_model, config.vocab_size)
        initialise(nn.ModuleList([self.dense, self.head]), config, generator)
        self.tie()

    def tie(self) -> None:
        """Let the output head be the token table, if the config says so."""
        if self.config.tied_head:
            self.head.weight = self.encoder.embedding.tokens.weight

    def forward(self, ids: Tensor, lengths: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Score every token of the vocabulary at every place, (B, N, |V|); arguments as for the encoder."""
        X = self.encoder(ids, lengths, segments)
        return self.head(self.norm(self.activation(self.dense(X))))


class TextClassifier(nn.Module):
    """Classify a text by its first token, `[CLS]`: tanh(x_1 W_pool) W_class.

    The encoder becomes part of this model, as of the others, and gets a pooler if it has none; one class is for yes or no.

    Source: lecture, "Text classification"; Devlin et al. (2019), section 4.1.
    """

    def __init__(self, encoder: Encoder, n_classes: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.encoder, self.config = encoder, encoder.config
        encoder.add_pooler(generator)
        self.dropout = nn.Dropout(self.config.dropout)
        self.classifier = nn.Linear(self.config.d_model, whole("n_classes", n_classes, 1))
        self.labels = [f"LABEL_{i}" for i in range(n_classes)]  # names of the classes
        initialise(self.classifier, self.config, generator)

    def forward(self, ids: Tensor, lengths: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Score the classes of each text, (B, C); arguments as for the encoder, the first token being `[CLS]`."""
        first = self.encoder(ids, lengths, segments)[:, 0]  # (B, D)
        return self.classifier(self.dropout(torch.tanh(self.encoder.pooler(first))))


class WordClassifier(nn.Module):
    """Classify every token, such as person, place or neither: x_n W_class.

    Source: lecture, "Word classification"; Devlin et al. (2019), section 5.3.
    """

    def __init__(self, encoder: Encoder, n_classes: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.encoder, self.config = encoder, encoder.config
        self.dropout = nn.Dropout(self.config.dropout)
        self.classifier = nn.Linear(self.config.d_model, whole("n_classes", n_classes, 1))
        self.labels = [f"LABEL_{i}" for i in range(n_classes)]  # names of the classes
        initialise(self.classifier, self.config, generator)

    def forward(self, ids: Tensor, lengths: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Score the classes of each token, (B, N, C); arguments as for the encoder."""
        return self.classifier(self.dropout(self.encoder(ids, lengths, segments)))
