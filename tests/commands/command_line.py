"""Commands run in the process of a test, and what a mistake looks like."""

import pytest

from sonosteer.commands.main import main

SHORT = "sim:in-plane-linear?speed_mm_s=15&end_mm=18&angle_deg=40&enters=left"
WORDS = ["insert", "--policy", "visibility", "--mode", "ips", "--seed", "1"]


def run(capsys, *arguments):
    """(exit code, stdout, stderr) of a command run in this process."""
    with pytest.raises(SystemExit) as e:
        main([str(a) for a in arguments])
    out = capsys.readouterr()
    return e.value.code, out.out, out.err


def one_line(err):
    return err.startswith("sonosteer: ") and err.count("\n") == 1 and "Traceback" not in err
