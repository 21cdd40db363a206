"""Stages over several workers, with Ray: on this machine, or on a cluster that runs already.

``cluster`` joins Ray, ``workers`` hands out units of work and replaces workers that die, ``probe``
finds out whether they see the folder that is written to. ``generate`` and ``filter`` are the two
stages: the first samples blocks of prompts (``blocks``), each into a journal of its own, under one
allowance and one tally (``desk``, ``lease``); the second judges the filter's shards.

Ray itself is imported by ``cluster`` when it is asked for, and by nothing else.
"""
