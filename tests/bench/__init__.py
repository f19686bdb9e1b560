"""scripts/bench: walferry measured beside what it can be compared with, from outside.

    __main__.py     options, the parts in turn, the report
    bench.py        Bench: the servers, what is free to all parts
    outbox.py       Outbox: one workload's database, its slots and rows
    contestants.py  who is compared, all with the same interface
    process.py      a contestant's process: CPU time, peak of its memory
    report.py       Row, Goal; table and JSON
    stats.py        medians and ratios
    drain.py, latency.py, ...   a part each: run(bench, options) returns its rows
    inbox.py                    one, too, with contestants of its own: from a topic into a handler

Programs in C, which CMake makes bench_<name> of; common.c is shared by them:

    bare_producer.c  the floors of latency
    writer.c         the load of latency: rows on a schedule
    consumer.c       when each record of a topic arrives
    pipeline.c       the limit of the inbox: its statements alone
    listener.c       when each effect of a handler is committed, by its NOTIFY
    records.c        how many records a topic has, how many of them distinct, and when the first and the last came
    fill.c           makes a position topic long

The Python takes the standard library only, and tests/harness.
"""
