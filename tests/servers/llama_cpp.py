"""Serves one GGUF file with llama.cpp's own server until it is told to end.

python -m tests.servers.llama_cpp MODEL.gguf PORT
"""

import signal
import sys

import xllamacpp  # type: ignore[import-untyped, unused-ignore]


def main() -> None:
    """Serve."""
    path, port = sys.argv[1:3]
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.hostnames = ["127.0.0.1"]
    params.port = int(port)
    params.n_ctx = 2048
    params.n_parallel = 4
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.warmup = False
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)  # noqa: T201
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    signal.pause()


if __name__ == "__main__":
    main()
