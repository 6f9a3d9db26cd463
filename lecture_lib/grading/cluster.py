"""The same function as tasks of a Dask cluster: bytes in, plain data out, one forking server a worker process."""

import atexit
import os
from collections.abc import Callable, Iterator

from lecture_lib.grading.collect import Submission
from lecture_lib.grading.course import Places, unread
from lecture_lib.grading.server import Server
from lecture_lib.grading.submission import Judge, Result, grade

_here: dict = {}  # of this worker process


def graded(raw: bytes, release: bytes, stem: str, way: str, seed: int, options: dict) -> dict:
    """One submission on whatever machine; run twice, it gives the same marks."""
    if _here.get("key") != (key := (os.getpid(), stem, way, seed)):
        if _here.get("key", (0,))[0] == os.getpid():
            _here["server"].close()
        server = Server(way, stem=stem)
        atexit.register(server.close)
        _here.update(key=key, server=server, judge=Judge(seed))
    return grade(raw, release, stem, _here["server"], _here["judge"], **options).as_dict()


def _result(future: object, submission: Submission) -> Result:
    try:
        return Result(**future.result())
    except Exception as error:  # of the cluster: nothing of this student's is known
        raise RuntimeError(
            f"{submission.student}: the cluster gave up ({error}); --resume goes on"
        ) from error


def on_cluster(
    places: Places, seed: int, way: str, scheduler: str, **options: object
) -> Callable[[list[Submission]], Iterator[tuple[Submission, Result]]]:
    """Grade on a Dask cluster; a worker that dies has its submissions graded by another."""

    def each_graded(todo: list[Submission]) -> Iterator[tuple[Submission, Result]]:
        from dask.distributed import Client, as_completed

        release, stem = places.release.read_bytes(), places.stem
        with Client(scheduler) as client:
            waiting, about = {}, (stem, way, seed, options)
            for each in todo:
                problem = unread(each, stem)
                if problem:
                    yield each, problem
                    continue
                future = client.submit(graded, each.raw, release, *about, pure=False, retries=3)
                waiting[future] = each
            late = []
            for future in as_completed(waiting):
                result = _result(future, waiting[future])
                if result.by_clock:
                    late.append(waiting[future])
                else:
                    yield waiting[future], result
            for each in late:  # one at a time, when nothing else of ours runs
                yield each, _result(client.submit(graded, each.raw, release, *about, pure=False), each)

    return each_graded
