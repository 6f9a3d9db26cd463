"""The small recipe of chapter 8: sentences said backwards."""

import torch
from helpers import seeded

from lecture_lib.zoo import reversal


def test_batches_ask_for_the_sentence_backwards():
    batch = next(reversal.batches(seeded(), batch_size=5))
    (source, target, lengths), wanted = batch.inputs, batch.targets
    for row, n in enumerate(lengths.tolist()):
        words = source[row, 1:n].tolist()
        assert 2 <= len(words) <= reversal.LONGEST and min(words) >= 2
        assert wanted[row, :n].tolist() == [*words[::-1], reversal.END]
        assert target[row, :n].tolist() == [reversal.START, *words[::-1]]


def test_one_vector_is_all_that_the_decoder_sees():
    model = reversal.OneVector(reversal.CONFIG, generator=seeded()).eval()
    memory, target = torch.randn(2, 6, 32, generator=seeded(1)), torch.tensor([[0, 3, 4], [0, 5, 5]])
    other = memory.clone()
    other[:, 1:] += 1
    logits = model.decode(target, memory, torch.tensor([6, 3]))
    assert torch.equal(logits, model.decode(target, other))
    other[:, 0] += torch.arange(32)
    assert not torch.allclose(logits, model.decode(target, other))


def test_a_training_runs_and_the_card_has_three_seeds():
    model = reversal.train_reverser(one_vector=False, seed=0, max_steps=2, progress=False)
    assert 0 <= reversal.exact_match(model, length=2, n=20) <= 1
    card = reversal.card()
    assert [len(rows) for rows in (card["all_vectors"], card["one_vector"])] == [3, 3]
    assert all(len(row) == 9 for name in ("all_vectors", "one_vector") for row in card[name])
