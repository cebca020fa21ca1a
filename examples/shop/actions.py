"""What happens in a shop. Each action is one transaction: plain SQL, as a web application would send it.

An action takes what it works on from the tables, not from memory, so a run continues on what an earlier one left.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from migrations import Schema

CITIES = ("Lisbon", "Kraków", "Nairobi", "Quito")
NAMES = ("Ana", "Björn", "Chidi", "Dolores", "Eun-ji", "Fátima")
PLANS = (("basic", "9.90"), ("plus", "19.90"), ("family", "29.90"))
REASONS = ("damaged", "late", "changed their mind", None)
NEXT_STATUSES = {
    "trial": ("active", "cancelled"),
    "active": ("past_due", "cancelled"),
    "past_due": ("active", "cancelled"),
}


@dataclass
class Shop:
    """A connection inside a transaction, the source of chance, and the schema as the migrations have left it."""

    connection: psycopg.Connection
    random: Random
    schema: Schema

    def run(self, sql: str, *values: object) -> int:
        """Carry out one statement; how many rows it touched."""
        return self.connection.execute(sql, values).rowcount

    def one(self, sql: str, *values: object) -> Any:
        """The first value of the first row; None when there is no row."""
        row = self.connection.execute(sql, values).fetchone()
        return None if row is None else row[0]

    def customer(self) -> int | None:
        """Anybody's id."""
        return self._near("customers", "customer_id")

    def order(self) -> int | None:
        """Any order's id."""
        return self._near("orders", "order_id")

    def subscription(self) -> int | None:
        """Any subscription's id."""
        return self._near("subscriptions", "subscription_id")

    def sku(self) -> str | None:
        """Any product's key."""
        return self.one("SELECT sku FROM shop.products WHERE sku >= %s ORDER BY sku LIMIT 1", self.sku_below())

    def sku_below(self) -> str:
        """A name at or below the last product's, by chance."""
        last = self.one("SELECT sku FROM shop.products ORDER BY sku DESC LIMIT 1")
        return f"SKU-{int(self.random.random() * int(last.removeprefix('SKU-'))):08}"

    @property
    def note(self) -> str:
        """The column of an order's note, which is renamed at times."""
        return "note" if "orders.note" in self.schema else "customer_note"

    @property
    def carts(self) -> str:
        """The table of carts, which is renamed at times."""
        return "carts" if "carts.cart_id" in self.schema else "baskets"

    def _near(self, table: str, key: str) -> int | None:
        last = f"SELECT max({key}) FROM shop.{table}"
        return self.one(
            f"SELECT {key} FROM shop.{table} WHERE {key} >= (%s * ({last}))::bigint ORDER BY {key} LIMIT 1",
            self.random.random(),
        )


# ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────


def place_order(shop: Shop) -> bool:
    order = _insert_order(shop)
    if order is None:
        return False
    _insert_lines(shop, order)
    shop.run(
        "UPDATE shop.products SET stock = stock - quantity FROM shop.order_lines"
        " WHERE order_id = %s AND order_lines.sku = products.sku",
        order,
    )
    shop.run(
        "INSERT INTO shop.stock_movements (sku, change, reason)"
        " SELECT sku, -quantity, 'sold' FROM shop.order_lines WHERE order_id = %s",
        order,
    )
    shop.run(
        f"DELETE FROM shop.{shop.carts} WHERE customer_id = (SELECT customer_id FROM shop.orders WHERE order_id = %s)",
        order,
    )
    return True


def place_order_with_refused_coupon(shop: Shop) -> bool:
    """A savepoint: the coupon turns out to be no good, the order stands without it."""
    order = _insert_order(shop)
    if order is None:
        return False
    with shop.connection.transaction():
        shop.run("UPDATE shop.orders SET coupons = '{FREE}', total = 0 WHERE order_id = %s", order)
        raise psycopg.Rollback
    _insert_lines(shop, order)
    return True


def abandon_checkout(shop: Shop) -> bool:
    """Everything of an order is written, then the payment page is closed: all of it is rolled back."""
    place_order(shop)
    raise psycopg.Rollback


def pay_order(shop: Shop) -> bool:
    return _move_order(shop, "placed", "paid")


def ship_order(shop: Shop) -> bool:
    return _move_order(shop, "paid", "shipped")


def cancel_order(shop: Shop) -> bool:
    order = shop.one("SELECT order_id FROM shop.orders WHERE status = 'placed' ORDER BY order_id DESC LIMIT 1")
    if order is None:
        return False
    shop.run(
        f"UPDATE shop.orders SET status = 'cancelled', {shop.note} = NULL, updated_at = now() WHERE order_id = %s",
        order,
    )
    shop.run(
        "INSERT INTO shop.stock_movements (sku, change, reason)"
        " SELECT sku, quantity, 'cancelled' FROM shop.order_lines WHERE order_id = %s",
        order,
    )
    return True


def return_order(shop: Shop) -> bool:
    """Once there is a status for it."""
    return "order_status.returned" in shop.schema and _move_order(shop, "shipped", "returned")


def refund_order(shop: Shop) -> bool:
    return bool(
        shop.run(
            "INSERT INTO shop.refunds (order_id, amount, reason)"
            " SELECT order_id, round(total * %s::numeric, 2), %s FROM shop.orders"
            " WHERE order_id = %s AND status IN ('paid', 'shipped')",
            round(shop.random.uniform(0.1, 1), 4),
            shop.random.choice(REASONS),
            shop.order(),
        )
    )


def change_line(shop: Shop) -> bool:
    order, quantity = shop.order(), shop.random.randint(1, 9)
    changed = shop.run(
        "UPDATE shop.order_lines SET quantity = %s WHERE order_id = %s AND line_number ="
        " (SELECT min(line_number) FROM shop.order_lines WHERE order_id = %s)",
        quantity,
        order,
        order,
    )
    return bool(changed and _add_up(shop, order))


def remove_line(shop: Shop) -> bool:
    order = shop.order()
    removed = shop.run(
        "DELETE FROM shop.order_lines WHERE order_id = %s AND line_number > 1 AND line_number ="
        " (SELECT max(line_number) FROM shop.order_lines WHERE order_id = %s)",
        order,
        order,
    )
    return bool(removed and _add_up(shop, order))


def renumber_line(shop: Shop) -> bool:
    """A change of a key."""
    order = shop.order()
    return bool(
        shop.run(
            "UPDATE shop.order_lines SET line_number = (SELECT max(line_number) + 1 FROM shop.order_lines"
            " WHERE order_id = %s) WHERE order_id = %s AND line_number ="
            " (SELECT min(line_number) FROM shop.order_lines WHERE order_id = %s)",
            order,
            order,
            order,
        )
    )


def swap_lines(shop: Shop) -> bool:
    """Two rows change their keys with each other, over a third key, in one transaction."""
    order = shop.order()
    found = shop.connection.execute(
        "SELECT line_number FROM shop.order_lines WHERE order_id = %s ORDER BY line_number LIMIT 2", (order,)
    ).fetchall()
    if len(found) < 2:
        return False
    (first,), (second,) = found
    for before, after in ((first, -1), (second, first), (-1, second)):
        shop.run(
            "UPDATE shop.order_lines SET line_number = %s WHERE order_id = %s AND line_number = %s",
            after,
            order,
            before,
        )
    return True


def _insert_order(shop: Shop) -> int | None:
    customer = shop.customer()
    if customer is None:
        return None
    columns, values = ["customer_id", shop.note], [customer, shop.random.choice((None, "Ring twice", "A gift\t🎁"))]
    if "orders.channel" in shop.schema:
        columns, values = [*columns, "channel"], [*values, shop.random.choice(("web", "app"))]
    return shop.one(
        f"INSERT INTO shop.orders ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(values))}) RETURNING order_id",
        *values,
    )


def _insert_lines(shop: Shop, order: int) -> None:
    shop.run(
        "INSERT INTO shop.order_lines (order_id, line_number, sku, quantity, unit_price)"
        " SELECT %s, row_number() OVER (ORDER BY sku), sku, %s, price FROM"
        " (SELECT sku, price FROM shop.products WHERE sku >= %s ORDER BY sku LIMIT %s) AS chosen",
        order,
        shop.random.randint(1, 4),
        shop.sku_below(),
        shop.random.randint(1, 4),
    )
    _add_up(shop, order)


def _add_up(shop: Shop, order: int | None) -> int:
    return shop.run(
        "UPDATE shop.orders SET updated_at = now(), total = (SELECT coalesce(sum(amount), 0) FROM shop.order_lines"
        " WHERE order_lines.order_id = orders.order_id) WHERE order_id = %s",
        order,
    )


def _move_order(shop: Shop, before: str, after: str) -> bool:
    return bool(
        shop.run(
            "UPDATE shop.orders SET status = %s, updated_at = now() WHERE order_id ="
            " (SELECT order_id FROM shop.orders WHERE status = %s ORDER BY order_id LIMIT 1)",
            after,
            before,
        )
    )


# ── products and stock ───────────────────────────────────────────────────────────────────────────────────────────


def list_product(shop: Shop) -> bool:
    return bool(
        shop.run(
            "INSERT INTO shop.products (name, description, price, attributes) VALUES (%s, %s, %s, %s)",
            f"{shop.random.choice(('Small', 'Large', 'Odd'))} thing",
            _long_text(shop.random),
            shop.random.randint(500, 20_000) / 100,
            Jsonb({"colour": shop.random.choice(("red", "green")), "sizes": shop.random.sample(range(30, 50), 3)}),
        )
    )


def relabel_product(shop: Shop) -> bool:
    """A change of a key, and by ON UPDATE CASCADE of the rows that refer to it. The newest one: few do."""
    return bool(
        shop.run(
            "UPDATE shop.products SET sku = DEFAULT WHERE sku ="
            " (SELECT sku FROM shop.products ORDER BY listed_at DESC, sku DESC LIMIT 1)"
        )
    )


def reprice_product(shop: Shop) -> bool:
    """The description, long and unchanged, is not in the log."""
    return bool(
        shop.run(
            "UPDATE shop.products SET price = greatest(1, round(price * %s::numeric, 2)) WHERE sku = %s",
            round(shop.random.uniform(0.8, 1.25), 4),
            shop.sku(),
        )
    )


def describe_product(shop: Shop) -> bool:
    return bool(
        shop.run("UPDATE shop.products SET description = %s WHERE sku = %s", _long_text(shop.random), shop.sku())
    )


def receive_stock(shop: Shop) -> bool:
    sku, count = shop.sku(), shop.random.randint(10, 500)
    shop.run("INSERT INTO shop.stock_movements (sku, change, reason) VALUES (%s, %s, 'received')", sku, count)
    return bool(shop.run("UPDATE shop.products SET stock = stock + %s WHERE sku = %s", count, sku))


def correct_stock(shop: Shop) -> bool:
    """Updates rows that have no key."""
    return bool(
        shop.run(
            "UPDATE shop.stock_movements SET change = change + %s, reason = 'corrected'"
            " WHERE moved_at = (SELECT max(moved_at) FROM shop.stock_movements)",
            shop.random.choice((-1, 1)),
        )
    )


def double_stock_movement(shop: Shop) -> bool:
    """Two rows that are alike, one of which is deleted again: without a key only their number tells."""
    row = "WHERE ctid = (SELECT ctid FROM shop.stock_movements ORDER BY moved_at DESC LIMIT 1)"
    shop.run(f"INSERT INTO shop.stock_movements SELECT * FROM shop.stock_movements {row}")
    shop.run(f"INSERT INTO shop.stock_movements SELECT * FROM shop.stock_movements {row}")
    return bool(shop.run(f"DELETE FROM shop.stock_movements {row}"))


def _long_text(random: Random) -> str:
    """4 to 8 kB: too long for its row, so PostgreSQL keeps it elsewhere."""
    return " ".join(f"{random.getrandbits(64):016x}" for _ in range(random.randint(240, 480)))


# ── customers ────────────────────────────────────────────────────────────────────────────────────────────────────


def register_customer(shop: Shop) -> bool:
    name = shop.random.choice(NAMES)
    return bool(
        shop.run(
            "INSERT INTO shop.customers (email, full_name, address, tags)"
            " VALUES (gen_random_uuid() || '@example.com', %s, %s, %s)",
            name,
            _address(shop.random) if shop.random.random() < 0.9 else None,
            shop.random.sample(("newsletter", "vip", "b2b", ""), shop.random.randint(0, 3)),
        )
    )


def move_customer(shop: Shop) -> bool:
    points = ", loyalty_points = loyalty_points + 1" if "customers.loyalty_points" in shop.schema else ""
    return bool(
        shop.run(
            f"UPDATE shop.customers SET address = %s, tags = tags[:3] || %s::text {points} WHERE customer_id = %s",
            _address(shop.random),
            "moved",
            shop.customer(),
        )
    )


def delete_customer(shop: Shop) -> bool:
    """Takes along orders, their lines and refunds, subscriptions and the cart."""
    return bool(shop.run("DELETE FROM shop.customers WHERE customer_id = %s", shop.customer()))


def write_review(shop: Shop) -> bool:
    """Once there is a table for it."""
    if "reviews.review_id" not in shop.schema:
        return False
    return bool(
        shop.run(
            "INSERT INTO shop.reviews (sku, customer_id, stars, body) VALUES (%s, %s, %s, %s)",
            shop.sku(),
            shop.customer(),
            shop.random.randint(1, 5),
            shop.random.choice((None, "", "Fine.", "Broke\nafter a day.")),
        )
    )


def _address(random: Random) -> Jsonb:
    return Jsonb({"city": random.choice(CITIES), "street": f"Main {random.randint(1, 99)}", "floor": None})


# ── carts, subscriptions, page views ─────────────────────────────────────────────────────────────────────────────


def fill_cart(shop: Shop) -> bool:
    return bool(
        shop.run(
            f"INSERT INTO shop.{shop.carts} (customer_id, items) VALUES (%s, %s)"
            " ON CONFLICT (customer_id) DO UPDATE SET items = excluded.items, filled_at = now()",
            shop.customer(),
            Jsonb([{"sku": shop.sku(), "quantity": shop.random.randint(1, 3)}]),
        )
    )


def empty_carts(shop: Shop) -> bool:
    shop.run(f"TRUNCATE shop.{shop.carts}")
    return True


def subscribe(shop: Shop) -> bool:
    plan, price = shop.random.choice(PLANS)
    subscription = shop.one(
        "INSERT INTO shop.subscriptions (customer_id, plan, monthly_price) VALUES (%s, %s, %s)"
        " RETURNING subscription_id",
        shop.customer(),
        plan,
        price,
    )
    shop.run(
        "INSERT INTO shop.subscription_changes (subscription_id, status) VALUES (%s, 'trial')",
        subscription,
    )
    return True


def change_subscription(shop: Shop) -> bool:
    subscription = shop.subscription()
    status = shop.one("SELECT status FROM shop.subscriptions WHERE subscription_id = %s", subscription)
    if status not in NEXT_STATUSES:
        return False
    after = shop.random.choices(NEXT_STATUSES[status], (4, 1))[0]
    shop.run(
        "UPDATE shop.subscriptions SET status = %s, ended_at = CASE WHEN %s THEN now() END WHERE subscription_id = %s",
        after,
        after == "cancelled",
        subscription,
    )
    shop.run(
        "INSERT INTO shop.subscription_changes (subscription_id, status) VALUES (%s, %s)",
        subscription,
        after,
    )
    return True


def view_pages(shop: Shop) -> bool:
    customer = shop.customer() if shop.random.random() < 0.7 else None
    return bool(
        shop.run(
            "INSERT INTO shop.page_views (customer_id, path, properties)"
            " SELECT %s, '/products/' || n, %s FROM generate_series(1, %s) AS n",
            customer,
            Jsonb({"referrer": shop.random.choice(("search", "mail", "direct"))}),
            shop.random.randint(1, 5),
        )
    )


def move_view_to_last_month(shop: Shop) -> bool:
    """The row goes to another partition."""
    return bool(
        shop.run(
            "UPDATE shop.page_views SET viewed_at = viewed_at - interval '1 month' WHERE (view_id, viewed_at) ="
            " (SELECT view_id, viewed_at FROM shop.page_views ORDER BY viewed_at DESC LIMIT 1)"
        )
    )


def forget_oldest_view(shop: Shop) -> bool:
    return bool(
        shop.run(
            "DELETE FROM shop.page_views WHERE (view_id, viewed_at) ="
            " (SELECT view_id, viewed_at FROM shop.page_views ORDER BY viewed_at LIMIT 1)"
        )
    )


Action = Callable[[Shop], bool]
"""Does it, within a transaction; false when there was nothing to do it to. May raise psycopg.Rollback."""

ACTIONS: dict[Action, float] = {
    place_order: 20,
    place_order_with_refused_coupon: 2,
    abandon_checkout: 2,
    pay_order: 17,
    ship_order: 15,
    cancel_order: 3,
    return_order: 1,
    refund_order: 2,
    change_line: 2,
    remove_line: 1,
    renumber_line: 1,
    swap_lines: 1,
    list_product: 0.5,
    relabel_product: 0.5,
    reprice_product: 3,
    describe_product: 0.5,
    receive_stock: 2,
    correct_stock: 0.5,
    double_stock_movement: 0.5,
    register_customer: 4,
    move_customer: 3,
    delete_customer: 0.5,
    write_review: 2,
    fill_cart: 4,
    empty_carts: 0.2,
    subscribe: 2,
    change_subscription: 4,
    view_pages: 6,
    move_view_to_last_month: 0.5,
    forget_oldest_view: 0.5,
}
"""How often each happens, beside the others."""
