import json


def test_the_schema_is_printed_or_written(call, tmp_path):
    printed = call("schema").stdout
    assert "definitions" in json.loads(printed)
    path = tmp_path / "schema.json"
    assert call("schema", "-o", str(path)).stdout == ""
    assert path.read_text() == printed
