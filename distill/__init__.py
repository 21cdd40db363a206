"""The core: what happens to prompts and traces, whoever answers them. Loads without torch."""

__version__ = "0.1.0"
