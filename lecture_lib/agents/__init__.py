"""Several calls for one question: components, pipelines within a budget, exact laws of votes and checks, search.

``components`` ask a chat model, ``rules`` ask none; ``pipeline`` puts them one behind the other, runs them through a
``ledger``, which counts, and draws them; ``votes`` says how often a choice is right; ``search`` looks for the best.

Source: Saad-Falcon et al. (2024), Archon.
"""

from lecture_lib.agents.components import (
    Candidate,
    Component,
    Critic,
    Fuser,
    Generator,
    Ranker,
    Verifier,
    ranking,
)
from lecture_lib.agents.ledger import Ask, BudgetSpent, Ledger
from lecture_lib.agents.pipeline import Pipeline, Result, Stage, lecture_pipeline
from lecture_lib.agents.purse import Purse
from lecture_lib.agents.rules import Check, Sort, Vote
from lecture_lib.agents.search import Found, every_architecture, search_architectures
from lecture_lib.agents.votes import (
    draws_and_checks,
    first_passing,
    majority_accuracy,
    mean_and_correlation,
    vote_accuracy,
)

__all__ = [
    "Ask",
    "BudgetSpent",
    "Candidate",
    "Check",
    "Component",
    "Critic",
    "Found",
    "Fuser",
    "Generator",
    "Ledger",
    "Pipeline",
    "Purse",
    "Ranker",
    "Result",
    "Sort",
    "Stage",
    "Verifier",
    "Vote",
    "draws_and_checks",
    "every_architecture",
    "first_passing",
    "lecture_pipeline",
    "majority_accuracy",
    "mean_and_correlation",
    "ranking",
    "search_architectures",
    "vote_accuracy",
]
