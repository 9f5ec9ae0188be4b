-- +goose Up

-- What was told once: a notification is written with its row, in one transaction, and a row that is
-- there already means that it was told.
CREATE TABLE payout_notifications (
    -- As in the change feed, such as payout.paid.
    type     text NOT NULL,
    -- The payout, the payee or the run that it is about.
    subject  text NOT NULL,
    -- Which of several about the same subject: a pause, or the reason why a payee cannot be paid. Such a
    -- reason's row goes when the reason is over, so that it is told when it comes back.
    occasion text NOT NULL DEFAULT '',
    at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (type, subject, occasion)
);

-- One pause is told from the next of the same source.
ALTER TABLE payee_pauses ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY;

-- +goose Down
ALTER TABLE payee_pauses DROP COLUMN id;
DROP TABLE payout_notifications;
