"""JSON that anybody may have written."""

import json

import pytest

from deconv.runtime.json_files import read_object


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"1",
        b"null",
        b'"name"',
        b"{",
        b"\xff\xfe{}",
        b"[" * 100000,
        b'{"name": ' * 100000,
        b'{"name": NaN}',
        b'{"name": -Infinity}',
        b'{"name": 1e999}',
        b'{"name": ' + b"9" * 5000 + b"}",
        b'{"name": ' + b"9" * 400 + b"}",
        b'{"name": "\\ud800"}',
        b'{"\\uDFFF": 1, "name": "x"}',
        b'{"name": 1}',
        b'{"other": "x"}',
    ],
    ids=range(18),
)
def test_json_of_another_form_is_a_value_error_that_names_the_file(tmp_path, text):
    file = tmp_path / "some.json"
    file.write_bytes(text)
    with pytest.raises(ValueError, match=r"some\.json' is not valid: ") as told:
        read_object(file, name=str)
    assert "\n" not in str(told.value) and len(str(told.value)) < 500


def test_json_that_is_not_there_or_a_folder_is_a_value_error_that_names_it(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.json.*no such file"):
        read_object(tmp_path / "nothing.json")
    with pytest.raises(ValueError, match="it is not a file"):
        read_object(tmp_path)


def test_json_of_our_form_is_read_and_true_is_no_number(tmp_path):
    file = tmp_path / "some.json"
    file.write_text(json.dumps({"name": "ü", "count": 3, "none": None, "flag": True, "size": 1.5}))
    read = read_object(file, name=str, count=int, none=(dict, type(None)), flag=bool, size=(int, float))
    assert read == {"name": "ü", "count": 3, "none": None, "flag": True, "size": 1.5}
    with pytest.raises(ValueError, match="'flag' must be a whole number, received true or false"):
        read_object(file, flag=int)


def test_a_character_that_json_writes_as_two_halves_is_read(tmp_path):
    (tmp_path / "some.json").write_text(json.dumps({"name": "\U0001f600"}))
    assert "\\ud83d" in (tmp_path / "some.json").read_text()
    assert read_object(tmp_path / "some.json", name=str) == {"name": "\U0001f600"}
