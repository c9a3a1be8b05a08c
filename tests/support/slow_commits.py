"""Makes PostgreSQL slow to accept."""

from tests.support.api import Replica


async def slow_down_commits(replica: Replica, *, seconds: float) -> None:
    """Let every commit take a while, as on a busy disk."""
    async with replica.deps.database.connection() as connection:
        await connection.execute(
            f"""
            CREATE FUNCTION take_a_while() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$;
            CREATE TRIGGER slow AFTER INSERT ON release_requests
            FOR EACH STATEMENT EXECUTE FUNCTION take_a_while();
            """
        )
