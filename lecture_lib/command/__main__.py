"""``python -m lecture_lib.command``: the same as ``lecture``."""

from lecture_lib.command import main

main()
