-- +goose Up

-- When the sweep last had the payee's connected account looked at, since it had not been seen for long.
ALTER TABLE payees ADD COLUMN account_asked_at timestamptz;

-- What Stripe was found to have of a payout that is held, each time that it was something else than before.
CREATE TABLE payout_findings (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payout_id text NOT NULL REFERENCES payouts (id),
    -- Ids, states and sums; no personal data.
    finding   text NOT NULL,
    at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX payout_findings_newest ON payout_findings (payout_id, id DESC);

-- +goose Down
DROP TABLE payout_findings;
ALTER TABLE payees DROP COLUMN account_asked_at;
