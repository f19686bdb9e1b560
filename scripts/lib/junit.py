"""What one part of scripts/test came to: junit.py EXIT_STATUS NAME FILE... prints "passed failed skipped" on one line and
the names of failed tests on the following. A part that left no readable result, or that ended badly although each of its
tests passed, counts as one failure: nothing may fail silently."""
import sys
import xml.etree.ElementTree as ET


def count(paths, status):
    passed = failed = skipped = 0
    names = []
    try:
        cases = [case for path in paths for case in ET.parse(path).getroot().iter("testcase")]
    except (OSError, ET.ParseError) as error:
        return 0, 1, 0, [f"no result: {error}"]
    for case in cases:
        kinds = {child.tag for child in case}
        # CTest says "skipped" too when it did not find the program.
        message = next((child.get("message", "") for child in case if child.tag == "skipped"), "")
        not_run = case.get("status") == "notrun" and not message.startswith("SKIP_")
        if kinds & {"failure", "error"} or not_run:
            failed += 1
            where = case.get("classname")
            names.append(case.get("name") if where in (None, "", case.get("name")) else f"{where} {case.get('name')}")
        elif "skipped" in kinds or case.get("status") == "disabled":
            skipped += 1
        else:
            passed += 1
    if failed == 0 and status != 0:
        failed, names = 1, [f"ended with status {status}"]
    elif passed + failed == 0:
        failed, names = 1, ["no test ran"]
    return passed, failed, skipped, names


if __name__ == "__main__":
    *numbers, failures = count(sys.argv[3:], int(sys.argv[1]))
    print(*numbers)
    for name in failures:
        print(f"  FAILED {sys.argv[2]}: {name}")
