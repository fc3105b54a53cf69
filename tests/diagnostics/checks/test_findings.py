"""The table of findings and the code that reads it say the same."""

import re
from pathlib import Path

from tltool.diagnostics.checks import check_result
from tltool.diagnostics.checks.check_result import Check, findings

SOURCE = "".join(
    path.read_text(encoding="utf-8") for path in Path(check_result.__file__).parent.glob("*.py")
)


def test_each_check_has_its_findings():
    assert set(re.findall(r'Check\("([^"]+)"\)', SOURCE)) == set(findings())


def test_each_finding_is_reported_by_a_check():
    kinds = {kind for entries in findings().values() for kind in entries}
    assert {kind for kind in kinds if f'"{kind}"' not in SOURCE} == set()


def test_each_finding_has_a_status_and_sentences():
    entries = [entry for entries in findings().values() for entry in entries.values()]
    assert {entry["status"] for entry in entries} == {"warning", "failed"}
    assert all(entry.keys() == {"status", "found", "remedy"} for entry in entries)


def test_a_problem_that_is_no_failure_is_a_warning():
    result = Check("gradients").problem(
        "unreached", is_failure=False, phase="all", number=1, names="head.bias"
    )
    assert result.status == "warning"
