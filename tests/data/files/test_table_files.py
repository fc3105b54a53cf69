import pytest

from tltool.data.files.table_files import read_table

EXPECTED = {"path": ["a b.jpg", "é.jpg"], "label": ["ants", ""]}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path, delimiter):
    rows = [["path", "label"], ["a b.jpg", "ants"], ["é.jpg", ""]]
    (tmp_path / "t.csv").write_text("\n".join(delimiter.join(row) for row in rows) + "\n")
    assert read_table(tmp_path / "t.csv") == EXPECTED


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_files_of_excel_are_read(tmp_path, encoding, newline):
    text = "path,label\na b.jpg,ants\n\né.jpg,\n".replace("\n", newline)
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    assert read_table(tmp_path / "t.csv") == EXPECTED


@pytest.mark.parametrize(
    "before",
    ["\n", "# exported 2026-11-28\n", "# by A, B\n\n# twice\n", "  \n,\n", "\ufeff\n", '"sep=,"\n'],
    ids=[
        "a blank line",
        "a comment",
        "comments",
        "a row of nothing",
        "a mark",
        "Excel's delimiter",
    ],
)
def test_what_stands_in_front_of_the_header_is_left_out(tmp_path, before):
    text = f"{before}path,label\na b.jpg,ants\né.jpg,\n"
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    assert read_table(tmp_path / "t.csv") == EXPECTED


@pytest.mark.parametrize("delimiter", [";", "|", ""])
def test_the_delimiter_may_be_named_in_the_first_line(tmp_path, delimiter):
    rows = f"sep={delimiter}\npath,label\na b.jpg,ants\né.jpg,\n".replace(",", delimiter or "\t")
    (tmp_path / "t.csv").write_text(rows.replace("sep=", "sep=" + "\t" * (not delimiter)))
    assert read_table(tmp_path / "t.csv") == EXPECTED


def test_a_header_that_is_marked_as_a_comment_is_one(tmp_path):
    (tmp_path / "t.csv").write_text("# two insects\n#path,label\na b.jpg,ants\né.jpg,\n")
    assert read_table(tmp_path / "t.csv") == EXPECTED


@pytest.mark.parametrize("blank", ["   ", ",", " , "])
def test_rows_of_nothing_are_left_out(tmp_path, blank):
    (tmp_path / "t.csv").write_text(f"path,label\na b.jpg,ants\n{blank}\né.jpg,\n{blank}\n")
    assert read_table(tmp_path / "t.csv") == EXPECTED


def test_a_path_may_begin_with_the_mark_of_a_comment(tmp_path):
    (tmp_path / "t.csv").write_text("path,label\n#1.jpg,ants\n")
    assert read_table(tmp_path / "t.csv") == {"path": ["#1.jpg"], "label": ["ants"]}


def test_a_comment_among_the_rows_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("\npath,label\na.jpg,ants\n# the end\n")
    with pytest.raises(ValueError, match=r"Line 4 of .* has 1 cells.* If it is a comment, remove"):
        read_table(tmp_path / "t.csv")


def test_quoted_cells_may_hold_the_delimiter(tmp_path):
    (tmp_path / "t.csv").write_text('path,label\n"a,b.jpg",ants\n')
    assert read_table(tmp_path / "t.csv")["path"] == ["a,b.jpg"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_quoted_cells_may_hold_the_end_of_a_line(tmp_path, end):
    (tmp_path / "t.csv").write_bytes(f'path,label{end}"a\rb.jpg",ants{end}c.jpg,{end}'.encode())
    assert read_table(tmp_path / "t.csv")["path"] == ["a\rb.jpg", "c.jpg"]


def test_parquet_is_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"path": ["a b.jpg", "é.jpg"], "label": ["ants", None]})
    parquet.write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet") == EXPECTED


def test_numbers_in_parquet_become_text(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"label": [3, 10]}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet") == {"label": ["3", "10"]}


def test_lists_in_parquet_are_written_as_several_classes(tmp_path):
    pyarrow, parquet = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    labels = [["ants", "bees"], ["bees"], [], None, [None, "ants"]]
    parquet.write_table(pyarrow.table({"label": labels}), tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet")
    assert found == {"label": ["ants;bees", "bees", "", "", "ants"]}


def test_parquet_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "t.parquet").touch()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tltool\[parquet\]'"):
        read_table(tmp_path / "t.parquet")


def test_a_missing_table_offers_the_nearest_name(tmp_path):
    (tmp_path / "images.csv").touch()
    with pytest.raises(FileNotFoundError, match=r"Did you mean '.*/images.csv'\?"):
        read_table(tmp_path / "image.csv")


@pytest.mark.parametrize("text", ["", "path,label\n"])
def test_a_table_without_rows_is_refused(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=r"has no rows. Write a header"):
        read_table(tmp_path / "t.csv")


def test_a_row_of_another_length_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("path,label\na.jpg,ants\nb,c.jpg,bees\n")
    with pytest.raises(
        ValueError, match=r"Line 3 .* 3 cells, .* has 2. Put cells that contain ','"
    ):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("missing", [float("nan"), None])
def test_what_is_missing_in_parquet_is_empty(tmp_path, missing):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"label": [1.5, missing]}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet") == {"label": ["1.5", ""]}


def test_two_columns_of_one_name_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("path,label,label\na.jpg,ants,bees\n")
    with pytest.raises(ValueError, match=r"more than one column 'label'. Rename or remove one"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_says_how_to_save_it(tmp_path, encoding):
    (tmp_path / "t.csv").write_text("path,label\na.jpg,K\u00e4fer\n", encoding=encoding)
    with pytest.raises(ValueError, match=r"cannot be read: .*Save it as UTF-8"):
        read_table(tmp_path / "t.csv")


def test_a_quote_that_is_not_closed_is_suspected(tmp_path):
    rows = "a.jpg,ants\n" * 20_000  # more than the largest cell that is read
    (tmp_path / "t.csv").write_text(f'path,label\n"b.jpg,bees\n{rows}')
    with pytest.raises(ValueError, match=r"look for a quote that is not closed"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("content", [b"", b"no Parquet file"])
def test_a_damaged_parquet_file_is_named(tmp_path, content):
    pytest.importorskip("pyarrow")
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=r"t.parquet' is no Parquet file: .*Write it anew"):
        read_table(tmp_path / "t.parquet")
