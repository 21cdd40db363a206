"""Serves one GGUF file with llama.cpp's own server until it is told to end.

    python students/llama_cpp_server.py MODEL.gguf PORT CONTEXT SLOTS EXACT

``students.llama_cpp`` starts it; it imports nothing of this project, so it runs from anywhere.
"""

import signal
import sys
from pathlib import Path

import xllamacpp  # type: ignore[import-untyped, unused-ignore]

# As in `engine.threads`: the threads of a small model wait for each other.
_SMALL_BYTES = 80_000_000


def main() -> None:
    """Serve until SIGTERM."""
    path, port, context_tokens, slots, exact = sys.argv[1:6]
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = int(port)
    parameters.n_ctx = int(context_tokens)
    parameters.n_parallel = int(slots)
    parameters.warmup = False
    if Path(path).stat().st_size < _SMALL_BYTES:
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    if exact == "1":
        parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        no_flash = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.flash_attn_type = no_flash
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError as error:  # what is wrong stands in llama.cpp's own lines above
        sys.exit(str(error))
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    signal.pause()
    del server


if __name__ == "__main__":
    main()
