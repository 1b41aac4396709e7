"""Shards: atomic, resumable, streamed, and loud about damage."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_core.data.shards import (
    ShardWriter,
    count_rows,
    is_finished,
    read_shards,
    shard_files,
    verify_shards,
)
from cwm_core.errors import DataError, RunError

SCHEMA = pa.schema({"key": pa.string(), "value": pa.int64()})
NESTED = pa.schema(
    {"items": pa.list_(pa.struct({"name": pa.string(), "ids": pa.list_(pa.int32())}))}
)


def write_rows(directory: Path, start: int, stop: int, per_shard: int = 10) -> None:
    with ShardWriter(directory, SCHEMA, rows_per_shard=per_shard) as writer:
        for index in range(start, stop):
            writer.write({"key": f"k{index}", "value": index})


def test_rows_come_back_in_order_and_the_manifest_counts_them(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, SCHEMA, rows_per_shard=10) as writer:
        for index in range(25):
            writer.write({"key": f"k{index}", "value": index})
        manifest = writer.finish()
    assert [path.name for path in shard_files(tmp_path)] == [
        f"part-0000{i}.parquet" for i in range(3)
    ]
    assert [row["value"] for row in read_shards(tmp_path)] == list(range(25))
    assert count_rows(tmp_path) == manifest["rows"] == 25
    assert [shard["rows"] for shard in manifest["shards"]] == [10, 10, 5]
    assert verify_shards(tmp_path) == manifest


@given(
    rows=st.lists(
        st.one_of(
            st.none(),
            st.lists(
                st.one_of(
                    st.none(),
                    st.fixed_dictionaries(
                        {
                            "name": st.one_of(
                                st.none(), st.text(st.characters(exclude_categories=["Cs"]))
                            ),
                            "ids": st.one_of(st.none(), st.lists(st.integers(-(2**31), 2**31 - 1))),
                        }
                    ),
                )
            ),
        ),
        max_size=20,
    )
)
def test_nested_rows_with_nulls_round_trip(
    rows: list[object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("shards")
    with ShardWriter(directory, NESTED, rows_per_shard=7) as writer:
        for row in rows:
            writer.write({"items": row})
    found = list(read_shards(directory)) if rows else []
    assert [row["items"] for row in found] == rows


def test_columns_and_filter(tmp_path: Path) -> None:
    write_rows(tmp_path, 0, 25)
    assert list(read_shards(tmp_path, ["value"], where={"key": "k17"})) == [{"value": 17}]
    with pytest.raises(DataError, match="no column 'vlaue'"):
        list(read_shards(tmp_path, ["vlaue"]))


def test_reopening_continues_and_withdraws_the_manifest(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, SCHEMA) as writer:
        writer.write({"key": "a", "value": 1})
        writer.finish()
    assert is_finished(tmp_path)
    with ShardWriter(tmp_path, SCHEMA) as writer:
        assert writer.done_keys("key") == {"a"}
        writer.write({"key": "b", "value": 2})
        assert writer.done_keys("key") == {"a", "b"}
    assert not is_finished(tmp_path)
    assert [row["key"] for row in read_shards(tmp_path)] == ["a", "b"]


def test_rows_survive_an_exception_in_the_block(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), ShardWriter(tmp_path, SCHEMA) as writer:
        writer.write({"key": "a", "value": 1})
        raise ZeroDivisionError
    assert count_rows(tmp_path) == 1


def test_an_old_shard_is_closed_before_it_is_full(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, SCHEMA, seconds_per_shard=0.0) as writer:
        writer.write({"key": "a", "value": 1})
        assert count_rows(tmp_path) == 1


def test_a_bad_row_costs_no_other(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"1 of 3 rows.*key='b'"),
        ShardWriter(tmp_path, SCHEMA) as w,
    ):
        w.write({"key": "a", "value": 1})
        w.write({"key": "b", "value": "two"})
        w.write({"key": "c", "value": 3})
    assert [row["key"] for row in read_shards(tmp_path)] == ["a", "c"]


def test_wrong_columns_are_refused_at_once(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, SCHEMA) as writer, pytest.raises(DataError, match="lacks value"):
        writer.write({"key": "a"})


def test_a_directory_of_other_columns_is_refused(tmp_path: Path) -> None:
    write_rows(tmp_path, 0, 1)
    other = pa.schema({"key": pa.string()})
    with pytest.raises(DataError, match="has unknown value"), ShardWriter(tmp_path, other):
        pass


KILLED = """
    import sys
    from pathlib import Path
    import pyarrow as pa
    from cwm_core.data.shards import ShardWriter
    schema = pa.schema({"key": pa.string(), "value": pa.int64()})
    with ShardWriter(Path(sys.argv[1]), schema, rows_per_shard=50) as writer:
        done = writer.done_keys("key")
        print("ready", flush=True)
        for index in range(1000):
            if f"k{index}" not in done:
                writer.write({"key": f"k{index}", "value": index})
        writer.finish()
    print("finished", flush=True)
"""


def run_writer(directory: Path, kill_after_s: float | None) -> int:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(directory)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    try:
        child.wait(kill_after_s)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
    child.communicate()
    return child.returncode


def test_kill_9_at_any_moment_loses_no_finished_shard(tmp_path: Path) -> None:
    rows = 0
    for kill_after_s in [0.004, 0.009, 0.017, 0.031, 0.043]:
        run_writer(tmp_path, kill_after_s)
        before, rows = rows, count_rows(tmp_path) if list(tmp_path.glob("part-*")) else 0
        assert rows >= before
    assert run_writer(tmp_path, None) == 0
    assert verify_shards(tmp_path)["rows"] == 1000
    assert sorted(row["value"] for row in read_shards(tmp_path)) == list(range(1000))
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with (
        ShardWriter(tmp_path, SCHEMA),
        pytest.raises(RunError, match=rf"pid {os.getpid()}\) is running in"),
        ShardWriter(tmp_path, SCHEMA),
    ):
        pass
    with ShardWriter(tmp_path, SCHEMA):
        pass


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "text"])
def test_a_damaged_shard_is_named(tmp_path: Path, damage: str) -> None:
    write_rows(tmp_path, 0, 2000, per_shard=1000)
    victim = tmp_path / "part-00001.parquet"
    content = bytearray(victim.read_bytes())
    if damage == "truncated":
        victim.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        victim.write_bytes(b"")
    elif damage == "flipped":
        content[len(content) // 3] ^= 0xFF
        victim.write_bytes(content)
    else:
        victim.write_text("no parquet at all")
    with pytest.raises(DataError, match=r"part-00001\.parquet is damaged") as caught:
        list(read_shards(tmp_path))
    assert "delete this file and run again" in str(caught.value)


def test_a_file_that_is_no_shard_is_not_to_be_deleted(tmp_path):
    other = tmp_path / "notes.jsonl"
    other.write_text("{}\n")
    with pytest.raises(DataError, match=r"notes\.jsonl is no Parquet file") as caught:
        list(read_shards(other))
    assert "delete" not in caught.value.hint


def test_a_writer_refuses_a_damaged_shard_and_frees_the_lock(tmp_path: Path) -> None:
    write_rows(tmp_path, 0, 10)
    (tmp_path / "part-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="damaged"), ShardWriter(tmp_path, SCHEMA):
        pass
    (tmp_path / "part-00000.parquet").unlink()
    write_rows(tmp_path, 0, 10)
    assert count_rows(tmp_path) == 10


def test_verify_finds_altered_missing_and_unknown_shards(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no manifest\.json"):
        verify_shards(tmp_path)
    with ShardWriter(tmp_path, SCHEMA, rows_per_shard=10) as writer:
        for index in range(20):
            writer.write({"key": f"k{index}", "value": index})
        writer.finish()
    first, second = shard_files(tmp_path)
    kept = first.read_bytes()
    shutil.copy(second, first)
    with pytest.raises(DataError, match="checksum differs"):
        verify_shards(tmp_path)
    first.unlink()
    with pytest.raises(DataError, match="is missing"):
        verify_shards(tmp_path)
    first.write_bytes(kept)
    shutil.copy(second, tmp_path / "part-00007.parquet")
    with pytest.raises(DataError, match="not in the manifest"):
        verify_shards(tmp_path)


def test_missing_and_empty_directories(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        shard_files(tmp_path / "absent")
    write_rows(tmp_path / "traces", 0, 1)
    with pytest.raises(DataError, match="no Parquet shards") as caught:
        shard_files(tmp_path)
    assert str(tmp_path / "traces") in str(caught.value)


def test_a_file_in_the_way_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "inner"):
        with pytest.raises(RunError, match="a file is in the way"), ShardWriter(path, SCHEMA):
            pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_directory_is_explained(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="permission denied"), ShardWriter(tmp_path / "x", SCHEMA):
        pass


FULL = """
    import sys
    from pathlib import Path
    import os
    import pyarrow as pa
    from cwm_core.data.shards import ShardWriter, count_rows
    from cwm_core.errors import DataError, RunError
    schema = pa.schema({"key": pa.string(), "value": pa.int64()})
    full = Path("/full/shards")
    try:
        with ShardWriter(full, schema, rows_per_shard=1000) as writer:
            for index in range(100_000):
                writer.write({"key": os.urandom(64).hex(), "value": index})
    except RunError as error:
        print(error)
        print(sorted(p.suffix for p in full.iterdir() if p.suffix == ".tmp"), count_rows(full) > 0)
"""


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap for a small disk")
def test_a_full_disk_is_explained_and_keeps_finished_shards() -> None:
    command = ["bwrap", "--dev-bind", "/", "/", "--size", str(2**20), "--tmpfs", "/full"]
    command = [*command, sys.executable, "-c", textwrap.dedent(FULL)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the disk is full" in answer.stdout
    assert "free space" in answer.stdout
    assert answer.stdout.endswith("[] True\n")


def test_datasets_loads_shards(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the datasets library")
    write_rows(tmp_path / "shards", 0, 25)
    loaded = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "shards" / "*.parquet"),
        cache_dir=str(tmp_path / "cache"),
        split="train",
    )
    assert loaded["value"][:] == list(range(25))
