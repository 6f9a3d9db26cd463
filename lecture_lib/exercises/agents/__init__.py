"""Exercises of chapter 16, several calls for one question, in the order of its notebook."""

from lecture_lib.exercises.agents.budget import BUDGET
from lecture_lib.exercises.agents.checker import CHECKER
from lecture_lib.exercises.agents.guess import WORTH
from lecture_lib.exercises.agents.judge import JUDGE
from lecture_lib.exercises.agents.order import ORDER
from lecture_lib.exercises.agents.split import SPLIT
from lecture_lib.exercises.agents.together import TOGETHER

EXERCISES = (ORDER, BUDGET, CHECKER, JUDGE, WORTH, TOGETHER, SPLIT)
BY_HAND = {"a_committee_of_one": 3}
