"""Files in the folders of figures and runs that others have written: passed over where they may be, else named."""

import json
import re
import threading

import pytest

from deconv.figures import drawing
from deconv.figures.html_index import _SAME, read_pictures, verdicts, write_index
from deconv.figures.markdown_report import write_results
from deconv.figures.training_runs import data_of, read_run, read_runs
from deconv.runtime.atomic_files import PREFIX, locked

PICTURE = {
    "name": "fig2",
    "title": "Fig. 2",
    "caption": "c",
    "provenance": {"model": "lenet5"},
    "findings": [{"claim": "fig2-grouping", "seen": True, "criterion": "k", "measured": "m", "verdict": "confirmed"}],
    "tables": [{"title": "T", "columns": ["a", "b"], "rows": [["x", 1], ["y", None]], "note": ""}],
}
FOREIGN = {
    "a list": [PICTURE],
    "a number": 3,
    "null": None,
    "a text": "fig2",
    "no title": {**PICTURE, "title": None},
    "a name that is a list": {**PICTURE, "name": ["fig2"]},
    "a name that is a number": {**PICTURE, "name": 2},
    "provenance that is a list": {**PICTURE, "provenance": ["model"]},
    "provenance that is a text": {**PICTURE, "provenance": "model"},
    "findings that are null": {**PICTURE, "findings": None},
    "findings that are an object": {**PICTURE, "findings": {"claim": 1}},
    "a finding that is a text": {**PICTURE, "findings": ["fig2-grouping"]},
    "a finding that says less": {**PICTURE, "findings": [{"claim": "fig2-grouping"}]},
    "a finding of another kind": {**PICTURE, "findings": [{**PICTURE["findings"][0], "seen": "yes"}]},
    "a claim that is a list": {**PICTURE, "findings": [{**PICTURE["findings"][0], "claim": []}]},
    "tables that are a number": {**PICTURE, "tables": 7},
    "a table that is a list": {**PICTURE, "tables": [[1, 2]]},
    "a table without rows": {**PICTURE, "tables": [{"title": "T", "columns": []}]},
    "rows that are numbers": {**PICTURE, "tables": [{"title": "T", "columns": ["a"], "rows": [1, 2], "note": ""}]},
}
RAW = {
    "empty": b"",
    "not UTF-8": b'{"name": "\xff"}',
    "nested deeply": b'{"name": ' * 50000,
    "cut off": json.dumps(PICTURE).encode()[:-9],
    "NaN": json.dumps({**PICTURE, "numbers": float("nan")}).encode(),
}


def foreign_texts():
    return {**{name: json.dumps(value).encode() for name, value in FOREIGN.items()}, **RAW}


@pytest.mark.parametrize("name", foreign_texts())
def test_json_of_another_form_beside_pictures_is_passed_over(tmp_path, name):
    (tmp_path / "fig2.json").write_text(json.dumps(PICTURE))
    (tmp_path / "fig1.json").write_bytes(foreign_texts()[name])
    (tmp_path / f"{PREFIX}left.json").write_text(json.dumps(PICTURE))  # of a process that was killed
    (tmp_path / "folder.json").mkdir()
    assert [about["title"] for about in read_pictures(tmp_path)] == ["Fig. 2"]
    write_index(tmp_path, "Pictures", dict.fromkeys(_SAME) | PICTURE["provenance"])
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert page.count("<figure") == 1 and "Fig. 2</h2>" in page
    write_results(tmp_path / "page.md", {"here": tmp_path}, "Results")
    assert "| y | – |" in (tmp_path / "page.md").read_text(encoding="utf-8")
    (verdict,) = [found for claim, found, picture in verdicts(read_pictures(tmp_path)) if picture == "fig2"]
    assert verdict.seen is True and verdict.measured == "m"


@pytest.mark.parametrize("name", foreign_texts())
def test_a_list_of_what_is_finished_that_is_of_another_form_counts_as_none(tmp_path, name):
    (tmp_path / "finished.json").write_bytes(foreign_texts()[name])
    assert drawing._read(tmp_path / "finished.json") == {}
    (tmp_path / "finished.json").write_text('{"fig3": {"made_of": "abc", "pictures": ["fig3_architecture"]}}')
    assert drawing._read(tmp_path / "finished.json") == {"fig3": {"made_of": "abc", "pictures": ["fig3_architecture"]}}


RECORD = {
    "variant": {"group": "ablation", "place": 2, "name": "wide", "row": "", "change": "wide"},
    "data": {"train": "a", "train_size": 8, "test": "b", "test_size": 2, "classes": ["x"]},
    "versions": {"keras": "3"},
    "arguments": {"epochs": 4, "filter_radius": 0.1},
    "results": {"test_accuracy": 0.5, "parameters": 7, "weights_sha256": "ab"},
}


def run_in(folder, record=RECORD):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "training.json").write_bytes(record if isinstance(record, bytes) else json.dumps(record).encode())
    (folder / "net.keras").write_bytes(b"a network")
    return folder


def changed(part, **members):
    return {**RECORD, part: {**RECORD[part], **members}}


RECORDS = {
    **{name: FOREIGN[name] for name in ("a list", "a number", "null", "a text")},
    "results that are a list": {**RECORD, "results": [1]},
    "results that are true": {**RECORD, "results": True},
    "a result that is a text": changed("results", test_accuracy="0.5"),
    "a result that is true": changed("results", parameters=True),
    "weights that are a number": changed("results", weights_sha256=1),
    "a variant that is a list": {**RECORD, "variant": ["wide"]},
    "a variant that is null": {**RECORD, "variant": None},
    "a place that is a text": changed("variant", place="2"),
    "a place that is true": changed("variant", place=True),
    "a name that is a list": changed("variant", name=["wide"]),
    "a change that is a list": changed("variant", change=["wide"]),
    "data that are a text": {**RECORD, "data": "digits"},
    "data that are null": {**RECORD, "data": None},
    "a size that is a text": changed("data", train_size="8"),
    "a source that is a number": changed("data", train=1),
    "arguments that are a list": {**RECORD, "arguments": [1]},
    **RAW,
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_another_form_is_a_value_error_of_one_line_that_names_it(tmp_path, name):
    run_in(tmp_path / "good")
    run_in(tmp_path / "other", RECORDS[name])
    for read in (lambda: read_run(tmp_path / "other"), lambda: read_runs(tmp_path)):
        with pytest.raises(
            ValueError, match=r"'.*other/training\.json' is not a valid record of a training run: "
        ) as told:
            read()
        assert "\n" not in str(told.value) and str(told.value).endswith("Train the network again.")


def test_a_record_is_read_as_it_is_and_may_say_less(tmp_path):
    run = read_run(run_in(tmp_path / "run"))
    assert (run.name, run.record, run.model_file.name) == ("wide", RECORD, "net.keras")
    assert data_of(run) == RECORD["data"]
    less = read_run(run_in(tmp_path / "less", {"results": {"accuracy": 0.5}}))
    assert (less.name, less.record["variant"]) == ("less", {})
    with pytest.raises(ValueError, match=r"less/training\.json' does not name the training data of the network"):
        data_of(less)
    assert read_run(run_in(tmp_path / "unfinished", {**RECORD, "results": None})) is None


def test_what_a_killed_run_left_unfinished_is_not_taken_for_its_network(tmp_path):
    folder = run_in(tmp_path / "run")
    (folder / f"{PREFIX}00000000.1.1.00000000-net.keras").write_bytes(b"half")
    assert read_run(folder).model_file.name == "net.keras"


def test_a_folder_that_another_process_draws_into_is_refused(tmp_path):
    told = []

    def second():
        try:
            drawing.draw(None, tmp_path)
        except ValueError as error:
            told.append(str(error))

    with locked(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert re.match(f"'{re.escape(str(tmp_path))}' is in use: it is held by process ", told[0])
