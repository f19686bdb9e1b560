"""scripts/bench: walferry measured beside what it can be compared with, from outside.

    __main__.py     options, the parts in turn, the report
    bench.py        Bench: the servers, what is free to all parts
    outbox.py       Outbox: one workload's database, its slots and rows
    contestants.py  who is compared, all with the same interface
    process.py      a contestant's process: CPU time, peak of its memory
    report.py       Row, Goal; table and JSON
    stats.py        medians and ratios
    drain.py, latency.py, ...   a part each: run(bench, options) returns its rows

Standard library only, and tests/harness.
"""
