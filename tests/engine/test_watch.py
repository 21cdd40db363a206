from engine.watch import Watch


def watch(size: int = 2, seconds: float = 10.0) -> Watch:
    return Watch(size, seconds, started=100.0)


def test_a_rank_that_says_nothing_any_more_is_named() -> None:
    watched = watch(3)
    for rank in range(3):
        watched.hear(rank, step=7, now=105.0)
    for rank in (0, 2):
        watched.hear(rank, step=7, now=115.0)
    assert watched.stalled(now=115.0) is None
    assert watched.stalled(now=115.5) == "rank 1 said nothing for 10 s after step 7"


def test_a_rank_that_lives_and_is_behind_is_named() -> None:
    watched = watch()
    watched.hear(0, step=8, now=101.0)
    watched.hear(1, step=7, now=101.0)
    for second in range(102, 112):
        watched.hear(0, step=8, now=second)
        watched.hear(1, step=7, now=second)
    assert watched.stalled(now=111.5) == "rank 1 has not finished step 8 in 10 s"


def test_nobody_is_named_when_all_hang_in_the_same_step() -> None:
    watched = watch()
    for rank in range(2):
        watched.hear(rank, step=3, now=101.0)
        watched.hear(rank, step=3, now=111.0)
    assert watched.stalled(now=111.5) == "no rank has finished step 4 in 10 s"


def test_loading_may_take_as_long_as_it_takes() -> None:
    watched = watch()
    for rank in range(2):
        watched.hear(rank, step=0, now=1000.0)
    assert watched.stalled(now=1001.0) is None


def test_a_process_that_never_said_anything_is_named() -> None:
    watched = watch()
    watched.hear(0, step=0, now=110.0)
    assert watched.stalled(now=110.5) == "rank 1 said nothing for 10 s after step 0"


def test_slow_steps_are_no_stall_while_they_come() -> None:
    watched = watch()
    for step in range(1, 20):
        now = 100.0 + 9 * step
        watched.hear(0, step, now)
        watched.hear(1, step, now)
        assert watched.stalled(now) is None


def test_nobody_is_behind_after_a_rest() -> None:
    watched = watch()
    for second in range(101, 121):
        for rank in range(2):
            watched.hear(rank, step=3, now=second)
        watched.rest(second)
    assert watched.stalled(now=121.0) is None
