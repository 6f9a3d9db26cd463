"""The exercises of the course, one module or folder a chapter, on the machinery of `lecture_lib.checks`.

A chapter has `EXERCISES`, in the order of its notebook, and `BY_HAND`, the points of its hand-graded questions by
their name there. Nothing but notebooks, tests and grading imports this package.
"""
