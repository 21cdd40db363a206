"""One of the other ranks of a local teacher, as ``teachers.local_ranks`` starts it.

    python -m teachers.local_rank ORDER PORT RANK SIZE DESCRIPTOR

Whatever it and its libraries print goes where its parent has directed it.
"""

import socket
import sys

from distill.errors import DistillError
from engine.lifeline import end_with


def main() -> int:
    """Be a rank until rank 0 lets it go; returns the exit code."""
    order, port, rank, size, descriptor = sys.argv[1:]
    end_with(socket.socket(fileno=int(descriptor)))
    # Only now that it ends with its parent: importing torch takes a while.
    from engine.meeting import Meeting
    from teachers.local_ranks import follow_teacher

    try:
        follow_teacher(order, Meeting.join(int(port), int(rank), int(size)))
    except DistillError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
