"""All data of the course, made or found on the reader's machine: nothing is downloaded.

Real text: `english` (the documentation inside every Python installation), `samples` (a few lines in many
scripts). Made text, each a pure function of a seed: `masked_words`, `translation`, `markov`,
`hidden_markov`, `snapshots`, `word_problems`, `regression`, `questions`,
`politeness`.
"""
