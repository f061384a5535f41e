"""`coloproxy doctor` says what there is, and what to do about what is not."""

import json
import subprocess
import sys

import pytest

from support.process import run


def test_every_check_is_shown_and_what_is_missing_comes_with_advice() -> None:
    done = run("doctor", "--json")
    assert done.returncode == 0
    findings = json.loads(done.stdout)["findings"]
    assert [finding["what"] for finding in findings] == [
        "Python", "compiled engine", "root", "TAP devices", "network namespaces", "packet sockets", "QEMU", "KVM",
        "tshark", "plots", "metrics and page", "lab and demo", "guests",
    ]  # fmt: skip
    for finding in findings:
        assert finding["found"]
        assert finding["ok"] or finding["advice"]


def test_the_table_names_them_too() -> None:
    done = run("doctor")
    assert done.returncode == 0
    assert "compiled engine" in done.stdout
    assert "network namespaces" in done.stdout


def test_uncompiled_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLOPROXY_UNCOMPILED", "1")
    (finding,) = [f for f in json.loads(run("doctor", "--json").stdout)["findings"] if f["what"] == "compiled engine"]
    assert not finding["ok"]
    assert "COLOPROXY_UNCOMPILED" in finding["advice"]


def test_a_machine_without_programs_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    from coloproxy.cli.doctor import qemu, tshark

    for finding in (qemu(), tshark()):
        assert not finding.ok
        assert "apt install" in finding.advice


def test_namespaces_are_tried_without_leaving_ours() -> None:
    import os

    before = os.readlink("/proc/self/ns/net")
    from coloproxy.cli.doctor import namespaces

    namespaces()
    assert os.readlink("/proc/self/ns/net") == before


@pytest.mark.root
def test_an_ordinary_user_is_told_that_the_lab_needs_no_root() -> None:
    drop = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    command = [*drop, sys.executable, "-m", "coloproxy", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert not findings["root"]["ok"]
    assert "lab and demo need none" in findings["root"]["advice"]
    if findings["network namespaces"]["ok"]:
        assert findings["network namespaces"]["found"] == "in a user namespace, as lab and demo do"
