"""An ordinary user has the lab too: in a user namespace, by packet sockets."""

import os

import pytest

ALL = ("ftp-get", "ftp-put", "http", "many", "rr", "udp", "ping")
TUN = "/dev/net/tun"


def test_an_ordinary_user_gets_packet_sockets(users_lab) -> None:
    result = users_lab.run(*ALL, "-4", "-6", "--size", "10k", "--count", "9")
    assert result["ports"] == "packet"
    assert result["ok"]
    assert result["proxy"]["divergences"] == 0
    assert {figures["count"] for figures in result["workloads"]} == {9}


def test_an_ordinary_users_primary_may_be_killed(users_lab) -> None:
    result = users_lab.run("ftp-get", "--size", "50M", "--kill", "primary@30%")
    assert result["ok"]
    assert result["workloads"][0]["longest_gap"] < 1.0


def test_an_ordinary_users_killed_run_leaves_a_folder_which_is_cleaned_away(users_lab) -> None:
    process = users_lab.start("run", "rr", "--seconds", "60")
    users_lab.until(lambda: len(users_lab.processes()) >= 5)
    process.kill()
    process.communicate()
    users_lab.until(lambda: not users_lab.processes())
    (folder,) = users_lab.folders()
    assert users_lab.command("clean")[0] == f"removed {folder}\n"


@pytest.mark.skipif(
    os.path.exists(TUN) and os.stat(TUN).st_mode & 0o006 == 0o006, reason="here TAP devices are for everyone"
)
def test_taps_that_may_not_be_opened_are_refused(users_lab) -> None:
    assert "run it as root, or use --ports packet" in users_lab.refused("rr", "--ports", "tap")
