-- +goose Up

-- By which provider a candidate is to be paid: a run has to know what there is at those of its candidates.
ALTER TABLE payout_candidates ADD COLUMN rail text NOT NULL DEFAULT 'stripe' CHECK (rail IN ('stripe', 'paypal'));
CREATE INDEX payout_candidates_by_rail ON payout_candidates (run_date, rail);

-- Whether anything was known of what there is; if not, that is what was missing.
ALTER TABLE payout_shortfalls ADD COLUMN known boolean NOT NULL DEFAULT true;

-- How far PayPal's movements were searched for payouts that came back.
CREATE TABLE paypal_search (
    one            boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- What began before was searched; none: nothing was.
    searched_until timestamptz,
    -- When a search last came to its end.
    searched_at    timestamptz
);
INSERT INTO paypal_search DEFAULT VALUES;

-- Parts of paid payouts that PayPal took back: people are shown them.
CREATE TABLE paypal_reversals (
    transaction_id text PRIMARY KEY,
    payout_id      text NOT NULL REFERENCES payouts (id),
    amount         bigint NOT NULL CHECK (amount > 0),
    currency       text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    found_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX paypal_reversals_found ON paypal_reversals (found_at);

-- A movement at PayPal names the one that it takes back.
CREATE INDEX paypal_batch_items_by_transaction ON paypal_batch_items (transaction_id) WHERE transaction_id IS NOT NULL;

-- +goose Down
DROP INDEX paypal_batch_items_by_transaction;
DROP TABLE paypal_reversals;
DROP TABLE paypal_search;
ALTER TABLE payout_shortfalls DROP COLUMN known;
ALTER TABLE payout_candidates DROP COLUMN rail;
