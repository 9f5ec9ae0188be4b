-- +goose Up

-- When a read last found a difference that no event had told, so that a pass can count what it healed.
ALTER TABLE subscription_syncs ADD COLUMN healed_at timestamptz;

CREATE INDEX subscription_syncs_healed ON subscription_syncs (provider, healed_at) WHERE healed_at IS NOT NULL;
-- A pass holds a page of the provider's list against what is known of the same stretch of time.
CREATE INDEX subscriptions_by_creation ON subscriptions (provider, created_at);

-- +goose Down
DROP INDEX subscriptions_by_creation;
DROP INDEX subscription_syncs_healed;
ALTER TABLE subscription_syncs DROP COLUMN healed_at;
