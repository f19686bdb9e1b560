"""Reads gcovr's JSON summary, prints line coverage by folder, and writes the thresholds of CONTRIBUTING as JUnit cases:
coverage.py SUMMARY.json JUNIT.xml"""
import json
import sys
from collections import defaultdict
from pathlib import Path

WANTED = {"all": 85.0, "decoders": 95.0, "bridge/event": 95.0}


def main(summary, junit):
    folders = defaultdict(lambda: [0, 0])
    for file in json.loads(Path(summary).read_text())["files"]:
        name = file.get("filename") or file.get("file")
        for folder in ("all", str(Path(name).parent)):
            folders[folder][0] += file["line_covered"]
            folders[folder][1] += file["line_total"]
    cases = []
    for folder, (covered, total) in sorted(folders.items()):
        percent = 100 * covered / total if total else 0
        print(f"  {folder:<18} {percent:5.1f} %  of {total} lines" + (f"  (wanted: {WANTED[folder]:.0f})" if folder in WANTED else ""))
    for folder, wanted in WANTED.items():
        covered, total = folders[folder]
        percent = 100 * covered / total if total else 0
        fine = percent > wanted
        cases.append(f'<testcase classname="coverage" name="{folder} above {wanted:.0f} %">'
                     + ("" if fine else f'<failure message="{percent:.1f} %"/>') + "</testcase>")
    Path(junit).write_text('<testsuite name="coverage">' + "".join(cases) + "</testsuite>\n")
    return any("failure" in case for case in cases)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
