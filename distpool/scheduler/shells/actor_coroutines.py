"""The coroutines of an actor's calls on one event loop: each a task, from its begin to its answer.

What begins when is its server's to say, and what is done with an answer; ``actor_loop`` has one of these on the main
thread, ``actor_loops`` one for each concurrency group. All of it but ``say`` is for the loop's own thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distpool.scheduler.shells.actor_calls import ActorExit, running
from distpool.scheduler.shells.call_parts import arguments

if TYPE_CHECKING:
    from distpool.scheduler.shells.actor_links import Call
    from distpool.scheduler.shells.actor_worker import ActorServer


class Coroutines:
    """Those that run on one loop. ``ended`` is called with each call that is over, ``leave`` where one leaves by
    ``sys.exit``."""

    def __init__(
        self, server: ActorServer, ended: Callable[[Call], None], leave: Callable[[SystemExit], None]
    ) -> None:
        self._server, self._ended, self._leave = server, ended, leave
        self.tasks: dict[int, asyncio.Task[None]] = {}  # mark -> what runs
        self.leaving = (
            False  # what is cancelled from here on is for the actor's end, and has no answer of its own
        )
        self._room: dict[int, asyncio.Event] = {}  # mark -> what a generator waits for that is too far ahead

    def start(self, loop: asyncio.AbstractEventLoop, call: Call) -> None:
        """Begin a call whose method is a coroutine, or an asynchronous generator."""
        self.tasks[call.mark] = loop.create_task(self._await(call))

    def cancel(self, mark: int) -> None:
        """Stop a call, if it still runs."""
        task: Any = self.tasks.get(mark)
        if task is not None:
            task.cancel()

    def make_room(self, mark: int) -> None:
        """Some of what a generator has yielded were read."""
        if mark in self._room:
            self._room[mark].set()

    async def _await(self, call: Call) -> None:
        running.set(call.mark)
        server = self._server
        start, failed = time.perf_counter(), False
        try:
            payload = call.payload
            method = call.method.resolved().call
            if type(payload) is list:
                value = await method(*payload)
            else:
                args, kwargs = arguments(payload)
                value = method(*args, **kwargs)
                del args, kwargs
                if hasattr(value, "__anext__"):
                    value = await self._stream(call, value)
                else:
                    value = await value
                    if type(payload) is dict:
                        value = server.parts(call, value)
            server.done(call, server.packed(call, value))
        except ActorExit:
            server.exits(call)
        except SystemExit as leaving:
            self._leave(leaving)
        except BaseException as error:
            failed = True
            if not (self.leaving and isinstance(error, asyncio.CancelledError)):
                server.failed(call, error)
        finally:
            server.note((call.name, start, time.perf_counter(), failed))
            del self.tasks[call.mark]
            self._ended(call)

    async def _stream(self, call: Call, generator: Any) -> int:
        """Send what an asynchronous generator yields, as ``streaming.stream`` does; others run meanwhile."""
        payload, server = call.payload, self._server
        if type(payload) is not dict or "g" not in payload:
            raise TypeError(
                'a method that is an asynchronous generator is called with num_returns="streaming"'
            )
        sent, wanted = 0, payload.get("w", ())
        self._room[call.mark] = room = asyncio.Event()
        try:
            while not wanted or sent <= wanted[-1]:
                while payload["g"] and server.reading.unread(call.mark, sent) >= payload["g"]:
                    room.clear()
                    await room.wait()
                try:
                    value = await generator.__anext__()
                except StopAsyncIteration:
                    return sent
                except Exception as error:
                    server.send_yielded(call, server.yielded_error(call, sent, error))
                    return sent + 1
                if not wanted or sent in wanted:
                    server.send_yielded(call, server.yielded(call, sent, value))
                sent += 1
            return sent
        finally:
            del self._room[call.mark]
            server.reading.forget(call.mark)
            await generator.aclose()


def say(loop: asyncio.AbstractEventLoop, function: Callable[[int], None], mark: int) -> None:
    """Call something about a call in its loop. On any thread."""
    try:
        loop.call_soon_threadsafe(function, mark)
    except RuntimeError:
        pass  # the loop is closed


def end_tasks(loop: asyncio.AbstractEventLoop, grace_s: float) -> None:
    """Cancel what the actor has left running in the background of a loop that stands still, and let it have its last
    word."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    try:
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=grace_s))
        loop.run_until_complete(loop.shutdown_asyncgens())
    except (SystemExit, KeyboardInterrupt):
        pass  # it is ending
