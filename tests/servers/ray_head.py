"""A Ray cluster on the loopback address, for tests that join it; its processes end with it.

    python -m tests.servers.ray_head 2

It prints its address and runs until its standard input is closed.
"""

import sys

from distill.scale.cluster import Cluster


def main() -> None:
    """Start, say where, wait."""
    with Cluster.open("local", workers=int(sys.argv[1])) as cluster:
        address = cluster.ray.get_runtime_context().gcs_address
        print(address, file=sys.__stdout__, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
