"""Sources of plain documents: files, code, rows and data sets; what is bad is named."""

from __future__ import annotations

import bz2
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cwm_core.errors import DataError
from cwm_core.text.special_tokens import BEGIN_OF_TEXT, END_OF_TEXT
from cwm_core.text.tokenizer import train_bpe
from cwm_train.data.config import Code, HuggingFace, JsonLines, Parquet, Text, Traces
from cwm_train.data.document import where

TEXTS = ["x = 1", "y = 2\n", "größer ≠ kleiner", "<|end_of_text|> is no end"]


def texts(source, tokenizer) -> list[str]:
    """What the documents say; each begins, ends and is trained on as a whole."""
    begin, end = tokenizer.special_id(BEGIN_OF_TEXT), tokenizer.special_id(END_OF_TEXT)
    said = []
    for index in range(len(source)):
        document = source[index]
        assert len(document.ids) == source.lengths[index]
        assert (document.ids[0], document.ids[-1]) == (begin, end)
        assert document.loss_mask.all()
        said.append(tokenizer.decode(document.ids[1:-1].tolist()))
    return said


def write_rows(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, object]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


# Rows


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.bz2", ".jsonl.zst"])
def test_json_lines_compressed_or_not(tokenizer, tmp_path, ending):
    content = "\n".join(json.dumps({"code": text}) for text in TEXTS).encode() + b"\n\n"
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": pa.Codec("zstd").compress}
    packed = pack.get(Path(ending).suffix, bytes)(content)
    (tmp_path / f"a{ending}").write_bytes(bytes(packed))
    source = JsonLines(path=tmp_path, field="code").build(tokenizer)
    assert texts(source, tokenizer) == TEXTS
    assert where(source, 2) == f"{tmp_path / f'a{ending}'}, line 3"


def test_parquet_and_its_files_in_order(tokenizer, tmp_path):
    write_parquet(tmp_path / "b.parquet", [{"text": TEXTS[2]}, {"text": TEXTS[3]}])
    write_parquet(tmp_path / "a.parquet", [{"text": TEXTS[0], "n": 1}, {"text": TEXTS[1], "n": 2}])
    source = Parquet(path=tmp_path).build(tokenizer)
    assert texts(source, tokenizer) == TEXTS
    assert where(source, 3) == f"{tmp_path / 'b.parquet'}, row 2"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{broken", "line 2: no JSON"),
        ('["text"]', "line 2: no text in the field 'text'"),
        ('{"txt": "a"}', r"line 2: no text in the field 'text' \(it has txt\)"),
        ('{"text": null}', "line 2: no text in the field 'text'"),
        ('{"text": "\\ud800"}', "line 2: .*(surrogate|Unicode|UTF-8)"),
    ],
)
def test_a_bad_line_is_named_or_counted(tokenizer, tmp_path, caplog, line, problem):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "fine"}}\n{line}\n{{"text": "good"}}\n')
    with pytest.raises(DataError, match=problem) as caught:
        JsonLines(path=path).build(tokenizer)
    assert str(path) in caught.value.message and "bad_rows=skip" in caught.value.hint
    source = JsonLines(path=path, bad_rows="skip").build(tokenizer)
    assert texts(source, tokenizer) == ["fine", "good"]
    assert "1 rows left out" in caplog.text and "line 2" in caplog.text


def test_torn_files_are_named(tokenizer, tmp_path):
    whole = gzip.compress(b'{"text": "some words"}\n' * 5000)
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz cannot be read after line \d+"):
        JsonLines(path=tmp_path).build(tokenizer)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(DataError, match=r"b\.parquet"):
        Parquet(path=tmp_path).build(tokenizer)
    write_parquet(tmp_path / "b.parquet", [{"content": "x"}])
    with pytest.raises(DataError, match=r"(?s)b\.parquet.*text|text.*b\.parquet"):
        Parquet(path=tmp_path).build(tokenizer)


def test_nothing_to_read_is_an_error(tokenizer, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        Text(path=tmp_path / "none").build(tokenizer)
    with pytest.raises(DataError, match="holds no file that matches"):
        JsonLines(path=tmp_path).build(tokenizer)
    write_rows(tmp_path / "a.jsonl", [{"text": ""}])
    with pytest.raises(DataError, match="holds no text"):
        JsonLines(path=tmp_path).build(tokenizer)
    (tmp_path / "b.txt").write_text("")
    with pytest.raises(DataError, match="holds no text"):
        Text(path=tmp_path, pattern="*.txt").build(tokenizer)


# Files


def test_text_is_a_file_or_its_parts(tokenizer, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "b.txt").write_text("third")
    (tmp_path / "a.txt").write_text("first\n---\nsecond\n---\n")
    (tmp_path / ".hidden").write_text("never")
    whole = Text(path=tmp_path).build(tokenizer)
    assert texts(whole, tokenizer) == ["first\n---\nsecond\n---\n", "third"]
    parts = Text(path=tmp_path, separator="\n---\n").build(tokenizer)
    assert texts(parts, tokenizer) == ["first", "second", "third"]
    assert where(parts, 1) == f"{tmp_path / 'a.txt'}, document 2"
    assert where(parts, 2) == f"{tmp_path / 'inner' / 'b.txt'}, document 1"


def test_what_is_not_utf8_is_named(tokenizer, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"cannot read .*a\.txt as UTF-8"):
        Text(path=tmp_path).build(tokenizer)


def test_code_leaves_out_what_is_no_source(tokenizer, tmp_path, caplog):
    kept = {"a.py": "x = 1\n", "sub/b.py": "y = 2\n"}
    left = {
        "c.js": "1", ".venv/d.py": "1", "node_modules/e.py": "1", "big.py": "z = 1\n" * 200,
        "minified.py": "w" * 500,
    }  # fmt: skip
    for name, text in {**kept, **left}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
    (tmp_path / "link.py").symlink_to(tmp_path / "a.py")
    config = Code(path=tmp_path, max_file_bytes=1000, max_line_characters=400)
    assert texts(config.build(tokenizer), tokenizer) == list(kept.values())
    for reason in ("1 files not in UTF-8", "1 files with a line over", "1 files larger than"):
        assert reason in caplog.text
    with pytest.raises(DataError, match="no source file"):
        Code(path=tmp_path, extensions=(".rs",)).build(tokenizer)
    with pytest.raises(DataError, match="is no directory"):
        Code(path=tmp_path / "a.py").build(tokenizer)


# Data sets of `datasets`


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_from_local_files(tokenizer, tmp_path, streaming):
    path = write_rows(tmp_path / "a.jsonl", [{"body": text, "n": 1} for text in TEXTS])
    given = {"dataset": "json", "data_files": (str(path),), "field": "body"}
    config = HuggingFace(**given, streaming=streaming)
    assert texts(config.build(tokenizer), tokenizer) == TEXTS
    some = HuggingFace(**given, streaming=streaming, limit=2, cache=tmp_path / "tokens")
    assert texts(some.build(tokenizer), tokenizer) == TEXTS[:2]
    stored = {entry: entry.stat().st_mtime_ns for entry in (tmp_path / "tokens").iterdir()}
    assert texts(some.build(tokenizer), tokenizer) == TEXTS[:2]
    assert {entry: entry.stat().st_mtime_ns for entry in (tmp_path / "tokens").iterdir()} == stored


def test_a_changed_file_of_a_stream_is_read_again(tokenizer, tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "old"}])
    config = HuggingFace(
        dataset="json", data_files=(str(path),), streaming=True, cache=tmp_path / "tokens"
    )
    assert texts(config.build(tokenizer), tokenizer) == ["old"]
    write_rows(path, [{"text": "newer"}])
    assert texts(config.build(tokenizer), tokenizer) == ["newer"]


def test_wrong_datasets_are_explained(tokenizer, tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "a"}, {"text": None}])
    given = {"dataset": "json", "data_files": (str(path),)}
    with pytest.raises(DataError, match="has no column 'body'") as caught:
        HuggingFace(**given, field="body").build(tokenizer)
    assert "text" in caught.value.hint
    with pytest.raises(DataError, match="json, row 2: no text"):
        HuggingFace(**given).build(tokenizer)
    assert len(HuggingFace(**given, bad_rows="skip").build(tokenizer)) == 1
    with pytest.raises(DataError, match="cannot load 'json'"):
        HuggingFace(dataset="json", data_files=(str(tmp_path / "none.jsonl"),)).build(tokenizer)


# Token ids on the disk


def test_another_tokenizer_content_or_setting_is_tokenised_anew(tokenizer, tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "one", "other": "two"}])
    cache = tmp_path / "tokens"
    other = train_bpe(["one two three"], 300)
    JsonLines(path=path, cache=cache).build(tokenizer)
    assert texts(JsonLines(path=path, cache=cache).build(other), other) == ["one"]
    renamed = JsonLines(path=path, cache=cache, field="other")
    assert texts(renamed.build(tokenizer), tokenizer) == ["two"]
    write_rows(path, [{"text": "new"}])
    assert texts(JsonLines(path=path, cache=cache).build(tokenizer), tokenizer) == ["new"]
    assert len(list(cache.iterdir())) == 4


def test_a_moved_file_is_found_in_the_cache(tokenizer, tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "same"}])
    JsonLines(path=path, cache=tmp_path / "tokens").build(tokenizer)
    (tmp_path / "away").mkdir()
    moved = path.rename(tmp_path / "away" / "a.jsonl")
    source = JsonLines(path=moved, cache=tmp_path / "tokens").build(tokenizer)
    assert len(list((tmp_path / "tokens").iterdir())) == 1
    assert where(source, 0) == f"{moved}, line 1"


@pytest.mark.parametrize("damage", ["ids.bin", "codes.bin", "store.json"])
def test_a_damaged_store_is_made_anew(tokenizer, tmp_path, caplog, damage):
    path = write_rows(tmp_path / "a.jsonl", [{"text": text} for text in TEXTS])
    config = JsonLines(path=path, cache=tmp_path / "tokens")
    config.build(tokenizer)
    (entry,) = (tmp_path / "tokens").iterdir()
    (entry / damage).write_bytes(b"torn")
    assert texts(config.build(tokenizer), tokenizer) == TEXTS
    assert "is damaged" in caplog.text
    (entry,) = (tmp_path / "tokens").iterdir()


def test_a_source_that_fails_half_way_leaves_no_store(tokenizer, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n' * 600 + "{broken\n")
    with pytest.raises(DataError, match="line 601"):
        JsonLines(path=path, cache=tmp_path / "tokens").build(tokenizer)
    assert list((tmp_path / "tokens").iterdir()) == []


def test_limits_count_over_files(tokenizer, tmp_path):
    for name in "abc":
        write_rows(tmp_path / f"{name}.jsonl", [{"text": f"{name}{n}"} for n in range(3)])
    source = JsonLines(path=tmp_path, limit=4).build(tokenizer)
    assert texts(source, tokenizer) == ["a0", "a1", "a2", "b0"]


# Traces


def test_a_split_without_traces_is_an_error(traces, tokenizer):
    with pytest.raises(DataError, match="no trace of the split 'nosuch'"):
        Traces(path=traces, split="nosuch").build(tokenizer)


def test_traces_name_their_shard_and_row(traces, tokenizer):
    source = Traces(path=traces, split="validation").build(tokenizer)
    first = where(source, 0)
    assert first.startswith(str(traces)) and first.endswith("part-00001.parquet, row 37")


def test_full_states_are_longer_than_differences(traces, tokenizer):
    short = Traces(path=traces).build(tokenizer)
    long = Traces(path=traces, diff=False).build(tokenizer)
    assert np.all(long.lengths >= short.lengths) and long.lengths.sum() > short.lengths.sum()
