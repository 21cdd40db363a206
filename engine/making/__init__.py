"""How the embedded checkpoints are made: tokenizer, optimizer and pre-training loop.

Nothing here runs in ``make demo``: it is what ``teachers/embedded/pretrain.py`` and
``students/embedded/pretrain.py`` have in common, kept so that anyone can make the models again.
"""
