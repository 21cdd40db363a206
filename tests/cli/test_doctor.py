import json

import pytest

from tests.cli.conftest import Invoke


def findings(invoke: Invoke) -> dict[str, dict[str, str]]:
    shown = invoke("doctor", "--json")
    assert shown.code == 0
    return {finding["name"]: finding for finding in json.loads(shown.out)}


def test_the_doctor_looks_at_everything_that_matters(invoke: Invoke) -> None:
    found = findings(invoke)
    assert {"python", "torch", "transformers", "memory", "gpu", "disk", "packages"} <= set(found)
    assert {finding["health"] for finding in found.values()} <= {"ok", "warning"}


@pytest.mark.parametrize(("value", "state"), [("1", "offline"), ("0", "online allowed")])
def test_the_doctor_tells_whether_the_hub_may_be_used(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, value: str, state: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert findings(invoke)["model hub"]["found"].startswith(state)


def test_a_missing_library_comes_with_the_install_line(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.doctor._LIBRARIES", ("torch", "no-such-library"))
    finding = findings(invoke)["no-such-library"]
    assert finding["health"] == "warning"
    assert "pip install -c constraints.txt -e '.[train]'" in finding["cure"]


def test_a_full_disk_is_a_warning(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.doctor._LOW_DISK_BYTES", 1 << 60)
    assert findings(invoke)["disk"]["health"] == "warning"
