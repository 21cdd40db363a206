"""What teachers and students share and what touches weights.

The sampling loop over a local model, chat rendering, attention over packed rows. Nothing here
knows whether a model teaches or learns.
"""
