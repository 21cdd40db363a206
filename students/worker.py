"""One process of a training that ``students.launch`` has started.

    python -m students.worker ORDER_FOLDER MEETING_POINT RANK SIZE DESCRIPTOR

Whatever it and its libraries print goes where its parent has directed it; what matters goes through
the channel.
"""

import sys
import time
import traceback
from pathlib import Path

from distill.errors import DistillError
from students.channel import Channel

_WAIT_SECONDS = 7200.0  # the parent notices a stalled process long before


def main() -> int:
    """Take part in a training; returns the exit code."""
    folder, meeting_point, rank, size, descriptor = sys.argv[1:]
    channel = Channel(int(descriptor))
    try:
        _train(channel, Path(folder), Path(meeting_point), int(rank), int(size))
    except DistillError as error:
        about = {"error": type(error).__name__, "problem": error.problem, "hint": error.hint}
        channel.say("failed", {**about, "at": time.monotonic()})
        return error.exit_code
    except BaseException:
        at = time.monotonic()
        traceback.print_exc()
        sys.stderr.flush()
        channel.say("failed", {"error": None, "at": at})
        raise
    return 0


def _train(channel: Channel, folder: Path, meeting_point: Path, rank: int, size: int) -> None:
    # Only now that signs of life are shown: importing torch takes a while.
    from distill.records import to_record
    from distill.types import Progress
    from students.order import carry_out
    from students.parallel import Ranks, joined

    def report(progress: Progress) -> None:
        channel.step = progress.done
        if rank == 0:
            channel.say("progress", to_record(progress))

    with joined(Ranks(rank, size), meeting_point, _WAIT_SECONDS) as ranks:
        trained = carry_out(folder, ranks, report)
    channel.say("done", to_record(trained) if rank == 0 else None)


if __name__ == "__main__":
    sys.exit(main())
