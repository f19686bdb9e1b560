"""Messages of which the process dies, as docs/events/retry-and-dlq.md counts them."""


def test_a_crash_is_given_up_after_as_many_attempts_as_the_config_says(inbox):
    inbox.produce(1, 2, partition=0)
    inbox.start(failpoint="inbox.before_commit=kill").expect_exit(-9)  # in a batch: nobody knows of which
    for _ in range(3):
        inbox.start(failpoint="inbox.attempt_counted=kill").expect_exit(-9, 30)
    inbox.drain()
    letter, = inbox.letters()
    assert (letter["code"], letter["attempts"]) == ("handler_crashed", 3)
    assert [payload for _, _, payload in inbox.seen()] == [2]
