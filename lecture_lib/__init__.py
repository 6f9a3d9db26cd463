"""The running code of the course *Large Language Models*: one module per idea, each short enough to read."""

__version__ = "0.1.0"
