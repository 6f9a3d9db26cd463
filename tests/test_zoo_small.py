"""The small recipes: sentences said backwards (chapter 8), the gpt in fewer bits (chapter 12), chains that vote (chapter 16)."""

import pytest
import torch
from helpers import seeded

from lecture_lib import zoo
from lecture_lib.zoo import opened, prompted, reversal, shrunk, voted


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


def right(model, ids, at):
    return float((model(ids)[:, at - 1].argmax(-1) == ids[:, at]).float().mean())


@pytest.mark.slow
def test_the_decoder_of_chapters_3_and_4_works_problems_out():
    ids = opened.new_problems()
    assert ids.shape == (504, 38)
    trained, fresh = opened.small_solver(), opened.new_model()
    for at in (25, 27, 31):  # product, start number, sum
        assert right(trained, ids, at) == 1.0
        assert right(fresh, ids, at) < 0.2


@pytest.mark.slow
def test_a_training_of_that_decoder_ends_where_the_kept_one_does():
    solver, ids = opened.train_solver(seed=3), opened.new_problems()
    assert all(right(solver, ids, at) > 0.9 for at in (25, 27, 31))


def test_fewer_bits_take_the_bytes_that_are_said():
    card, whole = shrunk.card(), shrunk.card()["sixteen_bits"]["bytes"]
    assert whole == 2 * zoo.card("gpt")["parameters"]
    for row in card["weights"]:
        n_weights = 6 * (4 * 128 * 128 + 3 * 128 * 352)
        n_rows = 6 * (4 * 128 + 2 * 352 + 128)
        n_steps = n_rows if row["group_size"] is None else n_weights // row["group_size"]
        a_step = (
            2 if row["bits"] == 8 else 3
        )  # bytes: a step in half precision, and a zero point below 8 bits
        inputs = 6 * (6 * 128 + 352) * 2 if row["method"] == "awq" else 0  # AWQ's factors
        codes = n_weights * row["bits"] / 8
        assert row["bytes"] == whole - 2 * n_weights + codes + a_step * n_steps + inputs


def test_the_card_of_fewer_bits_has_ten_calibrations_and_its_order():
    rows = {(r["bits"], r["group_size"], r["method"]): r["bits_per_byte"] for r in shrunk.card()["weights"]}
    assert all(len(values) == (1 if method == "rtn" else 10) for (*_, method), values in rows.items())
    for bits in (4, 3, 2):
        for group_size in (None, 32):
            best, middle, worst = (rows[bits, group_size, method] for method in ("gptq", "awq", "rtn"))
            assert max(best) < min(middle) and sum(middle) / 10 < worst[0]


@pytest.mark.parametrize("channels", [False, True])
def test_a_rounded_cache_rounds_what_is_kept_and_eight_bits_do_no_harm(channels):
    model, batch = zoo.load("gpt")[0], shrunk.held_out()[0][0]
    few = type(batch)((batch.inputs[0][:1, :40],), batch.targets[:1, :40])
    exact = shrunk.target_loss(model, few)
    losses = [shrunk.with_rounded_cache(bits, channels=channels)(model, few) for bits in (8, 2)]
    assert abs(losses[0] - exact) < 5e-3 < abs(losses[1] - exact)
    untouched = shrunk.with_rounded_cache(2, keys=False, values=False)(model, few)
    torch.testing.assert_close(untouched, exact)


@pytest.mark.slow
def test_the_card_of_fewer_bits_is_what_a_measurement_gives():
    """Another installation has slightly other text, so it is the increase that is compared."""
    sixteen = shrunk.measured(zoo.load("gpt")[0])
    for bits, low, high in ((8, -0.002, 0.002), (4, 0.003, 0.02), (2, 0.2, 0.5)):
        assert low < shrunk.measured(shrunk.shrunk(bits, 32)) - sixteen < high


# ------------------------------------------------------------------------------------- chains that vote (chapter 16)


def test_a_chain_gets_its_letter():
    said = [
        "2 + 3 = 5 . the answer is 5 .",
        "2 + 3 = 6 . the answer is 5 .",
        "2 + 2 = 4 . the answer is 4 .",
        "2 + 3 =",
    ]
    said += ["1 + 1 = 3 . the answer is 3 .", "2 + 2 = 4 . the answer is 4 . the"]
    marks = voted.lettered(said, right=5)
    assert marks == ["A", "a", "B", "z", "c", "Z"]
    text = voted.counted([*marks, "B", "BC"])
    assert text == "A1B2BC1Z1a1c1z1" and voted.counts(text) == dict(A=1, B=2, BC=1, Z=1, a=1, c=1, z=1)
    assert voted.ballots(voted.counts(text)) == [2, 2, 1, 1, 2]
    assert voted.ballots(voted.counts(text), checked=True) == [1, 2, 1, 4]
    many = voted.lettered([f"1 + 1 = 2 . the answer is {n} ." for n in range(41)], right=7)
    assert len(set(many)) == 41


def test_the_card_of_chains_holds_what_it_says():
    card = voted.card()
    assert [(row["model"], row["temperature"], row["seed"]) for row in card["sets"]] == [
        (*each, seed) for each in voted.SETS for seed in voted.SEEDS
    ]
    for row in card["sets"]:
        drawn = voted.drawn(row["model"], row["temperature"], row["seed"])
        assert len(drawn) == voted.N_PROBLEMS
        assert all(sum(first.values()) == 16 and sum(other.values()) == 32 for _, first, other in drawn)
    assert len({each.question for seed in voted.SEEDS for each in voted.asked(seed)}) > 590
    with pytest.raises(ValueError, match="no chains of gpt at temperature 0.8"):
        voted.drawn("gpt", 0.8, 0)


@pytest.mark.slow
def test_greedy_chains_are_the_cards():
    """What is stored is what the model says today; letters of drawn chains depend on the machine's rounding."""
    problems, drawn = voted.asked(0)[:6], voted.drawn("course_instruct", 0.8, 0)
    for problem, (greedy, _, _) in zip(problems, drawn, strict=False):
        said = voted.chains("course_instruct", problem, 1, 0.0, seed=0)
        assert voted.lettered(said, problem.answer) == [greedy]


@pytest.mark.slow
def test_the_card_of_chains_is_what_a_model_draws():
    """Thirty problems drawn anew have as many right chains, within the error of both."""
    shares = []
    for i, (problem, row) in enumerate(
        zip(voted.asked(0)[:30], voted.drawn("course_instruct", 0.8, 0), strict=False)
    ):
        said = voted.chains("course_instruct", problem, 48, 0.8, seed=10**6 + i)
        again = voted.ballots(voted.counts(voted.counted(voted.lettered(said, problem.answer))))[0]
        shares.append((again - voted.ballots(row[1])[0] - voted.ballots(row[2])[0]) / 48)
    assert abs(sum(shares) / 30) < 5 * (2 * 0.25 / 48 / 30) ** 0.5


@pytest.mark.slow
def test_the_model_without_steps_reads_as_many_tokens():
    equal = prompted.updates_of_direct() * prompted.tokens_per_problem(worked=False)
    assert abs(equal / (prompted.UPDATES * prompted.tokens_per_problem(worked=True)) - 1) < 1e-3


@pytest.mark.slow
def test_the_card_of_prompts_has_its_trainings_and_draws():
    card = prompted.card()
    rows = card["depth"]["right"]
    assert {name: [len(row) for row in found] for name, found in rows.items()} == dict.fromkeys(
        ("steps", "direct", "direct, equal tokens"), [4, 4, 4]
    )
    assert rows["steps"][0] == [zoo.card("course_steps")["metrics"][f"right_{n}_steps"] for n in (1, 2, 3, 4)]
    assert card["depth"]["updates"]["direct, equal tokens"] == prompted.updates_of_direct()
    for name in ("course_instruct", "course_direct"):
        assert all(len(draws) == 10 for draws in card["votes"][name]["votes"].values())


@pytest.mark.slow
def test_greedy_answers_are_those_of_the_card():
    asked, name = prompted.test_problems(), "course_instruct"
    greedy = prompted.sampled_answers(name, asked, 1, 0.0)
    assert prompted.share_of_votes(greedy, asked, 1) == pytest.approx(
        prompted.card()["votes"][name]["greedy"], abs=0.03
    )


def test_samples_differ_and_a_vote_takes_the_first_n():
    asked = prompted.test_problems(6)
    samples = prompted.sampled_answers("course_direct", asked, 5, 2.0, seed=1)
    assert [len(each) for each in samples] == [5] * 6
    assert len({answer for each in samples for answer in each}) > 2
    told = [[each.answer, each.answer, -1, -1, -1] for each in asked]
    assert [prompted.share_of_votes(told, asked, n) for n in (1, 3, 5)] == [1, 1, 0]
    assert prompted.share_of_votes([[None]] * 6, asked, 1) == 0
