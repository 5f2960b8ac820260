"""Records that are made by the thousand a second."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """A dataclass that the type checker keeps anybody from changing.

    Checked at run time too (`frozen=True`), making one takes three times as long. It has no hash.
    """
    return dataclass(slots=True)(cls)
