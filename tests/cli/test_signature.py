"""Signatures by a key pair, made and checked by the real library."""

import json
import sys
import tarfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from distill.lineage import read_lineage, write_lineage
from tests.cli.conftest import Invoke, invoke_in


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """A private key and its public half."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_keys(tmp_path_factory.mktemp("keys"), "ours")


@pytest.fixture
def signed(finished_run: Path, keys: tuple[Path, Path], tmp_path: Path) -> Path:
    """A published model folder with a signature."""
    run = finished_run / "runs/tiny"
    shown = invoke_in(tmp_path, "bundle", run, "--to", "signed.tar", "--sign", keys[0])
    assert shown.code == 0, shown.err
    assert "model/model.sig" in shown.out
    with tarfile.open(tmp_path / "signed.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "signed/model"


def test_a_signature_holds_for_its_key_and_for_no_other(
    invoke: Invoke, signed: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    shown = invoke("verify", signed, "--key", keys[1])
    assert shown.code == 0, shown.err
    assert "signed with the key of" in shown.out
    _, other = make_keys(tmp_path, "other")
    shown = invoke("verify", signed, "--key", other)
    assert shown.code == 3
    assert "not signed with the key of" in shown.err
    shown = invoke("verify", signed)
    assert shown.code == 0
    assert "it is signed: --key KEY.pub checks by whom" in shown.err


def test_who_writes_the_record_anew_is_found_by_the_signature_alone(
    invoke: Invoke, signed: Path, keys: tuple[Path, Path]
) -> None:
    lineage = read_lineage(signed)
    (signed / "config.json").write_text("{}")
    write_lineage(signed, lineage.name, lineage.steps)
    assert invoke("verify", signed).code == 0
    shown = invoke("verify", signed, "--key", keys[1])
    assert shown.code == 3
    assert "config.json" in shown.err
    record = json.loads(invoke("verify", signed, "--key", keys[1], "--json").out)
    assert record["signature"] == "invalid"
    assert record["findings"] == []


def test_a_broken_or_missing_signature_is_said(
    invoke: Invoke, signed: Path, keys: tuple[Path, Path]
) -> None:
    signature = signed / "model.sig"
    whole = signature.read_bytes()
    for spoilt in (b"", b"{}", b"\xff", whole[:-40], whole.replace(b"payload", b"payl0ad")):
        signature.write_bytes(spoilt)
        shown = invoke("verify", signed, "--key", keys[1])
        assert shown.code == 3
        assert "not signed with the key of" in shown.err
    signature.unlink()
    assert "there is no model.sig" in invoke("verify", signed, "--key", keys[1]).err
    assert invoke("verify", signed).code == 0


def test_a_file_that_is_no_key_is_refused_and_nothing_is_written(
    invoke: Invoke, finished_run: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    run = finished_run / "runs/tiny"
    for key in (keys[1], tmp_path / "none.pem"):
        shown = invoke("bundle", run, "--to", "a.tar", "--sign", key)
        assert shown.code == 3
        assert f"--sign {key}: " in shown.err
        assert "openssl ecparam" in shown.err
    assert list(tmp_path.iterdir()) == []


def test_without_the_library_the_install_line_is_said(
    invoke: Invoke,
    finished_run: Path,
    keys: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "model_signing"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "model_signing", None)
    shown = invoke("bundle", finished_run / "runs/tiny", "--to", "a.tar", "--sign", keys[0])
    assert shown.code == 8
    assert "pip install 'distill-reasoning[sign]'" in shown.err
