"""Proxies in tasks, user registrations, and managers that are found by their address."""

import multiprocessing.managers
import threading

import pytest

import distpool
from distpool import managers
from distpool.errors import ManagerDied
from distpool.futures import ProcessPoolExecutor
from distpool.managers import BaseManager, BaseProxy, MakeProxyType
from tests.managers.helpers import LIMIT_S, child


class Counter:
    def __init__(self, count=0):
        self.count = count

    def add(self, n=1):
        self.count += n
        return self.count

    def split(self):
        return Counter(self.count)


class CounterProxy(BaseProxy):
    _exposed_ = ("add",)

    def add(self, n=1):
        return self._callmethod("add", (n,))


class OwnManager(BaseManager):
    pass


COUNTER = Counter()
OwnManager.register("Counter", Counter, CounterProxy)
OwnManager.register("Auto", Counter, method_to_typeid={"split": "Part"})
OwnManager.register("Part", create_method=False)
OwnManager.register("get_counter", callable=lambda: COUNTER, proxytype=CounterProxy)


def use(shared, lock, n):
    with lock:
        shared["n"] = shared.get("n", 0) + n
    return n


def use_nested(boxes, n):
    boxes["lists"][0].append(n)
    return boxes["lists"][0]


def add(counter, n):
    return counter.add(n)


def make_in_worker(manager_of):
    with distpool.get_context("fork").Manager() as manager:
        shared = manager.dict(a=1)
        return shared["a"]


@pytest.mark.parametrize("key", [None, b"a key of its own"])
def test_proxies_are_arguments_of_tasks(key):
    context = distpool.get_context("fork")
    with distpool.Pool(2) as pool, managers.SyncManager(authkey=key, ctx=context) as manager:
        # Made after the pool, whose workers know nothing of it.
        shared, lock = manager.dict(), manager.Lock()
        assert pool.starmap(use, [(shared, lock, n) for n in range(20)]) == list(range(20))
        assert shared["n"] == sum(range(20))
        boxes = manager.dict(lists=manager.list([manager.list()]))
        returned = pool.apply(use_nested, (boxes, 3))
        assert (returned[:], boxes["lists"][0][:]) == ([3], [3])
        assert [pool.apply(use_nested, ({"lists": [boxes["lists"][0]]}, 4))[:]] == [[3, 4]]
        queue = manager.Queue()
        pool.map(queue.put, [1, 2, 3])
        assert sorted(queue.get() for _ in range(3)) == [1, 2, 3]


def test_proxies_are_arguments_of_an_executors_tasks():
    with (
        ProcessPoolExecutor(1) as executor,
        OwnManager(authkey=b"own", ctx=distpool.get_context("fork")) as own,
    ):
        counter, auto = own.Counter(5), own.Auto(7)
        assert [executor.submit(add, made, 1).result(LIMIT_S) for made in (counter, auto)] == [6, 8]
        assert auto.split().add(2) == 10


def test_a_worker_may_make_a_manager():
    with distpool.Pool(1) as pool:
        assert pool.apply(make_in_worker, (None,)) == 1


def test_a_managers_pool_is_distpools():
    with distpool.get_context("fork").Manager() as manager, manager.Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
        assert pool.apply_async(abs, (-3,)).get(LIMIT_S) == 3
        assert list(pool.imap(abs, [-1, -2])) == [1, 2]
        assert pool.apply(describe_process)[0] == "distpool"


def describe_process():
    import sys

    return ("distpool" if "distpool.scheduler.shells.worker" in sys.modules else "other",)


@pytest.mark.parametrize("address", [("127.0.0.1", 0), None])
def test_a_second_process_connects_by_address(address):
    with OwnManager(address=address, authkey=b"abc", ctx=distpool.get_context("fork")) as own:

        def connect(say):
            other = OwnManager(address=own.address, authkey=b"abc")
            other.connect()
            say(other.get_counter().add(4))
            wrong = OwnManager(address=own.address, authkey=b"wrong")
            try:
                wrong.connect()
            except multiprocessing.AuthenticationError:
                say("refused")

        with child(connect) as (_, hear):
            assert hear() == 4
            assert hear() == "refused"
        assert own.get_counter().add(1) == 5


def test_a_server_in_a_process_of_the_users_own():
    def serve(say):
        server = OwnManager(address=("127.0.0.1", 0), authkey=b"abc").get_server()
        say(server.address)
        server.serve_forever()

    with child(serve) as (process, hear):
        own = OwnManager(address=hear(), authkey=b"abc")
        own.connect()
        counter = own.Counter(1)
        assert counter.add(2) == 3
        process.kill()
        process.join()
        with pytest.raises(EOFError, match=r"has died|cannot be reached"):
            counter.add(1)
        with pytest.raises(ConnectionRefusedError):
            own.Counter()


def test_standard_clients_and_servers_understand_ours():
    """The protocol is the standard one: either side may be a plain Python's."""
    with distpool.get_context("fork").Manager() as ours:

        class Plain(multiprocessing.managers.BaseManager):
            pass

        Plain.register("dict", dict, multiprocessing.managers.DictProxy)
        plain = Plain(address=ours.address, authkey=ours._authkey)
        plain.connect()
        assert plain.dict({"a": 1})["a"] == 1
    with multiprocessing.get_context("fork").Manager() as standard:
        other = managers.SyncManager(address=standard.address, authkey=standard._authkey)
        other.connect()
        shared, lock = other.dict(a=1), other.Lock()
        assert (shared["a"], lock.acquire(False), lock.acquire(False)) == (1, True, False)


def test_everything_public_is_there_and_ours_where_it_should_be():
    standard = multiprocessing.managers
    public = {
        name
        for name, value in vars(standard).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == standard.__name__
    }
    lacking = public - set(vars(managers))
    assert lacking <= {"reduce_array", "rebuild_as_list", "ShareableList", "SharedMemory"}
    assert set(standard.__all__) <= set(managers.__all__)
    assert issubclass(managers.SyncManager, standard.SyncManager)
    for typeid, (_, _, _, proxytype) in managers.SyncManager._registry.items():
        assert proxytype is managers.AutoProxy or issubclass(proxytype, BaseProxy), typeid
    assert issubclass(MakeProxyType("Made", ("a", "b")), BaseProxy)


def test_big_and_odd_messages_arrive_whole():
    with distpool.get_context("fork").Manager() as manager:
        shared = manager.dict()
        for value in (b"x" * 2044, b"x" * 20_000, b"y" * 3_000_000, [b"z" * 5000] * 3, {"a": {1, 2}}, None):
            shared["v"] = value
            assert shared["v"] == value


def test_threads_share_a_proxy():
    with distpool.get_context("fork").Manager() as manager:
        shared, lock = manager.Value("i", 0), manager.RLock()

        def add():
            for _ in range(50):
                with lock, lock:
                    shared.value += 1

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
        assert shared.value == 200


def test_an_address_that_leads_nowhere_says_what_may_be_the_matter() -> None:
    """What a worker of another machine finds at the address of a socket of this one."""
    with managers.SyncManager() as manager:
        proxy = manager.dict()
        token, address = proxy._token, proxy._token.address
        token.address = f"{address}-elsewhere"
        try:
            with pytest.raises(
                ManagerDied, match=r"cannot be reached.*SyncManager\(address=\(host, port\)\)"
            ):
                proxy.__class__(token, "pickle", authkey=b"key")
        finally:
            token.address = address
