"""Programs that do what a recorder might not expect, by name: each defines `f()`."""

# ruff: noqa: E501 (programs on one line)

PROGRAMS = {
    "atoms": """
        def f():
            x = 0; x = 1; x = True; x = 1.0; x = -0.0; x = 0.0; x = float("nan"); x = float("-inf")
            x = 10 ** 29
            x = 10 ** 31
            x = 2 ** 128
            x = -(2 ** 127)
            x = 10 ** 300
            x = 10 ** 3999
            x = 10 ** 4200
            x = 2 ** 20000
            x = 2 ** 62
            x = -2 ** 63
            x = 2 ** 30 - 1
            x = -2 ** 30
            x = 2 ** 60
            x = 1e16
            x = 1e-7
            x = 123456789.123
            x = 1j
            x = -0.0j
            x = ...
            x = NotImplemented
            x = None
            x = range(3)
            x = range(1, 9, 2)
            x = range(10 ** 5000)
            x = [range(10 ** 5000), 1]
            x = b""
            x = b"it's"
            x = b"\\x00\\xff" * 10000
            return x
        """,
    "strings": r"""
        def f():
            x = ""
            x = "a'b"
            x = 'a"b'
            x = "a'b\"c"
            x = "\\ \t \n \r \x00 \x1e \x1f \x7f"
            x = "é ß 中 \u2028 \xa0 \U0001f600 \ud800 \x85"
            x = "é'"
            x = "\ud800"
            x = "x" * 8192
            x = "x" * 8193
            x = "é" * 9000
            x = ["y" * 5000, "z" * 5000, "w"]
            x = ("'" * 3000, '"' * 3000)
            x = {"k" * 9000: "v" * 9000}
            return x
        """,
    "containers": """
        def f():
            x = []
            x = ()
            x = {}
            x = set()
            x = frozenset()
            x = (1,)
            x = ((),)
            x = ([],)
            x = (set(),)
            x = {3, 1, 2}
            x.add(True)
            x = {"b", "a", 1, None}
            x = frozenset({("a", 1), ("b", 2)})
            x = {frozenset({1}), frozenset()}
            x = {1: [2, {3: (4, {5})}], "k": None, (1, "a"): 1.5}
            x[1][1][3] = 7
            x[1].append([])
            x[1][2].append(x[1])
            x["self"] = x
            y = [[0] * 5 for _ in range(5)]
            y[2][3] = 1
            y[2][3] = 1.0
            y[2][3] = True
            y[4] = y[0]
            y.append(y)
            y[0][0] = (y,)
            del y[5]
            z = [1000 + i for i in range(5)]
            z[2] = 1000 + int("2")
            z[2] = "1002"
            del z[0]
            z.insert(0, None)
            z.clear()
            return x, z
        """,
    "budgets": """
        def f():
            x = list(range(3000))
            x[2999] = -1
            x[5] = -1
            x.append(1)
            x = [list(range(100)) for _ in range(100)]
            x[0][0] = "a"
            x[99][99] = "b"
            x[50].append(1)
            x = {i: i for i in range(1100)}
            x[5] = 6
            x[1099] = 6
            x = {i: [i] for i in range(900)}
            x[899].append(1)
            x = {i: str(i) * 20 for i in range(900)}
            x[899] = ""
            x = set(range(5000))
            x.discard(17)
            x = {str(i) for i in range(3000)}
            x = {(i, i) for i in range(900)}
            x = [{i, str(i)} for i in range(500)]
            x[400].add(None)
            x = [1.5] * 2048
            x = [1.5] * 2047
            x = ["é" * 10] * 700
            x[600] = "f"
            x = [2 ** 200] * 100
            x = [2 ** 14000, 1]
            x = [10 ** 4299, 1]
            x = [10 ** 4300, 1]
            x = [1, [10 ** 3995, [10 ** 4050]]]
            x = [(2 ** 200,)] * 120
            x = tuple(range(1023)) + (1,)
            x = ("a" * 8188,)
            x = ("a" * 8189,)
            x = ["a" * 8185, ""]
            x = [["a" * 8180, "bbb"], "c"]
            x = []
            for i in range(30):
                x = [x]
            x[0][0].append(1)
            y = x
            while y:
                y = y[0]
            y.append(2)
            return len(x)
        """,
    "shared": """
        def f():
            s = [1]
            for i in range(22): s = [s, s]
            s[0] = 1
            s = []
            for i in range(60): s = [s, s]
            s[0] = 3
            return s
        """,
    "grown": """
        def f():
            x = []
            for i in range(60):
                x.append(i * 37)
            x.append("a")
            x.append([])
            x[61].append(1)
            x.append("b]")
            x.extend(range(1000))
            x.extend(["z" * 100] * 50)
            x.append(("a", {1: 2}))
            y = [0]
            y += [(i,) * 80 for i in range(30)]
            return x
        """,
    "deletions": """
        def f(a=1, *b, **c):
            x = 1
            y = 2
            del x
            x = y; del y; y = 3
            del a, b
            a = 5
            try:
                raise ValueError(x)
            except ValueError as e:
                z = e
            del z
            for i in []: pass
            with open("/dev/null") as i: del x
            return a
        """,
    "cells": """
        def f(n=3):
            total = 0
            def g():
                nonlocal total
                total += n
                return g
            g()
            def h(k):
                def i(): return k + j
                j = 4
                k += 1
                x = i()
                del j
                return x
            h(n)
            del n
            fs = [lambda: v for v in range(3)]
            return total, [u() for u in fs]
        """,
    "classes": """
        import enum, dataclasses, collections
        def f():
            class A:
                x = 1
                del x
                y = [i for i in range(2)]
                y.append(5)
                for j in range(2):
                    x = j
                def __init__(self, v):
                    self.v = v
                    super().__init__()
                    z = __class__
                class B:
                    k = 1
                exec("dyn = 7")
                locals()["not a name"] = 3
            class C(enum.Enum):
                R = 1
                G = 2
            @dataclasses.dataclass
            class D:
                a: int
                b: list = dataclasses.field(default_factory=list)
            P = collections.namedtuple("P", "l r")
            a = A(3)
            a.v = [a]
            d = D(1)
            d.b.append(C.R)
            p = P(1, [d])
            q = [a, {"k": a}, (p, {C.G})]
            q[0].v.append(9)
            return q
        """,
    "namespace_changes": """
        def f():
            class A:
                x = [1]; y = 2; z = 3
                del x; y = [5]
                y.append(6)
                x = 7; del z; y = 8
                del y; y = 9; w = [x]
                del w; w = [x]
                w.append(y)
                for i in range(2): del x; x = i; w.append(i)
                def g(self): return self
                class B: k = int; j = B0 = g0 = None
                g.__qualname__ = "renamed"
                g.__qualname__ = "odd\\x1e é"
                B.__qualname__ = "other"
                B.__module__ = "elsewhere"
                B.__module__ = 5
                import math
                math.__name__ = "it's"
                math.__name__ = "math"
                l = [g, B, math, (g, {B: g})]
                l[0] = B
                h = g
                del g
            return A
        """,
    "objects": """
        import re, math, collections, datetime, fractions, decimal, functools
        class Loud:
            __slots__ = ("a",)
            def __eq__(self, o): raise AssertionError
            def __hash__(self): return 1
            def __repr__(self): return "Loud!"
            def __getattribute__(self, n): raise AssertionError
        class M(type):
            def __hash__(cls): raise AssertionError
            def __eq__(cls, o): raise AssertionError
            def __repr__(cls): raise AssertionError
        class O(metaclass=M): pass
        class L(list):
            def __len__(self): raise AssertionError
            def __iter__(self): raise AssertionError
        def f():
            x = Loud()
            x = [Loud()]
            x = {Loud(): 1}
            x = O()
            x = [O, M]
            x = L([1, 2])
            x.append(x)
            x = [L([3])]
            x = object()
            y = [object(), x, object()]
            x = collections.Counter("abca")
            x = collections.defaultdict(list, {1: [2]})
            x[1].append(x)
            x = collections.deque([1, 2], 3)
            x = collections.OrderedDict(a=[1])
            x = math
            x = [math, len, [].append, f, int, Loud, re.compile("a"), datetime.date(2020, 1, 2)]
            x = (fractions.Fraction(1, 3), decimal.Decimal("1.5"))
            x = {1: 2}.items()
            x = iter([1])
            x = bytearray(b"abc")
            x = memoryview(b"abc")
            x = slice(1, [2])
            x = type("odd\\x1ename", (), {})()
            x = [x, {frozenset({x})}]
            x = {"a", x[0]}
            return y
        """,
    "generators": """
        def g(n):
            try:
                for i in range(n):
                    x = yield i
                    try: yield [x]
                    except KeyError as e: y = e
            finally:
                z = 1
        def h():
            r = yield from g(2)
            return r
        def f():
            a = g(3)
            next(a); a.send(5); a.throw(KeyError("k"))
            a.close()
            b = list(h())
            c = sum(i for i in range(3) if i)
            d = {k: v for k, v in zip("ab", range(2))}
            for e in g(1): del e
            try: next(g(0))
            except StopIteration: pass
            return b, c, d
        """,
    "async": """
        import asyncio
        async def g(x):
            await asyncio.sleep(0)
            return x
        async def gen():
            for i in range(2):
                yield i
        async def w(n, out):
            for i in range(2):
                out.append((n, i))
                await asyncio.sleep(0)
        async def main():
            a = [await g(i) for i in range(2)]
            b = [i async for i in gen()]
            out = []
            await asyncio.gather(w(1, out), w(2, out))
            i = 5
            c = [i async for i in gen() if i]
            return a, b, out, c
        def f():
            return asyncio.run(main())
        """,
    "exceptions": """
        class E(Exception):
            def __init__(self, *a): self.a = a
        def g(n):
            if n: return g(n - 1)
            raise E(n, [n]) from ValueError(1)
        def f():
            try:
                g(3)
            except* E as e:
                x = e
            try:
                try: 1 / 0
                finally: y = 1
            except ZeroDivisionError: z = 2
            def k():
                with open("/nonexistent"): pass
            try: k()
            except OSError as o: m = str(o)
            raise E("end")
        """,
    "memory": "def f():\n    x = 1\n    raise MemoryError('m')\n",
    "exits": "import sys\ndef f():\n    x = [1]\n    sys.exit(3)\n",
    "deep": "def g(n):\n    x = [n]\n    return g(n + 1)\ndef f():\n    return g(0)\n",
    "endless": "def f():\n    i = 0\n    while True:\n        i += 1\n",
    "prints": """
        def f():
            for i in range(3):
                print(i, "é")
            return print
        """,
    "exec": """
        def f():
            exec("y = 1")
            z = eval("[i for i in range(2)]")
            code = compile("a = 1\\nb = [a]\\nb.append(2)\\ndel a\\nc = lambda: b\\nc()", "<program>", "exec")
            ns = {"q": 5, "not a name": 1}
            exec(code, ns)
            locals()["zz"] = 3
            x = 1
            return sorted(k for k in ns if k != "__builtins__")
        """,
    "namespaces": """
        class Odd(dict):
            def __getitem__(self, k): return super().__getitem__(k)
        class Meta(type):
            @classmethod
            def __prepare__(cls, *a): return Odd()
        def f():
            class A(metaclass=Meta):
                x = 1
                y = 2
            return A.x
        """,
    "settrace": """
        import sys
        OLD = []
        def g():
            x = 1
            return x
        def f():
            OLD.append(sys.gettrace())
            a = g()
            sys.settrace(None)
            b = g()
            sys.settrace(OLD[0])
            c = g()
            d = 2
            return c
        """,
    "settrace_none": "import sys\ndef f():\n    x = 1\n    sys.settrace(None)\n    y = 2\n    return y\n",
    "settrace_other": """
        import sys
        def f():
            x = 1
            sys.settrace(lambda *a: None)
            y = 2
            return y
        """,
    "f_trace": """
        import sys
        def g():
            x = 1
            sys._getframe().f_trace = None
            y = 2
            return y
        def f():
            a = g()
            sys._getframe().f_trace_lines = False
            b = g()
            sys._getframe().f_trace_lines = True
            return a
        """,
    "frame_writes": """
        import sys
        def g():
            sys._getframe(1).f_locals["x"] = 99
        def f():
            x = 1
            g()
            y = x
            return y
        """,
    "threads": """
        import threading
        def g(n, out):
            for i in range(n):
                x = [i]
            out.append(x)
        def f():
            out = []
            for t in [threading.Thread(target=g, args=(3, out))]: t.start(), t.join(); del t
            return out
        """,
    "weakrefs": """
        import weakref, gc
        class A: pass
        def f():
            seen = []
            a = A()
            r = weakref.ref(a, lambda _: seen.append(1))
            b = [a]
            a = None
            b.clear()
            x = object()
            return seen
        """,
    "multi": """
        def g(*a): return a
        def f():
            x = g(
                1,
                g(
                  2),
            )
            for i in (1,
                      2):
                y = [
                    i,
                    x]
            while (i <
                   4): i += 1
            if (x and
                y): z = (
                    1)
            z = [
                g(q)
                for q in range(2)
                if q
            ]
            match x:
                case [1, *_]:
                    z = {
                        w: w for w in range(2)}
            w = [p for p in range(3)]; p = 1; q = [p for p in range(2)]
            return (lambda a,
                    b: a +
                    b)(1, 2)
        """,
    "sorting": """
        def f():
            x = [3, 1, 2]
            def key(v):
                seen = list(x)
                return -v
            x.sort(key=key)
            y = sorted(x, key=lambda v: (v,
                v))
            return y
        """,
    "hidden": """
        async def g(x): return x
        async def h():
            import asyncio
            for i in range(2):
                await asyncio.sleep(0)
                yield i
        async def f():
            a = [await g(k) async for k in h()]
            k = 1
            b = {k: v async for v in h()}
            return a, b
        """,
}
