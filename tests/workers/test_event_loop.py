"""The loop that calls leave from goes first where it may, and nothing else of ours does."""

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from workers import event_loop


@contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    before = set(threading.enumerate())
    loop = event_loop.start()
    (thread,) = set(threading.enumerate()) - before
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5.0)
        loop.close()


def policy_of(loop: asyncio.AbstractEventLoop) -> int:
    async def ask() -> int:
        return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK

    return asyncio.run_coroutine_threadsafe(ask(), loop).result(5.0)


def may_go_first() -> bool:
    allowed: list[bool] = []

    def trial() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(event_loop.LOWEST))
        except OSError:
            return
        allowed.append(True)

    thread = threading.Thread(target=trial)
    thread.start()
    thread.join()
    return bool(allowed)


@pytest.mark.skipif(not may_go_first(), reason="real-time priorities take root, CAP_SYS_NICE or RLIMIT_RTPRIO")
def test_the_loop_goes_first_and_the_threads_it_starts_do_not() -> None:
    with running_loop() as loop, ThreadPoolExecutor(1) as threads:
        # Given a loop, When it starts a database thread
        async def ask() -> int:
            return await loop.run_in_executor(threads, os.sched_getscheduler, 0)

        of_a_thread = asyncio.run_coroutine_threadsafe(ask(), loop).result(5.0)
        # Then the loop alone is ahead of other work
        assert policy_of(loop) == os.SCHED_RR
        assert of_a_thread == os.SCHED_OTHER
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_where_it_may_not_go_first_it_runs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a machine that refuses, as most containers do
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    # When a loop is started, Then it works like any other
    with running_loop() as loop:
        assert policy_of(loop) == os.SCHED_OTHER
