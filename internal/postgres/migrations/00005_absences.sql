-- +goose Up

-- When a look-up first found nothing of what the last sending may have done. Where money moves, a
-- second one, ten minutes later, has to find nothing too.
ALTER TABLE provider_requests ADD COLUMN missing_since timestamptz;

-- +goose Down
ALTER TABLE provider_requests DROP COLUMN missing_since;
