import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from tilltal.core.errors import WorkspaceError
from tilltal.workspace import init as init_module
from tilltal.workspace.check import usable
from tilltal.workspace.init import init
from tilltal.workspace.layout import FILES, FOLDERS
from tilltal.workspace.schemas import kinds, write_schemas

MODELINE = re.compile(r"# yaml-language-server: \$schema=(\S+)\n")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("init") / "bank"
    init(target, 'Tärnan\'s bank: "north"')
    return target


def test_the_template_loads_and_has_no_fault(bank: Path) -> None:
    workspace = usable(bank)
    assert workspace.settings.name == 'Tärnan\'s bank: "north"'
    assert len(workspace.actions) == 3
    assert all(workspace.treatments[name] for name in workspace.actions)


def test_the_template_shows_every_kind_of_file(bank: Path) -> None:
    assert all((bank / file).is_file() for file in FILES)
    assert all(list((bank / folder).glob("*.yaml")) for folder in FOLDERS)


def test_every_source_of_the_template_has_its_sample(bank: Path) -> None:
    for source in usable(bank).sources.values():
        assert source.read.files is not None
        lines = (bank / source.read.files).read_text(encoding="utf-8").splitlines()
        columns = set(lines[0].split(","))
        named = [*source.identities.values(), *source.fields]
        assert {name for name in named if isinstance(name, str)} <= columns
        assert len(lines) > 20


def test_every_definition_of_the_template_fits_the_schema_it_names(bank: Path) -> None:
    definitions = [path for path in bank.rglob("*.yaml") if ".schemas" not in path.parts]
    assert len(definitions) > 25
    for path in definitions:
        text = path.read_text(encoding="utf-8")
        found = MODELINE.match(text)
        assert found, f"{path} names no schema in its first line"
        schema = json.loads((path.parent / found[1]).read_text(encoding="utf-8"))
        jsonschema.validate(yaml.safe_load(text), schema)


def test_the_schemas_refuse_what_the_loader_refuses(bank: Path) -> None:
    schema = json.loads((bank / ".schemas/trait.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate({"measure": "count", "from": ["x"]}, schema)
    for wrong in ({"measure": "counts"}, {"mesure": "count"}, {"window": 7}, {"windows": "7 days"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_every_schema_is_a_valid_schema(tmp_path: Path) -> None:
    written = write_schemas(tmp_path / "schemas")
    assert [path.name for path in written] == [f"{kind}.schema.json" for kind in kinds()]
    for path in written:
        jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))


def test_the_files_written_are_returned(bank: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    written = init(tmp_path / "empty", "mybank")
    assert written == sorted(path for path in (tmp_path / "empty").rglob("*") if path.is_file())
    assert (tmp_path / "empty/tilltal.yaml").read_text(encoding="utf-8").splitlines()[2] == "name: mybank"


def test_a_folder_that_holds_something_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="W150"):
        init(tmp_path, "bank")
    with pytest.raises(WorkspaceError, match="W150"):
        init(tmp_path / "mine.txt", "bank")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path) -> list[Path]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(init_module, "write_schemas", full)
    with pytest.raises(WorkspaceError, match=r"W151 .*No space left on device"):
        init(tmp_path / "bank", "bank")
    assert list(tmp_path.iterdir()) == []
