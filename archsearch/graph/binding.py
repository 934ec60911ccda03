"""Ops with their settings bound, each bound once, and their answers remembered.

Types are interned as small integers, so that type inference compares and hashes integers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archsearch.errors import RuleError
from archsearch.graph.opspec import OpRule, OpSpec
from archsearch.graph.types import ValueType

__all__ = ["Binder", "Bound", "Typing"]


class Typing:
    """What a bound op gives for certain input types.

    Args:
        outputs: the types of the outputs, interned.
        params: trained numbers of one copy.
    """

    __slots__ = ("outputs", "params", "types")

    def __init__(self, outputs: tuple[int, ...], types: tuple[ValueType, ...], params: int) -> None:
        self.outputs, self.types, self.params = outputs, types, params


class Bound:
    """An op with complete settings."""

    __slots__ = ("binder", "causal", "identifier", "memo", "rule", "settings", "spec")

    def __init__(self, binder: Binder, spec: OpSpec, settings: dict[str, Any], identifier: int) -> None:
        self.binder, self.spec, self.settings, self.identifier = binder, spec, settings, identifier
        self.rule: OpRule = spec.make(**settings)
        self.causal = self.rule.is_causal()
        self.memo: dict[tuple[int | None, ...], Typing | RuleError] = {}

    def typing(self, key: tuple[int | None, ...]) -> Typing:
        """The outputs for interned input types; raises `RuleError` where they do not fit."""
        found = self.memo.get(key)
        if found is None:
            try:
                found = self._infer(key)
            except RuleError as error:
                found = error.with_traceback(None)
            self.memo[key] = found
        if found.__class__ is not Typing:
            raise found  # type: ignore[misc]
        return found

    def _infer(self, key: tuple[int | None, ...]) -> Typing:
        types = [None if k is None else self.binder.types[k] for k in key]
        out = self.rule.infer(*types)
        outputs = out if isinstance(out, tuple) else (out,)
        for t in outputs:
            if min(t.shape, default=0) < 1:
                raise RuleError(f"op `{self.spec.name}` must give at least one feature", value=str(t))
        return Typing(tuple(self.binder.intern(t) for t in outputs), outputs, self.rule.params(*types))


class Binder:
    """Binds ops to settings; equal op and settings give one `Bound`. One for each space."""

    def __init__(self) -> None:
        self.types: list[ValueType] = []
        self._interned: dict[ValueType, int] = {}
        self._by_values: dict[tuple[Any, ...], Bound] = {}
        self._by_settings: dict[tuple[Any, ...], Bound] = {}

    def intern(self, value_type: ValueType) -> int:
        """The number of a type; equal types have equal numbers."""
        found = self._interned.get(value_type)
        if found is None:
            found = self._interned[value_type] = len(self.types)
            self.types.append(value_type)
        return found

    def bind(self, spec: OpSpec, values: Mapping[str, Any]) -> Bound:
        """The op with `values`, completed and checked; raises `RuleError`."""
        key = (spec.name, *((k, type(v), v) for k, v in values.items()))
        found = self._by_values.get(key)
        if found is None:
            settings = spec.complete(values)
            full = (spec.name, *((k, type(v), v) for k, v in settings.items()))
            found = self._by_settings.get(full)
            if found is None:
                found = self._by_settings[full] = Bound(self, spec, settings, len(self._by_settings))
            self._by_values[key] = found
        return found
