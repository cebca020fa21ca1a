-- The tables of a shop, as an application has them that never heard of Headrace. Run it once, in an empty schema `shop`.

CREATE SCHEMA shop;

CREATE TYPE shop.order_status AS ENUM ('placed', 'paid', 'shipped', 'cancelled');
CREATE TYPE shop.subscription_status AS ENUM ('trial', 'active', 'past_due', 'cancelled');

CREATE TABLE shop.customers (
  customer_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  public_id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
  email text NOT NULL UNIQUE,
  full_name text NOT NULL,
  address jsonb,
  tags text[] NOT NULL DEFAULT '{}',
  registered_at timestamptz NOT NULL DEFAULT now()
);

-- Named by the business: a product that is listed under a wrong name gets another key.
CREATE SEQUENCE shop.sku_numbers;
CREATE TABLE shop.products (
  sku text PRIMARY KEY DEFAULT 'SKU-' || lpad(nextval('shop.sku_numbers')::text, 8, '0'),
  name text NOT NULL,
  description text NOT NULL,
  price numeric(12, 2) NOT NULL CHECK (price > 0),
  price_with_tax numeric(12, 2) GENERATED ALWAYS AS (round(price * 1.21, 2)) STORED,
  stock int NOT NULL DEFAULT 0,
  attributes jsonb NOT NULL DEFAULT '{}',
  legacy_code text,
  listed_at timestamptz NOT NULL DEFAULT now()
);
ALTER SEQUENCE shop.sku_numbers OWNED BY shop.products.sku;
-- Out of line and uncompressed: an UPDATE that leaves it alone does not write it to the log either.
ALTER TABLE shop.products ALTER COLUMN description SET STORAGE EXTERNAL;
CREATE INDEX ON shop.products (listed_at);

CREATE TABLE shop.orders (
  order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id bigint NOT NULL REFERENCES shop.customers ON DELETE CASCADE,
  status shop.order_status NOT NULL DEFAULT 'placed',
  total numeric(12, 2) NOT NULL DEFAULT 0,
  currency char(3) NOT NULL DEFAULT 'EUR',
  coupons text[] NOT NULL DEFAULT '{}',
  note text,
  placed_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON shop.orders (customer_id);
CREATE INDEX ON shop.orders (status, order_id);

CREATE TABLE shop.order_lines (
  order_id bigint NOT NULL REFERENCES shop.orders ON DELETE CASCADE,
  line_number int NOT NULL,
  sku text NOT NULL REFERENCES shop.products ON UPDATE CASCADE,
  quantity int NOT NULL CHECK (quantity > 0),
  unit_price numeric(12, 2) NOT NULL,
  amount numeric(12, 2) GENERATED ALWAYS AS (quantity * unit_price) STORED,
  PRIMARY KEY (order_id, line_number)
);
CREATE INDEX ON shop.order_lines (sku);

CREATE TABLE shop.refunds (
  refund_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  order_id bigint NOT NULL REFERENCES shop.orders ON DELETE CASCADE,
  amount numeric(12, 2) NOT NULL,
  reason text,
  refunded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON shop.refunds (order_id);

CREATE TABLE shop.subscriptions (
  subscription_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id bigint NOT NULL REFERENCES shop.customers ON DELETE CASCADE,
  plan text NOT NULL,
  status shop.subscription_status NOT NULL DEFAULT 'trial',
  monthly_price numeric(12, 2) NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz
);
CREATE INDEX ON shop.subscriptions (customer_id);

-- What happened to a subscription, one row for each change of its status.
CREATE TABLE shop.subscription_changes (
  change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  subscription_id bigint NOT NULL REFERENCES shop.subscriptions ON DELETE CASCADE,
  status shop.subscription_status NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON shop.subscription_changes (subscription_id);

-- A ledger without a key, where two rows may be alike: its changes carry the whole row.
CREATE TABLE shop.stock_movements (
  sku text NOT NULL,
  change int NOT NULL,
  reason text NOT NULL,
  moved_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE shop.stock_movements REPLICA IDENTITY FULL;
CREATE INDEX ON shop.stock_movements (moved_at);

-- Small, and emptied by TRUNCATE.
CREATE TABLE shop.carts (
  cart_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id bigint NOT NULL UNIQUE REFERENCES shop.customers ON DELETE CASCADE,
  items jsonb NOT NULL,
  filled_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE shop.page_views (
  view_id uuid NOT NULL DEFAULT gen_random_uuid(),
  viewed_at timestamptz NOT NULL DEFAULT now(),
  customer_id bigint REFERENCES shop.customers ON DELETE SET NULL,
  path text NOT NULL,
  properties jsonb NOT NULL DEFAULT '{}',
  PRIMARY KEY (view_id, viewed_at)
) PARTITION BY RANGE (viewed_at);
CREATE INDEX ON shop.page_views (viewed_at);
CREATE INDEX ON shop.page_views (customer_id);

-- Make the partitions of the months from three before today's to the next one, where they are missing.
CREATE PROCEDURE shop.open_months() LANGUAGE plpgsql AS $$
DECLARE
  first timestamptz;
BEGIN
  FOR months IN -3..1 LOOP
    first := date_trunc('month', now(), 'UTC') + months * interval '1 month';
    EXECUTE format(
      'CREATE TABLE IF NOT EXISTS shop.page_views_%s PARTITION OF shop.page_views FOR VALUES FROM (%L) TO (%L)',
      to_char(first AT TIME ZONE 'UTC', 'YYYY_MM'), first, first + interval '1 month'
    );
  END LOOP;
END $$;
CALL shop.open_months();
