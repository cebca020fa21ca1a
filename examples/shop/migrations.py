"""The shop's own changes of its schema, made while it sells: what a mirror has to follow without being told.

Each is made only where it applies, so a second run goes on with what it finds. The last four undo earlier ones: a long
run changes the schema again and again.
"""

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

Schema = dict[str, str]
"""What there is: `table.column` to the name of its type, and `type.label` to "enum"."""


@dataclass(frozen=True)
class Migration:
    """One change. `applies` says whether the schema still lacks it."""

    name: str
    applies: Callable[[Schema], bool]
    sql: str


FORWARD = (
    Migration(
        "add column customers.loyalty_points",
        lambda schema: "customers.loyalty_points" not in schema,
        "ALTER TABLE shop.customers ADD COLUMN loyalty_points int NOT NULL DEFAULT 10",
    ),
    Migration(
        "rename column orders.note to customer_note",
        lambda schema: "orders.note" in schema,
        "ALTER TABLE shop.orders RENAME COLUMN note TO customer_note",
    ),
    Migration(
        "widen products.stock to bigint",
        lambda schema: schema["products.stock"] == "int4",
        "ALTER TABLE shop.products ALTER COLUMN stock TYPE bigint",
    ),
    Migration(
        "add value returned to order_status",
        lambda schema: "order_status.returned" not in schema,
        "ALTER TYPE shop.order_status ADD VALUE 'returned'",
    ),
    Migration(
        "create table reviews",
        lambda schema: "reviews.review_id" not in schema,
        """
        CREATE TABLE shop.reviews (
          review_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          sku text NOT NULL REFERENCES shop.products ON UPDATE CASCADE ON DELETE CASCADE,
          customer_id bigint NOT NULL REFERENCES shop.customers ON DELETE CASCADE,
          stars smallint NOT NULL CHECK (stars BETWEEN 1 AND 5),
          body text,
          written_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX ON shop.reviews (sku);
        CREATE INDEX ON shop.reviews (customer_id)
        """,
    ),
    Migration(
        "drop column products.legacy_code",
        lambda schema: "products.legacy_code" in schema,
        "ALTER TABLE shop.products DROP COLUMN legacy_code",
    ),
    Migration(
        "rename table carts to baskets",
        lambda schema: "carts.cart_id" in schema,
        "ALTER TABLE shop.carts RENAME TO baskets",
    ),
    Migration(
        "add column orders.channel",
        lambda schema: "orders.channel" not in schema,
        "ALTER TABLE shop.orders ADD COLUMN channel text NOT NULL DEFAULT 'web'",
    ),
)

BACK = (
    Migration(
        "rename table baskets to carts",
        lambda schema: "baskets.cart_id" in schema,
        "ALTER TABLE shop.baskets RENAME TO carts",
    ),
    Migration(
        "rename column orders.customer_note to note",
        lambda schema: "orders.customer_note" in schema,
        "ALTER TABLE shop.orders RENAME COLUMN customer_note TO note",
    ),
    Migration(
        "drop column customers.loyalty_points",
        lambda schema: "customers.loyalty_points" in schema,
        "ALTER TABLE shop.customers DROP COLUMN loyalty_points",
    ),
    Migration(
        "add column products.legacy_code",
        lambda schema: "products.legacy_code" not in schema,
        "ALTER TABLE shop.products ADD COLUMN legacy_code text",
    ),
)


def read_schema(connection: psycopg.Connection) -> Schema:
    """What stands in the database now."""
    columns = connection.execute(
        "SELECT table_name || '.' || column_name, udt_name FROM information_schema.columns WHERE table_schema = 'shop'"
    )
    labels = connection.execute(
        "SELECT typname || '.' || enumlabel, 'enum' FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid"
        " WHERE typnamespace = 'shop'::regnamespace"
    )
    return dict([*columns.fetchall(), *labels.fetchall()])


class Migrations:
    """The migrations in their order, round and round; each step makes the next one that applies."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._steps = FORWARD + BACK
        self._next = 0

    def step(self, schema: Schema) -> Migration:
        """Make the next change. One always applies: the last ones are undone by others."""
        for _ in self._steps:
            migration = self._steps[self._next]
            self._next = (self._next + 1) % len(self._steps)
            if migration.applies(schema):
                with self._connection.transaction():
                    self._connection.execute(migration.sql)
                return migration
        raise AssertionError("of two migrations that undo each other one applies")
