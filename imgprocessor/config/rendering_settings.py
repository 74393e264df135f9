"""What an operator may decide about workers: how many there are, and who waits for them."""

from dataclasses import dataclass
from pathlib import Path

from imgprocessor.config.types import not_negative, path, positive, setting, switch


@dataclass(frozen=True)
class RenderingSettings:
    """The worker pool that renders, and what happens when there is too much to do."""

    workers: int = setting(
        0, not_negative, "So many pictures are rendered at once; 0: as many as there are cores."
    )
    max_waiting_per_worker: int = setting(
        8,
        not_negative,
        "So many requests for each worker wait for their turn; more are a 503 at once, so that"
        " those who wait get an answer in time. The daemons need more threads than that in all.",
    )
    single_flight_seconds: int = setting(
        10,
        positive,
        "Of equal requests one renders, the others wait for it: no longer than this, then 503.",
    )
    worker_wait_seconds: int = setting(
        10, positive, "A request waits no longer than this for a worker that is free, then 503."
    )
    decode_wait_seconds: int = setting(
        10,
        positive,
        "A worker waits no longer than this for another one that decodes the same original, or a"
        " large one.",
    )
    max_processor_seconds: int = setting(
        20,
        positive,
        "A worker that takes more of a processor's time over one picture is stuck, and ends.",
    )
    max_memory_bytes: int = setting(
        1_610_612_736,
        positive,
        "A worker has no more memory than this (1.5 GiB): an original that wants more is a 422.",
    )
    best_behind: bool = setting(
        True,
        switch,
        "Where the policy says effort = behind, the best picture is made behind the answer, by a"
        " worker that has nothing else to do, and takes the quick one's place; no: as effort ="
        " quick.",
    )
    quarantine_seconds: int = setting(
        600,
        not_negative,
        "An original over which two workers died is a 422 for so long, without being opened; and"
        " so is one that was found broken.",
    )
    cheaper_when_overloaded: bool = setting(
        False,
        switch,
        "A client that would get a 503 gets the picture of a worse bandwidth instead, where one is"
        " kept; no cache keeps it.",
    )
    run_folder: Path = setting(
        Path("/dev/shm"),  # noqa: S108 - in it there is a folder of this user's alone
        path,
        "Where the daemons' sockets and locks are; in memory, so that no disk can stop them.",
    )
