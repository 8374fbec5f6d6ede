"""What a process says of its references, at the instants between which others must not fall."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import zmq

from distpool.errors import Failure
from distpool.scheduler.messages import Contact, Subscribed, decode
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.adopting import Adopting, _Adoption
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.shells.links import router
from distpool.scheduler.shells.peers import PeerLinks
from tests.processes.scene import wait_until

ME = Contact("me", "ipc://me", "n", 1)
OWNER, OTHER = Contact("owner", "ipc://owner", "n", 2), Contact("other", "ipc://other", "n", 3)


@pytest.fixture(autouse=True)
def _as_me(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refs, "_own_contact", lambda: ME)


def borrowed(number: int, contact: Contact) -> ObjectRef:
    ref = ObjectRef()
    ref.base, ref.number, ref.contact = "a-b", number, contact
    return ref


def told(*named: ObjectRef) -> Any:
    pending: list[ObjectRef] = []
    return refs._decode_names(ObjectRef.describe(named, pending)), pending


def test_what_becomes_ready_at_this_very_moment_is_not_taken_for_our_own() -> None:
    """Its owner is known for as long as it is pending, also to a thread that looks while it is settled."""
    ref = borrowed(1, OWNER)
    seen: list[Any] = []

    class Lock:
        """A waiter's: released in the midst of ``settle``."""

        def release(self) -> None:
            seen.append((ref.settled, ref.contact))

    ref.wakeups = [Lock()]
    ref.fulfil(0, 7)
    assert seen == [(True, OWNER)]
    assert ref.contact is None


def test_each_reference_names_whom_to_ask_for_it() -> None:
    """Two of one process, of which one is asked for elsewhere, as its owner has forgotten it; and one of ours."""
    mine, first, second = ObjectRef(), borrowed(1, OWNER), borrowed(2, OTHER)
    names, pending = told(first, second, mine)
    asked = [names.contacts[place] for place, _, _, _ in names.entries]
    assert asked == [OWNER, OTHER, ME]
    assert [names.bases[place] for place, _, _, _ in names.entries] == ["a-b", "a-b", refs.base()]
    assert names.via == ME
    assert pending == [first, second, mine]


def test_what_is_there_needs_nobody() -> None:
    ref = borrowed(1, OWNER)
    ref.fulfil(0, 7)
    names, pending = told(ref)
    assert (names.contacts, names.via, pending) == ([None], None, [])


def test_a_reference_is_settled_whatever_its_value_is() -> None:
    """A value whose references cannot be followed: whoever waits must hear of it."""
    ref = ObjectRef()
    ref.fulfil(0, b"\x05\xff\xff\xff\x00nonsense")
    assert ref.settled
    assert isinstance(ref.value, Failure)
    assert "cannot be followed" in ref.value.reason


def test_losses_are_told_while_references_arrive() -> None:
    """Another thread makes references while those of a dead owner are looked for."""
    stop = threading.Event()
    kept: list[ObjectRef] = []

    def arrive() -> None:
        number = 1000
        while not stop.is_set():
            number += 1
            with refs._lock:
                kept.append(refs._make("c-d", number))
            if len(kept) > 500:
                kept.clear()

    thread = threading.Thread(target=arrive)
    thread.start()
    try:
        for _ in range(300):
            assert refs.followed("owner") == []
    finally:
        stop.set()
        thread.join()


def test_only_the_drivers_end_ends_an_adoption() -> None:
    adopting = Adopting(SimpleNamespace())  # type: ignore[arg-type]
    adoption = adopting._asked[1] = _Adoption("driver")
    adopting.hear("another", None)
    assert not adoption.settled
    adopting.hear("driver", None)
    assert adoption.settled
    assert adoption.reason


class Owner:
    """One end of links between owners."""

    def __init__(self, context: Any, name: str, address: str) -> None:
        self.contact = Contact(name, address, "n", 1)
        self.router = router(context, address)
        self.poller = zmq.Poller()
        self.links = PeerLinks(
            context, self.poller, lambda: self.contact, self._answer, lambda _: True, lambda *_: None
        )

    def _answer(self, owner: str, frame: bytes) -> bool:
        try:
            self.router.send_multipart([f"p:{owner}".encode(), frame], zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True

    def close(self) -> None:
        self.links.close()
        self.router.close()


@pytest.fixture
def owners(tmp_path: Any) -> Any:
    context: zmq.Context[Any] = zmq.Context()
    both = [Owner(context, name, f"ipc://{tmp_path}/{name}") for name in ("first", "second")]
    yield both
    for owner in both:
        owner.close()
    context.destroy(linger=0)


def said(number: int) -> Subscribed:
    return Subscribed("a-b", [number], "me")


def test_what_two_owners_say_keeps_its_order_also_when_both_have_dialled(owners: Any) -> None:
    first, second = owners
    first.links.dial(second.contact)
    wait_until(lambda: second.router.poll(0), "the hello is there")
    second.links.inbound.add(second.router.recv().decode().removeprefix("p:"))
    second.router.recv()
    second.links.say(first.contact, said(1))
    second.links.dial(first.contact)  # to hear of its end; what is said goes on by the same link
    second.links.say(first.contact, said(2))
    link = first.links._dialled["second"][0]
    assert [decode(link.recv()).numbers for _ in range(2)] == [[1], [2]]


def test_what_was_said_before_the_end_is_read_whichever_is_seen_first(owners: Any) -> None:
    first, second = owners
    first.links.dial(second.contact)
    wait_until(lambda: second.router.poll(0), "the hello is there")
    second.links.inbound.add(second.router.recv().decode().removeprefix("p:"))
    second.router.recv()
    second.links.say(first.contact, said(1))
    link, fate = first.links._dialled["second"]
    assert link.poll(5_000)
    second.router.close()
    assert fate.poll(5_000)
    frame = first.links.read(fate)
    assert frame is not None
    assert decode(frame).numbers == [1]
    assert first.links.is_fate(fate)
