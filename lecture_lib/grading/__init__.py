"""Grading a class: confined processes run the answers, a trusted side judges what they gave on cases of its own.

A mark says what an answer computes on inputs that it has never seen. ``frames`` and ``hands`` are what a confined process
holds, ``confine`` and ``bubble`` shut it in, ``zygote`` forks it, ``server`` is the trusted end of the line; ``triage`` reads
what came back, ``needed`` says which cells must run, ``submission`` gives marks, ``safe`` what may be shown, ``marks``, ``course`` and
``report`` do it for a class; ``kernel`` stands in for a confined process when readers check their own notebook.
"""
