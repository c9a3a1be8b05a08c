"""The vendor emulator: release management of DataArts Factory as documented, in its own process.

A request passes ``exchange`` → ``gateway`` (identity, rates, headers) → ``backend`` (the operation) →
``delivery`` (the answer, or the fault that a test asked for). What happened is in ``ledger``, on disk
before the answer leaves.
"""
