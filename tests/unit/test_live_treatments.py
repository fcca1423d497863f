"""What is said of a shown action: in the language that the customer reads, else in the first there is."""

from pathlib import Path

from tilltal.runtime.live.definitions import treatments_of
from tilltal.workspace.load import load

FILES = {
    "tilltal.yaml": "{name: bank, languages: [en, sv, fi], channels: [email, push]}",
    "actions/card/action.yaml": "{title: Card, group: cards}",
    "actions/card/email.sv.yaml": "{body: Hej}",
    "actions/card/email.fi.yaml": "{body: Hei}",
    "actions/card/push.en.yaml": "{body: Hello}",
    "actions/mute/action.yaml": "{title: Mute, group: cards}",
}


def test_a_language_that_is_lacking_is_the_first_there_is(tmp_path: Path) -> None:
    for file, text in FILES.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    found = treatments_of(load(tmp_path))
    assert {key: one.language for key, one in found.items()} == {
        ("card", "email", "en"): "sv",
        ("card", "email", "sv"): "sv",
        ("card", "email", "fi"): "fi",
        ("card", "push", "en"): "en",
        ("card", "push", "sv"): "en",
        ("card", "push", "fi"): "en",
    }
    assert found["card", "email", "en"].content["body"] == "Hej"
