"""From a trained student to files that other programs load: safetensors, GGUF, bitsandbytes.

where_from   what the user named: a run, a model or an adapter with its base
weights      its tensors, adapters merged, a few rows at a time
plan         what will be written, and whether it fits on the disk
writing      the folder, whole or not at all, checked before it appears
"""
