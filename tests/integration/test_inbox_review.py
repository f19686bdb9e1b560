"""What a review of the inbox found: each test stood against a fault."""


def test_a_batch_leaves_out_a_partition_whose_message_does_not_fit(inbox):
    inbox.psql("create or replace function app.on_event(e jsonb) returns void language sql as $$ "
               "select pg_sleep(0.02); insert into app.seen (id) values (e->>'id') $$")
    inbox.produce(*["x" * 900000] * 8, partition=0)
    inbox.produce(*["x" * 490000] * 12, partition=1)
    inbox.produce(*range(100), partition=2)
    inbox.drain()
    assert len(inbox.seen()) == 120
