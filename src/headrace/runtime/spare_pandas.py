"""Arrow without pandas, which pyarrow imports, where it is installed, with the first array that it makes of values."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

import pyarrow as pa


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == "pandas":
            raise ImportError("pandas is not needed here")


def spare_pandas() -> None:
    """Keep pyarrow from importing pandas: a second and 60 MB of each process, in which nobody has values of pandas.

    Who imports pandas in this process, before or after, has it as ever. Safe to repeat.
    """
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])  # looks for pandas once and for all
    finally:
        sys.meta_path.remove(finder)
