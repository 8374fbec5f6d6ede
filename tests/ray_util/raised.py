"""Exceptions of all kinds, as tasks raise them, each made by a function of no arguments."""

import abc
import asyncio
import dataclasses
import json
import subprocess

from distpool import exceptions


class KeywordOnly(ValueError):
    def __init__(self, code, *, hint):
        super().__init__(f"code {code}")
        self.code = code
        self.hint = hint


class Slotted(Exception):
    __slots__ = ("place",)

    def __init__(self, place):
        self.place = place


class Silent(Exception):
    """Its constructor does not call that of Exception, and it has a text of its own."""

    def __init__(self, left, right):
        self.sides = (left, right)

    def __str__(self):
        return f"{self.sides[0]} is not {self.sides[1]}"


class NotToBeDerivedFrom(Exception):
    def __init_subclass__(cls, **options):
        raise TypeError("this is the last of its kind")


class Registered(Exception):
    kinds = ()

    def __init_subclass__(cls, *, label, **options):
        Registered.kinds += (cls,)


class Base(BaseException):
    pass


class Choosy(Exception):
    made = 0

    def __new__(cls, *args):
        Choosy.made += 1
        return super().__new__(cls, *args)


class Clashing(Exception):
    """Uses RayTaskError's own names for other things."""

    def __init__(self, reason):
        super().__init__(reason)
        self.__dict__["cause"] = "the weather"

    @property
    def function_name(self):
        return "something else"

    @property
    def reason(self):
        return self.args[0]

    def __getattr__(self, name):
        if name == "made_up":
            return 42
        raise AttributeError(name)

    def __reduce__(self):
        return Clashing, self.args


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    size: int


class Abstract(Exception, metaclass=abc.ABCMeta):
    pass


class FinalMeta(type):
    def __new__(mcs, name, bases, namespace):
        if any(isinstance(base, FinalMeta) for base in bases):
            raise TypeError(f"{bases[-1].__name__} is final")
        return super().__new__(mcs, name, bases, namespace)


class Final(Exception, metaclass=FinalMeta):
    pass


class Group(ExceptionGroup):
    def derive(self, errors):
        return Group(self.message, errors)


class Outer:
    class Inner(KeyError):
        pass


MAKERS = {
    "value": lambda: ValueError("no"),
    "two arguments": lambda: RuntimeError("a", 2),
    "no arguments": lambda: ZeroDivisionError(),
    "keyword only": lambda: KeywordOnly(7, hint="try 8"),
    "slotted": lambda: Slotted((1, 2)),
    "silent": lambda: Silent("left", "right"),
    "no subclasses": lambda: NotToBeDerivedFrom("x"),
    "registered": lambda: Registered("y"),
    "base": lambda: Base("b"),
    "choosy": lambda: Choosy("c"),
    "frozen": lambda: Frozen(3),
    "abstract": lambda: Abstract("a"),
    "nested name": lambda: Outer.Inner("k"),
    "key": lambda: KeyError("k"),
    "assertion": lambda: AssertionError("not so"),
    "not implemented": lambda: NotImplementedError(),
    "os": lambda: FileNotFoundError(2, "none such", "/file"),
    "os, two files": lambda: OSError(18, "across", "/a", None, "/b"),
    "decode": lambda: UnicodeDecodeError("utf-8", b"a\xff", 1, 2, "bad byte"),
    "encode": lambda: UnicodeEncodeError("ascii", "aé", 1, 2, "out of range"),
    "json": lambda: json.JSONDecodeError("expected", "{", 1),
    "process": lambda: subprocess.CalledProcessError(3, ["ls"], "out", "err"),
    "syntax": lambda: SyntaxError("bad", ("file.py", 3, 4, "x = = 2")),
    "import": lambda: ModuleNotFoundError("none", name="none", path="/p"),
    "name": lambda: NameError("unknown", name="unknown"),
    "attribute": lambda: AttributeError("lacks", name="lacks", obj=None),
    "stop": lambda: StopIteration(5),
    "stop async": lambda: StopAsyncIteration("s"),
    "generator exit": lambda: GeneratorExit("g"),
    "asyncio": lambda: asyncio.CancelledError("c"),
    "memory": lambda: MemoryError("m"),
    "recursion": lambda: RecursionError("deep"),
    "group": lambda: ExceptionGroup("two", [ValueError(1), KeyError("k")]),
    "own group": lambda: Group("one", [ValueError(1)]),
    "warning": lambda: DeprecationWarning("old"),
    "timed out": lambda: exceptions.GetTimeoutError("late"),
    "dead actor": lambda: exceptions.ActorDiedError("it is dead", "ab12"),
    "lost object": lambda: exceptions.ObjectLostError("ab12"),
}
