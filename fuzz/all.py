"""Runs every fuzzer for some time, with the compiled modules and without; stops at the first that finds something."""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=int, default=60, help="for each fuzzer, each way")
    options.add_argument("names", nargs="*", help="fuzzers to run, such as compare; all by default")
    given = options.parse_args()
    names = given.names or sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))
    for name in names:
        for how in ("compiled", "uncompiled"):
            print(f"== {name}, {how}, {given.seconds} s", flush=True)
            environment = dict(os.environ)
            environment.pop("COLOPROXY_UNCOMPILED", None)
            if how == "uncompiled":
                environment["COLOPROXY_UNCOMPILED"] = "1"
            with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as corpus:
                command = [
                    sys.executable, str(HERE / f"fuzz_{name}.py"), f"-max_total_time={given.seconds}", "-timeout=30",
                    "-max_len=2000", "-print_final_stats=1", "-verbosity=0", corpus,
                ]  # fmt: skip
                found = subprocess.run(command, env=environment, check=False).returncode
            if found:
                print(f"{name} ({how}) found something: see above, and the file it wrote")
                return 1
    print("nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
