"""Every field of the configuration: its type, unit, default, meaning, and what it changes.

Meanings are the docstrings below the fields; what a field changes is found by changing it and
looking at the identities of all stages. So nothing here repeats what is said elsewhere.
"""

import ast
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from flows.config import PipelineConfig, closest

UNITS = {
    "_s": "seconds",
    "_minutes": "minutes",
    "_bytes": "bytes",
    "_steps": "steps",
    "_interval": "steps",
    "batch_size": "sequences",
    "valid_batches": "batches",
    "context_length": "tokens",
    "vocab_size": "tokens",
    "max_new_tokens": "tokens",
}
"""Units by the ending of a field's name."""


SENTENCE_END = re.compile(r"(?<=[^l]\.) (?=[A-Z])")
"""A full stop before a capital, not that of "et al."."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One field of the configuration."""

    section: str
    name: str
    type: str
    """Python's type, or the values that are allowed."""
    default: Any
    meaning: str
    """The docstring below the field, in one line."""

    @property
    def key(self) -> str:
        """What `--set` wants, such as `model.d_model`."""
        return f"{self.section}.{self.name}"

    @property
    def unit(self) -> str:
        """The unit of a number; "" where it has none, or the name does not tell."""
        ending = next((ending for ending in UNITS if self.name.endswith(ending)), "")
        return UNITS.get(ending, "")

    @property
    def summary(self) -> str:
        """The first sentence of the meaning."""
        return SENTENCE_END.split(self.meaning, maxsplit=1)[0]


def all_fields() -> list[Field]:
    """Return every field, in the order of the sections."""
    return list(_walk(PipelineConfig()))


def find_fields(name: str) -> list[Field]:
    """Return the fields that a user means: one by its key or its name, or those of a section.

    Raises:
        ValueError: There is none of this name; the message names the nearest.
    """
    fields = all_fields()
    found = [field for field in fields if name in (field.key, field.section, field.name)]
    if not found:
        names = [field.key for field in fields] + [field.name for field in fields]
        hint = f"did you mean {close}?" if (close := closest(name, names)) else "owt config has all"
        raise ValueError(f"no field {name!r}; {hint}")
    return found


def value_of(config: PipelineConfig, field: Field) -> Any:
    """Return the value that a configuration has in a field."""
    return getattr(getattr(config, field.section), field.name)


def _walk(config: PipelineConfig) -> Iterator[Field]:
    for section in dataclasses.fields(config):
        part = getattr(config, section.name)
        meanings = _meanings(type(part))
        hints = typing.get_type_hints(type(part))
        for item in dataclasses.fields(part):
            yield Field(
                section=section.name,
                name=item.name,
                type=_type_name(hints[item.name]),
                default=getattr(part, item.name),
                meaning=meanings[item.name],
            )


def _meanings(cls: type) -> dict[str, str]:
    """Return the docstrings below the fields of a dataclass and of those that it extends."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        tree = ast.parse(inspect.getsource(inspect.getmodule(base) or base))
        (definition,) = (
            node
            for node in tree.body
            if isinstance(node, ast.ClassDef) and node.name == base.__name__
        )
        for field, text in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                assert isinstance(field.target, ast.Name)
                found[field.target.id] = " ".join(ast.literal_eval(text.value).split())
    return found


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " | ".join(map(str, typing.get_args(hint)))
    if isinstance(hint, types.GenericAlias):
        return str(hint)
    return str(hint.__name__)
