"""A process that makes Arrow arrays is small: pandas stays out, unless somebody asks for it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import pyarrow as pa
from headrace.runtime.spare_pandas import spare_pandas

for _ in range(2):
    spare_pandas()
assert pa.table({"a": pa.array(["x", None])}).num_rows == 2
assert "pandas" not in sys.modules
import pandas
assert pa.table({"a": [1, 2]}).to_pandas().shape == (2, 1)
assert pa.Table.from_pandas(pandas.DataFrame({"a": [1.0, None]}))["a"].null_count == 1
"""


def test_arrays_are_made_without_pandas_and_it_can_still_be_used() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
