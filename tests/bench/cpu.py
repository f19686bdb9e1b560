"""Not written yet."""


def run(bench, options):
    return []
