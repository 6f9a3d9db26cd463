"""The build of the course: notebooks from the authored text, the executed book, and what is asked of its pages.

`python -m scripts.notebooks`, `python -m scripts.book`, `python -m scripts.pages`; Sphinx and the tests import the modules by name.
"""
