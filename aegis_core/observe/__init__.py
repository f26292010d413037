"""What leaves Aegis about what happened: events as signed webhooks and as files, each with a place that is remembered.

Nothing here is on the way of a decision, and nothing here knows Redis: events come through what programs hold
(`client.ports`), places and leases through `book.DeliveryBook`. Each part can die at any step and go on without loss.
"""
