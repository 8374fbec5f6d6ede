"""Classes of ``__main__``: one class per process, the driver's own on the way home, and every kind of class."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from distpool.scheduler.serialize import Exporter, SerializationError, loads


def echo(x: Any) -> Any:
    return x


def describe(x: Any) -> Any:
    return type(x).__name__, type(x).__module__, type(x).__qualname__


def test_an_instance_comes_home_as_the_drivers_own_class(worker: Any, main: Any) -> None:
    module = main("""
        class Foo:
            def __init__(self, n): self.n = n
            def __eq__(self, other): return type(other) is Foo and other.n == self.n
    """)
    exporter = Exporter()
    foo = worker.call(exporter, echo, module.Foo(3))
    assert type(foo) is module.Foo
    assert foo == module.Foo(3)
    assert worker.call(exporter, echo, [module.Foo, module.Foo(1)])[0] is module.Foo


def test_also_a_class_that_only_a_functions_globals_name(worker: Any, main: Any) -> None:
    module = main("""
        class Made:
            pass
        def make():
            return Made()
    """)
    assert type(worker.call(Exporter(), module.make)) is module.Made


def test_all_instances_in_the_worker_share_one_class(worker: Any, main: Any) -> None:
    module = main("""
        class Foo: pass
        kept = []
        def keep(foo): kept.append(foo)
        def same(): return len({type(foo) for foo in kept} | {Foo})
        def set_attribute(): Foo.changed = True
        def get_attribute(foo): return foo.changed
    """)
    exporter = Exporter()
    for _ in range(3):
        worker.call(exporter, module.keep, module.Foo())
    worker.call(Exporter(), module.keep, module.Foo())
    assert worker.call(exporter, module.same) == 1
    worker.call(exporter, module.set_attribute)
    assert worker.call(exporter, module.get_attribute, module.Foo()) is True


def test_plain_pickle_inside_a_task_works(worker: Any, main: Any) -> None:
    module = main("""
        import pickle
        class Foo:
            class Inner:
                def method(self): return 5
        def function(): return 7
        def task(foo, inner):
            again, call, deep = pickle.loads(pickle.dumps((foo, function, inner)))
            return type(again) is Foo, call(), type(deep) is Foo.Inner, deep.method()
        def main_is_there(foo):
            import __main__
            return __main__.Foo is type(foo)
    """)
    exporter = Exporter()
    assert worker.call(exporter, module.task, module.Foo(), module.Foo.Inner()) == (True, 7, True, 5)
    assert worker.call(exporter, module.main_is_there, module.Foo()) is True


KINDS = """
    import abc, collections, dataclasses, enum, functools, typing
    from typing import Generic, NamedTuple, NewType, Protocol, TypeVar

    class Base:
        registry = []
        def __init_subclass__(cls, *, key, **kwargs):
            super().__init_subclass__(**kwargs)
            cls.key = key
            Base.registry.append(cls.__name__)
        def hello(self): return "base"

    class Child(Base, key=7):
        def hello(self): return "child+" + super().hello()
        def me(self): return __class__.__name__
        @property
        def prop(self): return 1
        @functools.cached_property
        def cached(self): return [2]
        def __private(self): return 3
        def private(self): return self.__private()

    @dataclasses.dataclass
    class Point:
        x: int
        y: list = dataclasses.field(default_factory=list)
        z: "int" = 5

    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Frozen:
        a: int
        b: int = 2

    class Slotted:
        __slots__ = ("a", "b", "__weakref__")
        def __init__(self): self.a = 1

    class Color(enum.Enum):
        RED = 1
        GREEN = 2
        ALSO_RED = 1
        def describe(self): return self.name.lower()
        @classmethod
        def default(cls): return cls.RED

    class Planet(enum.Enum):
        EARTH = (1.0, 2.0)
        MARS = (3.0, 4.0)
        def __init__(self, mass, radius):
            self.mass = mass
            self.ratio = mass / radius

    class Level(enum.IntEnum):
        LOW = enum.auto()
        HIGH = enum.auto()

    class Access(enum.Flag):
        READ = enum.auto()
        WRITE = enum.auto()

    class Word(str, enum.Enum):
        A = "a"

    Tuple = collections.namedtuple("Tuple", "a b", defaults=[9])

    class Typed(NamedTuple):
        a: int
        b: str = "x"
        def both(self): return self.a, self.b

    class Shape(abc.ABC):
        @abc.abstractmethod
        def area(self): ...

    class Square(Shape):
        def area(self): return 4

    @Shape.register
    class Other: pass

    T = TypeVar("T")
    UserId = NewType("UserId", int)

    class Box(Generic[T]):
        def __init__(self, item: T): self.item = item

    class IntBox(Box[int]): pass

    class HasName(Protocol):
        name: str

    class Meta(type):
        made = []
        def __new__(mcs, name, bases, ns, *, tag="none"):
            made = super().__new__(mcs, name, bases, ns)
            mcs.made.append(name)
            made.tag = tag
            return made
        def __init__(cls, name, bases, ns, *, tag="none"):
            super().__init__(name, bases, ns)
        def shout(cls): return cls.__name__.upper()

    class WithMeta(metaclass=Meta, tag="yes"): pass

    class Sentinel:
        def __reduce__(self): return "MISSING"
    MISSING = Sentinel()

    class Node:
        "documented"
        def __init__(self): self.me = self
    Node.example = Node()

    class Descriptor:
        def __set_name__(self, owner, name): self.name = name
        def __get__(self, obj, owner): return self.name
    class Described:
        field = Descriptor()
"""


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("Child().hello(), Child().me(), Child.key, Base.registry", ("child+base", "Child", 7, ["Child"])),
        ("Child().prop, Child().cached, Child().private()", (1, [2], 3)),
        ("Point(1), Point(1) == Point(1, []), [f.name for f in dataclasses.fields(Point)]", None),
        ("dataclasses.replace(Point(1), z=6), dataclasses.asdict(Point(3))", None),
        ("Frozen(a=1), Frozen.__slots__, hash(Frozen(a=1)) == hash(Frozen(a=1))", None),
        ("dataclasses.fields(Point)[0].default is dataclasses.MISSING", True),
        ("hasattr(Slotted(), '__dict__')", False),
        ("Color.RED, Color.ALSO_RED, Color(2), Color['GREEN'].describe(), Color.default()", None),
        ("list(Color)", None),
        ("Planet.EARTH.ratio, Planet((3.0, 4.0)).mass, Planet.MARS", None),
        ("Level.HIGH + 1, list(Level), Level.LOW < Level.HIGH", None),
        ("Access.READ | Access.WRITE, (Access.READ | Access.WRITE) & Access.READ, ~Access.READ", None),
        ("Word.A + 'b', Word('a')", None),
        ("Tuple(1), Tuple(1)._replace(b=3), Tuple._fields", None),
        ("Typed(1), Typed(1).both(), Typed.__annotations__", None),
        ("Square().area(), issubclass(Other, Shape), isinstance(Other(), Shape)", None),
        ("Box[int](3).item, IntBox(2).item, Box.__parameters__ == (T,)", (3, 2, True)),
        ("Box[T], Box[int]", None),
        ("T is typing.get_args(Box.__orig_bases__[0])[0]", True),
        ("UserId(3), UserId", None),
        ("HasName.__name__, HasName._is_protocol", ("HasName", True)),
        ("WithMeta.tag, WithMeta.shout(), Meta.made", ("yes", "WITHMETA", ["WithMeta"])),
        ("MISSING", None),
        ("Node.__doc__, type(Node.example) is Node, Node.example.me is Node.example", None),
        ("Described.field, Described().field", ("field", "field")),
    ],
)
def test_every_kind_of_class(worker: Any, main: Any, there: str, here: Any) -> None:
    module = main(KINDS + f"\n    def task(): return {there}\n")
    expected = eval(f"({there})", module.__dict__) if here is None else here
    result = worker.call(Exporter(), module.task)
    if isinstance(expected, tuple) and not hasattr(expected, "_fields"):
        assert list(map(type, result)) == list(map(type, expected))
    if not any(type(each).__name__ in ("Point", "Frozen") for each in (expected, *_items(expected))):
        assert repr(result) == repr(expected)
    assert result == expected


def _items(x: Any) -> Any:
    return x if isinstance(x, (tuple, list)) else ()


@pytest.mark.parametrize(
    "make",
    [
        "Child()", "Point(1, [2])", "Frozen(a=4)", "Slotted()", "Color.GREEN", "Planet.EARTH", "Level.HIGH",
        "Access.READ | Access.WRITE", "Word.A", "Tuple(1, 2)", "Typed(3)", "Square()", "Box(1)", "IntBox(1)",
        "WithMeta()", "MISSING", "Node()", "T", "UserId", "Meta", "Shape", "Access", "Typed", "Box[int]", "Described()",
    ],
)  # fmt: skip
def test_there_and_back_keeps_the_type(worker: Any, main: Any, make: str) -> None:
    module = main(KINDS)
    thing = eval(make, module.__dict__)
    exporter = Exporter()
    back = worker.call(exporter, echo, thing)
    assert type(back) is type(thing)
    assert worker.call(exporter, describe, thing) == describe(thing)
    if (
        make in ("Color.GREEN", "MISSING", "T", "UserId", "Meta", "Shape", "Access", "Typed")
        or "Planet" in make
    ):
        assert back is thing


def test_abstract_classes_stay_abstract(worker: Any, main: Any) -> None:
    module = main(KINDS)
    with pytest.raises(TypeError, match="abstract"):
        worker.call(Exporter(), lambda cls: cls(), module.Shape)


def test_classes_that_know_each_other(worker: Any, main: Any) -> None:
    module = main("""
        class Tree:
            kinds = {}
            def leaf(self): return Leaf()
        class Leaf(Tree):
            def tree(self): return Tree()
        Tree.kinds["leaf"] = Leaf
        def task():
            return type(Tree().leaf().tree()) is Tree, Tree.kinds["leaf"] is Leaf, Leaf.__mro__[1] is Tree
    """)
    exporter = Exporter()
    assert worker.call(exporter, module.task) == (True, True, True)
    leaf = worker.call(Exporter(), lambda leaf: leaf.tree().leaf(), module.Leaf())
    assert type(leaf) is module.Leaf


def test_a_local_class_and_its_instances(worker: Any, main: Any) -> None:
    main("")
    limit = 10

    class Local:
        def over(self, n: int) -> bool:
            return n > limit

    exporter = Exporter()
    assert worker.call(exporter, lambda local: local.over(11), Local()) is True
    assert type(worker.call(exporter, echo, Local())) is Local


def test_a_class_made_in_the_worker_comes_by_value_and_stays_one(worker: Any, main: Any) -> None:
    module = main("""
        def make():
            class New:
                def hello(self): return "new"
            return New, New()
        def check(cls, obj):
            return type(obj) is cls
    """)
    exporter = Exporter()
    cls, obj = worker.call(exporter, module.make)
    assert type(obj) is cls
    assert obj.hello() == "new"
    assert worker.call(exporter, module.check, cls, obj) is True
    assert worker.call(exporter, echo, cls) is cls


def test_a_returned_closure_does_not_change_the_drivers_globals(worker: Any, main: Any) -> None:
    module = main("""
        setting = "driver"
        def task():
            global setting, fresh
            setting, fresh = "worker", "only there"
            return lambda: (setting, fresh)
    """)
    returned = worker.call(Exporter(), module.task)
    assert module.setting == "driver"
    assert returned() == ("driver", "only there")


def test_a_redefined_class_replaces_the_old_under_its_name(worker: Any, main: Any) -> None:
    module = main("class Foo: version = 1")
    exporter = Exporter(snapshot=True)
    old = module.Foo
    assert worker.call(exporter, lambda foo: foo.version, old()) == 1
    exec("class Foo: version = 2", module.__dict__)
    version = worker.call(
        exporter, lambda foo: (foo.version, __import__("__main__").Foo.version), module.Foo()
    )
    assert version == (2, 2)
    assert worker.call(exporter, lambda foo: foo.version, old()) == 1


def test_a_dropped_class_gives_its_memory_back_and_a_clear_error() -> None:
    exporter = Exporter()

    def make() -> tuple[Any, bytes]:
        class Gone:
            pass

        return weakref.ref(Gone), exporter.dumps(Gone(), to=1) and _reference_to(Gone)

    def _reference_to(cls: type) -> bytes:
        from distpool.scheduler.serialize import process_token

        return exporter.dumps(cls, to=process_token())

    alive, reference = make()
    assert loads(reference) is alive()
    exporter._units.definitions.clear()
    exporter._units.headers.clear()
    gc.collect()
    assert alive() is None
    with pytest.raises(SerializationError, match="keep a reference"):
        loads(reference)


def test_a_class_travels_once_per_pickle_and_is_pickled_once(main: Any) -> None:
    module = main("class Foo:\n    pass")
    exporter = Exporter()
    one, many = exporter.dumps(module.Foo()), exporter.dumps([module.Foo() for _ in range(100)])
    assert len(many) < len(one) + 100 * 20
    assert exporter.dumps(module.Foo()) == one


def test_multiple_bases_slots_and_weird_layouts(worker: Any, main: Any) -> None:
    module = main("""
        class Mixin:
            __slots__ = ()
            def __init_subclass__(cls): cls.hooked = getattr(cls, "hooked", 0) + 1
        class MyDict(Mixin, dict):
            pass
        class MyInt(int):
            def __new__(cls, n): return super().__new__(cls, n)
        class Error(Mixin, ValueError):
            pass
        def task():
            return MyDict(a=1), MyDict.hooked, MyInt(3) + 1, Error("x").args, Error.hooked
    """)
    result = worker.call(Exporter(), module.task)
    assert result == ({"a": 1}, 1, 4, ("x",), 1)
    assert type(result[0]) is module.MyDict
