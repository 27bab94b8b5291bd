"""The parent of all: it opens the sockets, forks an agent and the workers, and forks another for each that ends.

    supervisor ── control          the record and the admin API, where there is a control plane in this server
               ├─ agent            sources -> snapshots on disk -> journal -> shared page; the management port
               ├─ worker 0         answers
               └─ worker 1         answers

It keeps every listening socket open, so a connection that waits to be accepted waits for the next process of its slot
rather than being refused. It reads nothing from anybody, and has no event loop and no threads: forking is safe, and
children share what was imported.

SIGTERM, SIGINT: drain, then end all. SIGHUP: another agent, then another worker in every slot, each taking over
before the last one leaves; when one cannot start, as with a certificate that is no good, those that are there stay.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from server.processes.inherited import AGENT, CONTROL, LEAVE, Inherited, title_of
from server.processes.naming import name_process
from server.quotas import QuotasError
from server.shared.page import Page

TICK = 0.25  # seconds
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0  # seconds before another try of a process that ends again and again
SETTLED = 10.0  # seconds after which a process that ends has not failed to start
HUNG = 30.0  # seconds without a heartbeat
ASLEEP = 2.0  # seconds between two looks after which it was not the others that did not run, but all, or this process
LEAVING = 15.0  # seconds beyond --shutdown-timeout that a process gets for its last requests and its last counts


@dataclass(slots=True)
class _Child:
    pid: int
    slot: int
    block: int
    ready_from: int
    started: float
    ready: bool = False
    leaving_since: float | None = None


@dataclass(slots=True)
class _Slot:
    pause: float = 0.0
    start_at: float = 0.0
    children: list[_Child] = field(default_factory=list)  # the newest last; those before it are leaving

    @property
    def newest(self) -> _Child | None:
        return self.children[-1] if self.children and self.children[-1].leaving_since is None else None


class Supervisor:
    def __init__(
        self,
        page: Page,
        workers: int,
        run: Callable[[Inherited], None],
        reload: Callable[[], None],
        *,
        drain_delay: float,
        shutdown_timeout: float,
        singles: tuple[int, ...] = (AGENT,),
        hung_after: float = HUNG,
        before_the_end: Callable[[], None] = lambda: None,
    ) -> None:
        """`run` is a child's whole life; `page` has blocks for two of each worker and of each of `singles`.

        `singles` are the slots, besides those of workers, that never have two processes at once.

        `reload` is called at SIGHUP, and raises QuotasError or OSError when nothing is to change.
        `before_the_end` is called when the drain delay is over and the children are about to be told to leave.
        """
        self._page = page
        self._run = run
        self._reload = reload
        self._drain_delay = drain_delay
        self._leave_within = shutdown_timeout + LEAVING
        self._hung_after = hung_after
        self._before_the_end = before_the_end
        self._looked_at = self._awake_since = time.monotonic()
        self._slots = {slot: _Slot() for slot in (*singles, *range(workers))}
        self._needed = singles[0]  # without it, it is no use
        self._came_up: set[int] = set()  # slots that had a process which was ready
        self._blocks = list(range(page.block_count))
        self._alive_read, self._alive_write = os.pipe()
        self._signals: set[int] = set()
        self._wakeup_read, self._wakeup_write = os.pipe()
        self._rolling: list[int] = []  # slots that get another process, one after the other
        self._rolling_since = 0.0  # a process that is older than this knows nothing of the last SIGHUP
        self._log = structlog.get_logger("supervisor")

    def run(self) -> int:
        """Until told to end. The exit status: 0, or 1 when the agent (or control) could not even start once."""
        for each in (self._wakeup_read, self._wakeup_write):
            os.set_blocking(each, False)
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda received, _: self._signals.add(received))
        gc.collect()
        gc.freeze()  # so that collecting in a child does not copy what it shares
        while not self._signals & {signal.SIGTERM, signal.SIGINT}:
            if not self._look():
                self._end()
                return 1
            self._wait(TICK)
        self._log.info("draining", seconds=self._drain_delay)
        self._page.draining = True
        until = time.monotonic() + self._drain_delay
        while time.monotonic() < until:
            self._look()
            self._wait(min(TICK, max(0.0, until - time.monotonic())))
        self._end()
        self._log.info("stopped")
        return 0

    def _look(self) -> bool:
        """Reap, replace, roll. False: it is no use."""
        now = time.monotonic()
        if now - self._looked_at > ASLEEP:
            self._awake_since = now  # children get their time anew
        self._looked_at = now
        if signal.SIGHUP in self._signals:
            self._signals.discard(signal.SIGHUP)
            try:
                self._reload()
            except (QuotasError, OSError) as error:
                self._log.error("quotas, keys or certificate cannot be used; no process is replaced", why=str(error))
            else:
                self._log.info("replacing all processes, one after the other")
                self._rolling, self._rolling_since = list(self._slots), now
        self._reap()
        for number, slot in self._slots.items():
            newest = slot.newest
            if newest is None and now >= slot.start_at and not (number < 0 and slot.children):
                if slot.pause > LONGEST_PAUSE / 2 and number == self._needed and not self._has_come_up(number):
                    return False
                self._start(number)
            elif newest is not None and self._hangs(newest, now):
                self._log.error("a process hangs", slot=title_of(number), pid=newest.pid)
                os.kill(newest.pid, signal.SIGKILL)
            for each in slot.children:
                if each.leaving_since is not None and now - each.leaving_since > self._leave_within:
                    os.kill(each.pid, signal.SIGKILL)
        self._roll()
        return True

    def _has_come_up(self, number: int) -> bool:
        """Did an agent come so far as to open the journal; any other, to do its work?"""
        return self._page.position > 0 if number == AGENT else number in self._came_up

    def _hangs(self, child: _Child, now: float) -> bool:
        return now - max(self._page.block(child.block).heartbeat, self._awake_since) > self._hung_after

    def _roll(self) -> None:
        """The first slot in the queue gets its next process; once that is ready, the one before leaves."""
        if not self._rolling:
            return
        slot = self._slots[self._rolling[0]]
        newest = slot.newest
        if self._rolling[0] < 0:  # two agents would both write: the next one starts when this one has ended
            if newest is not None:
                self._tell_to_leave(newest)
            self._rolling.pop(0)
            return
        if newest is None or not newest.ready:
            return
        for each in slot.children[:-1]:
            self._tell_to_leave(each)
        if newest.started >= self._rolling_since:
            self._rolling.pop(0)
        elif len(slot.children) == 1:  # there are two blocks for a slot: one that still drains has to end before
            self._start(self._rolling[0])

    def _tell_to_leave(self, child: _Child) -> None:
        if child.leaving_since is None:
            child.leaving_since = time.monotonic()
            os.kill(child.pid, LEAVE)

    def _start(self, number: int) -> None:
        slot, block = self._slots[number], self._blocks.pop(0)
        self._page.block(block).begin()
        sys.stdout.flush()
        sys.stderr.flush()
        ready_read, ready_write = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:  # no memory, or too many processes: later, perhaps
            for each in (ready_read, ready_write):
                os.close(each)
            self._blocks.append(block)
            slot.pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * slot.pause))
            slot.start_at = time.monotonic() + slot.pause
            self._log.error("a process cannot be started", slot=title_of(number), why=error.strerror)
            return
        if pid == 0:
            self._become(Inherited(number, block, ready_write, self._alive_read))
        os.close(ready_write)
        os.set_blocking(ready_read, False)
        slot.children.append(_Child(pid, number, block, ready_read, time.monotonic()))
        self._log.info("started", slot=title_of(number), pid=pid)

    def _become(self, inherited: Inherited) -> None:
        """In the child: never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # a terminal or systemd sends them to all
                signal.signal(number, signal.SIG_IGN)  # the supervisor decides, and says so by LEAVE
            signal.signal(LEAVE, lambda *_: os._exit(0))  # until it has work that is to be finished
            for each in (self._alive_write, self._wakeup_read, self._wakeup_write):
                os.close(each)
            self._page.block(inherited.block).pid = os.getpid()
            name_process(f"burgee-{title_of(inherited.slot).partition(' ')[0]}")
            self._run(inherited)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)  # not the supervisor's clean-up

    def _reap(self) -> None:
        for number, slot in self._slots.items():
            for child in list(slot.children):
                if not child.ready:
                    with contextlib.suppress(BlockingIOError):
                        child.ready = os.read(child.ready_from, 1) != b""
                        self._came_up |= {number} if child.ready else set()
                found, status = os.waitpid(child.pid, os.WNOHANG)
                if found:
                    slot.children.remove(child)
                    self._gone(number, slot, child, status)

    def _gone(self, number: int, slot: _Slot, child: _Child, status: int) -> None:
        os.close(child.ready_from)
        self._page.block(child.block).end()
        self._blocks.append(child.block)
        if child.leaving_since is not None:
            return
        if not child.ready and slot.children and self._rolling and child.started >= self._rolling_since:
            self._rolling.clear()
            self._log.error("the next process could not start: those that are there stay", slot=title_of(number))
        now = time.monotonic()
        if child.ready and now - child.started > SETTLED:
            slot.pause = 0.0
        else:
            slot.pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * slot.pause))
        slot.start_at = now + slot.pause
        why = os.waitstatus_to_exitcode(status)
        self._log.error("a process ended", slot=title_of(number), pid=child.pid, status=why)

    def _end(self) -> None:
        """Workers first, so that they answer from a live agent to the last; then the others."""
        self._before_the_end()
        for numbers in ([each for each in self._slots if each >= 0], [CONTROL], [AGENT]):
            numbers = [each for each in numbers if each in self._slots]
            children = [child for number in numbers for child in self._slots[number].children]
            for each in children:
                self._tell_to_leave(each)
            while any(self._slots[number].children for number in numbers):
                self._reap()
                for each in children:
                    late = each.leaving_since is not None and time.monotonic() - each.leaving_since > self._leave_within
                    if late and each in self._slots[each.slot].children:
                        os.kill(each.pid, signal.SIGKILL)
                self._wait(0.05)

    def _wait(self, seconds: float) -> None:
        """Until a signal or a child says something."""
        sources = select.poll()  # select.select knows no descriptor above 1023
        sources.register(self._wakeup_read, select.POLLIN)
        for slot in self._slots.values():
            for each in slot.children:
                if not each.ready:
                    sources.register(each.ready_from, select.POLLIN)
        sources.poll(seconds * 1000)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wakeup_read, 4096):
                pass
