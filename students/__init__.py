"""The small dense models: what becomes of kept traces, from token ids to a model one can talk to."""
