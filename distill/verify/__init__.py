"""Rules that judge one completion: ``answer`` against the gold answer, ``form`` by its shape."""
