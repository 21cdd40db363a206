"""Benchmarks as data, verifier, sampling and version: published ones, the embedded one, any file.

``table`` says which there are, ``forms`` and ``livecode`` turn their rows into prompts, ``locate``
finds their files, ``load`` brings it together.
"""
