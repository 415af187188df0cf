"""Runs the end-to-end cases: `python3 -m e2e [--long] [--only NAME]... [--jobs N]`.

Each case runs in a process of its own, in a folder of its own, so that one that hangs or falls
takes nothing with it. Folders of failed cases stay in tests/.cache/last.
"""
import argparse
import concurrent.futures
import contextlib
import importlib
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

from rig.build import build, build_board
from rig.paths import CACHE, PYTHON, ROOT
from rig.rig import Rig

LAST = CACHE / "last"
# Stands in a case's log before the one thing to be told of its failure.
MARK = "failed at "
# A case that says nothing else has to end within so many seconds.
TIMEOUT = 240


def main():
    """Runs what is asked for; exit code 1 if a case failed."""
    parser = argparse.ArgumentParser(prog="e2e", description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="also the long cases")
    parser.add_argument("--only", action="append", metavar="NAME", help="this case alone")
    parser.add_argument("--jobs", type=int, default=min(3, os.cpu_count() or 1))
    parser.add_argument("--case", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        sys.exit(one_case(*options.case, options.long))
    names = [module.name for module in pkgutil.iter_modules([Path(__file__).parent])
             if module.name != "__main__"]
    for name in options.only or []:
        if name not in names:
            parser.error(f"no case {name}; there are {', '.join(names)}")
    cases = {name: importlib.import_module(f"e2e.{name}") for name in options.only or names}
    if not options.long and not options.only:
        cases = {name: case for name, case in cases.items() if not getattr(case, "LONG", False)}
    build()
    for arch in sorted({case.BOARD for case in cases.values() if hasattr(case, "BOARD")}):
        build_board(arch)
    sys.exit(1 if run_all(cases, options.jobs, options.long) else 0)


def run_all(cases, jobs, long):
    """Runs the cases, some at a time, then those that want the machine alone; how many failed."""
    shutil.rmtree(LAST, ignore_errors=True)
    start = time.monotonic()
    # The longest first, so that none is left over at the end.
    order = sorted(cases, key=lambda name: -getattr(cases[name], "TIMEOUT", TIMEOUT))
    alone = [name for name in order if getattr(cases[name], "ALONE", False)]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(supervise, name, cases[name], long) for name in order
                   if name not in alone]
        for one in concurrent.futures.as_completed(running):
            failed += not one.result()
    for name in alone:
        failed += not supervise(name, cases[name], long)
    passed = len(cases) - failed
    print(f"end to end: {passed} passed, {failed} failed in {time.monotonic() - start:.0f} s")
    return failed


def supervise(name, case, long):
    """Runs one case in its process and tells how it went; true if it passed."""
    folder = LAST / name
    folder.mkdir(parents=True)
    limit = getattr(case, "TIMEOUT", TIMEOUT)
    if long:
        limit = getattr(case, "TIMEOUT_LONG", limit)
    start = time.monotonic()
    with open(folder / "case.log", "wb") as log:
        child = subprocess.Popen(
            [PYTHON, "-m", "e2e", "--case", name, str(folder), *["--long"] * long],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            cwd=ROOT / "tests")
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        # Whatever the case has left behind: its session is its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    took = time.monotonic() - start
    what = (case.__doc__ or "").strip().splitlines()[0]
    notes = folder / "notes"
    told = notes.read_text().splitlines() if notes.exists() else []
    measured = "".join(f"\n        {line}" for line in told)
    if code == 0:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"  ok    {name:20} {took:5.0f} s  {what}{measured}", flush=True)
        return True
    why = f"not done after {limit} s" if code is None else tail(folder / "case.log")
    print(f"  FAIL  {name:20} {took:5.0f} s  {what}{measured}\n{why}\n        logs: "
          f"{folder.relative_to(ROOT)}", flush=True)
    return False


def tail(path):
    """What the case said last, indented; the whole is in its log."""
    lines = path.read_text(errors="replace").rpartition(MARK)[2].strip().splitlines()[-20:]
    return "\n".join(f"        {line}" for line in lines)


def one_case(name, folder, long):
    """Runs one case here; its exit code."""
    case = importlib.import_module(f"e2e.{name}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        with Rig(folder, long) as rig:
            case.run(rig)
    except Exception as error:  # Any failure is this case's alone; say where and why.
        frames = traceback.extract_tb(error.__traceback__)
        here = [one for one in frames if Path(one.filename).name == f"{name}.py"]
        at = here[-1] if here else frames[-1]
        print(traceback.format_exc(), file=sys.stderr)
        print(f"{MARK}{Path(at.filename).name}:{at.lineno}: {type(error).__name__}: {error}",
              file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    main()
