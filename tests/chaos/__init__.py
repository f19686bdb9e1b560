"""walferry while everything around it is killed, frozen, cut off and held back.

    schedule.py   what is done to whom, in which order: a pure function of the seed
    faults.py     how each of these is done and undone; the supervisor that restarts walferry
    writers.py    concurrent business transactions whose events carry a per-key sequence; a producer of events for the inbox
    ledger.py     a handler that keeps books of what it was called with
    verify.py     what must be true of the records, of slot and position while it runs, and of the effects
    trials.py     what it is inflicted on: the relay, three members of the inbox, or both in a row
    chaos.py      the program that puts them together: scripts/soak, test_chaos.py

    test_failpoints.py         each moment between produce, commit, position and ack, on every run
    test_inbox_failpoints.py   each moment between claim, call, COMMIT and its answer
    test_inbox_topics.py       a topic that was deleted and made again
"""
