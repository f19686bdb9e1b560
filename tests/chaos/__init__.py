"""walferry while everything around it is killed, frozen, cut off and held back.

    schedule.py   what is done to whom, in which order: a pure function of the seed
    faults.py     how each of these is done and undone; the supervisor that restarts walferry
    writers.py    concurrent business transactions whose events carry a per-key sequence
    verify.py     what must be true of the records, and of slot and position while it runs
    chaos.py      the program that puts them together: scripts/soak, test_chaos.py

    test_failpoints.py   each moment between produce, commit, position and ack, on every run
"""
