"""tips.parquet: the same rows as tips.csv with types, for data frames. It needs pyarrow, the extra `parquet`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.recording.tables import writing_failed

TEXT_COLUMNS = ("state", "name")
WHOLE_COLUMNS = ("frame",)


def check_parquet() -> None:
    """Raise MissingExtraError if pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError("Parquet", "pyarrow", "parquet")


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> None:
    """Write a table, a list for each column. None is null. Raises InputError if the disk is full."""
    check_parquet()
    import pyarrow as pa
    import pyarrow.parquet as pq

    def kind(name: str) -> Any:
        return pa.string() if name in TEXT_COLUMNS else pa.int64() if name in WHOLE_COLUMNS else pa.float64()

    table = pa.table({name: pa.array(values, kind(name)) for name, values in columns.items()})
    try:
        pq.write_table(table, path)
    except OSError as e:
        raise writing_failed(path, e, "the other results are kept") from None


def read_parquet(path: Path) -> list[dict[str, Any]]:
    """Read a table, a mapping for each row. Raises InputError if it is none."""
    check_parquet()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, pa.ArrowException) as e:
        raise InputError(f"{path} is no Parquet file: {' '.join(str(e).split())[:160]}") from None
    return rows
