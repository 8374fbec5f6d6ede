"""Files that are broken, or that do not go together: the error says which, and of which column."""

import pandas
import pyarrow
import pyarrow.parquet
import pytest

import distpool.dataframe as pd


def write(folder, **tables):
    for name, table in tables.items():
        pyarrow.parquet.write_table(pyarrow.table(table), folder / f"{name}.parquet")


@pytest.mark.parametrize("half", [b"", b"PAR1", None])
def test_a_file_that_is_half_written_is_named(tmp_path, half):
    write(tmp_path, a={"x": [1, 2]}, b={"x": [3, 4]})
    whole = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[: len(whole) // 2] if half is None else half)
    with pytest.raises(pyarrow.ArrowInvalid):
        pandas.read_parquet(tmp_path)
    with pytest.raises(pyarrow.ArrowInvalid, match=r"b\.parquet: "):
        pd.read_parquet(tmp_path)


def test_a_column_that_differs_between_files_is_named(tmp_path):
    write(tmp_path, a={"x": [1, 2], "y": [1, 2]}, b={"x": [1, 2], "y": ["p", "q"]})
    with pytest.raises(pyarrow.ArrowInvalid):
        pandas.read_parquet(tmp_path)
    with pytest.raises(pyarrow.ArrowInvalid) as caught:
        pd.read_parquet(tmp_path)
    (note,) = caught.value.__notes__
    assert note.startswith("column 'y' differs between files: int64 in ")
    assert note.endswith(f"string in {tmp_path / 'b.parquet'}")


def test_files_that_pandas_can_put_together_are_read_as_pandas_does(tmp_path):
    write(tmp_path, a={"x": [1, 2], "y": [1, 2]}, b={"x": [3]})
    pandas.testing.assert_frame_equal(pd.read_parquet(tmp_path), pandas.read_parquet(tmp_path))


def test_folders_that_say_the_values_of_a_column(tmp_path):
    frame = pandas.DataFrame({"x": [1, 2, 3], "year": [2020, 2021, 2021]})
    frame.to_parquet(tmp_path / "data", partition_cols=["year"])
    with pd.route("polars"):
        found = pd.read_parquet(tmp_path / "data")
        pandas.testing.assert_frame_equal(found, pandas.read_parquet(tmp_path / "data"))
