"""Several pytest processes share one run: WALFERRY_LANES names a folder that all of them claim tests in.

Claimed is a module with one decoder at a time, the largest first; whoever is done takes the next. Each process has
servers of its own, so what shares a module shares them too."""
import os
from pathlib import Path


def _group(item):
    decoder = item.callspec.params.get("decoder", "none") if hasattr(item, "callspec") else "none"
    return f"{item.location[0]}-{decoder}".replace("/", ".")


def _claim(folder, group):
    try:
        (folder / group).touch(exist_ok=False)
        return True
    except FileExistsError:
        return False


def pytest_runtestloop(session):
    if "WALFERRY_LANES" not in os.environ or session.testsfailed or session.config.option.collectonly:
        return None  # pytest's own
    folder, groups = Path(os.environ["WALFERRY_LANES"]), {}
    for item in session.items:
        groups.setdefault(_group(item), []).append(item)
    in_order = sorted(groups, key=lambda group: -len(groups[group]))
    mine = (item for group in in_order if _claim(folder, group) for item in groups[group])
    item = next(mine, None)
    while item is not None:
        following = next(mine, None)  # pytest has to know what may stay set up
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        item = following
    return True
