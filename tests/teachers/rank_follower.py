"""One of the other ranks, as a launcher would start it: follows rank 0 until it lets it go.

    python rank_follower.py PORT RANK SIZE

One start serves all cases of test_local_ranks.py.
"""

import sys

from engine.launched import Launched
from engine.meeting import Meeting
from teachers.local_ranks import ORDER, follow_teacher

if __name__ == "__main__":
    port, rank, size = map(int, sys.argv[1:])
    Launched(Meeting.join(port, rank, size)).follow({ORDER: follow_teacher})
