"""JSON values of every kind, honest and hostile, and ways to damage an honest one."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

MAX_SAFE = 2**53

texts = st.text(max_size=12)  # hypothesis leaves lone surrogates out
odd_texts = st.one_of(texts, st.text(alphabet='\x00\x1f\x7f"\\/\ud800\udc00\ufffd\uffff\U0001f600a', max_size=6))
numbers = st.one_of(
    st.integers(-MAX_SAFE, MAX_SAFE),
    st.floats(allow_nan=False, allow_infinity=False),
)
scalars = st.one_of(texts, st.booleans(), numbers)
hostile_scalars = st.one_of(
    st.none(), odd_texts, st.booleans(), st.integers(), st.floats(), st.sampled_from(["r", "sig", "or", "A" * 44])
)

hashable_values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4), st.dictionaries(texts, inner, min_size=1, max_size=4)
    ),
    max_leaves=12,
)
hostile_values = st.recursive(
    hostile_scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(odd_texts, inner, max_size=4)),
    max_leaves=12,
)


def damaged(value: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for copies of a JSON value in which one to three places were changed, removed or added."""
    return st.lists(
        st.tuples(st.integers(0, 200), hostile_values, st.sampled_from("crak")), min_size=1, max_size=3
    ).map(lambda changes: _apply(value, changes))


def _apply(value: Any, changes: list[tuple[int, Any, str]]) -> Any:
    holder = [copy.deepcopy(value)]
    for place, replacement, kind in changes:
        container, key = _places(holder)[place % len(_places(holder))]
        target = container[key]
        if kind == "r" and container is not holder:
            del container[key]
        elif kind == "a" and isinstance(target, list):
            target.append(replacement)
        elif kind == "k" and isinstance(target, dict):
            target[str(place)] = replacement
        else:
            container[key] = replacement
    return holder[0]


def _places(container: Any) -> list[tuple[Any, Any]]:
    keys = range(len(container)) if isinstance(container, list) else list(container)
    found = []
    for key in keys:
        found.append((container, key))
        if isinstance(container[key], list | dict):
            found += _places(container[key])
    return found
