"""Writes the folder of a calibration: the file, a table of residuals, a picture and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sonosteer.calibration.record import write_calibration
from sonosteer.core.config import to_dict
from sonosteer.episodes.calibrating import Outcome, summary_of
from sonosteer.recording.tables import TableWriter, writing_failed
from sonosteer.viz.calibration_report import CalibrationStory, write_calibration_report

CALIBRATION_FILE = "calibration.toml"
RESIDUALS = "residuals.csv"


def write_outcome(folder: Path, outcome: Outcome) -> dict[str, Any]:
    """Write what was found, and return it as `--json` prints it.

    A calibration that may not be used gets no file, and one of before is removed. Its residuals and its report are
    written all the same.
    """
    file = folder / CALIBRATION_FILE
    try:
        file.unlink(missing_ok=True)
    except OSError as e:
        raise writing_failed(file, e, "nothing was written") from None
    check = outcome.calibration.check
    columns = ("observation", f"residual_{check.unit}", f"held_out_{check.unit}", "used")
    with TableWriter(folder / RESIDUALS, columns) as table:
        rows = zip(outcome.labels, outcome.residual, outcome.held_out, outcome.fit.used, strict=True)
        for label, residual, held_out, used in rows:
            table.write((str(label), f"{residual:.6g}", f"{held_out:.6g}" if used else "", str(int(used))))
    summary = {**summary_of(outcome), "file": None if outcome.refused else str(file)}
    write_calibration_report(
        folder,
        CalibrationStory(
            title=outcome.title,
            refused=outcome.refused,
            found=outcome.found,
            notes=outcome.notes,
            check=to_dict(check),
            bounds=to_dict(outcome.bounds),
            labels=outcome.labels,
            residual=outcome.residual,
            held_out=outcome.held_out,
            used=outcome.fit.used,
            summary=summary,
            lag=outcome.picture,
        ),
    )
    if not outcome.refused:
        write_calibration(file, outcome.calibration)
    return summary
