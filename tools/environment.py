"""Make or update `.venv` from requirements.txt: `python3 tools/environment.py`.

Written for any Python, however old, so that it can say in one sentence what is wrong.
"""

import hashlib
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "made-from")
LOG = os.path.join(ROOT, ".venv-log.txt")
OLDEST, NEWEST = (3, 11), (3, 13)


def main():
    found = "%d.%d" % sys.version_info[:2]
    if not OLDEST <= tuple(sys.version_info[:2]) <= NEWEST:
        return stop(
            "The course is built with Python %d.%d to %d.%d, and %s is Python %s: "
            "run `make PYTHON=/path/to/python3.11 ...`."
            % (OLDEST + NEWEST + (sys.executable, found))
        )
    wanted = fingerprint()
    if os.path.exists(STAMP) and open(STAMP).read() == wanted:
        return 0
    start = time.time()
    print("Installing requirements.txt into .venv with Python %s; this takes some minutes." % found)
    sys.stdout.flush()
    python = os.path.join(VENV, "bin", "python")
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    pip += ["--retries", "2", "--timeout", "30"]
    steps = [
        [sys.executable, "-m", "venv", "--clear", VENV],
        pip + ["-r", os.path.join(ROOT, "requirements.txt")],
        pip + ["--no-deps", "--no-build-isolation", "-e", ROOT],
    ]
    for step in steps:
        with open(LOG, "w") as log:
            code = subprocess.call(step, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
        if code:
            return stop(reason(open(LOG).read()))
    with open(STAMP, "w") as stamp:
        stamp.write(wanted)
    os.remove(LOG)
    print("The environment is ready (%d s)." % (time.time() - start))
    return 0


def fingerprint():
    """What the environment depends on, as one line."""
    digest = hashlib.sha256()
    for name in ("requirements.txt", "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return "%s %s %s\n" % (sys.version.split()[0], ROOT, digest.hexdigest())


def reason(log):
    """One sentence for a log of venv or pip."""
    offline = ("NewConnectionError", "ConnectTimeout", "NameResolutionError", "Failed to establish")
    offline += ("Connection refused", "Network is unreachable", "ProxyError", "Max retries")
    if any(word in log for word in offline):
        return "The package index can't be reached: connect to the network, then run make again."
    if "ensurepip is not" in log:
        return (
            "This Python can't make environments: install its venv module (Debian: python3-venv)."
        )
    if "No space left" in log:
        return "The disk is full: the environment takes about 2 GB."
    errors = [line for line in log.splitlines() if line.startswith("ERROR")]
    return "%s See %s." % (errors[-1] if errors else "The installation failed.", LOG)


def stop(sentence):
    sys.stderr.write(sentence + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
