"""A student behind the OpenAI API, so that any client, and our own API teacher, can ask it.

``wire`` reads requests and writes replies, a back end (``own``, ``llama_cpp``) draws tokens,
``app`` is the server around them.
"""
