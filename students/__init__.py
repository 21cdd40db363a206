"""The small dense models: from kept traces to token ids to a model that one can talk to."""
