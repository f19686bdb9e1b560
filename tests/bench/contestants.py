"""Who is compared. All have the same interface, and read copies of one slot of an Outbox (outbox.py):

    contestant.missing()         why it cannot take part, or None
    run = contestant.enter(outbox)
                                 before rows are written: slot, topics, what it stores. Made anew for each repetition
    run.start(until=None)        a Process that has been started; until: an LSN after which it ends by itself, if it can
    run.topic                    where its records go; None for pg_recvlogical
    run.wait_streaming(timeout)  until it reads
    run.leave()                  whatever state it is in: gone, with its slot and topic
"""

NAMES = ("walferry-pgoutput", "walferry-wal2json", "recvlogical-pgoutput", "recvlogical-wal2json", "debezium", "debezium-1ms",
         "producer")
