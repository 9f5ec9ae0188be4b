-- +goose Up

-- Changes that the app's webhook did not take, until an operator has them delivered again.
CREATE TABLE undelivered_changes (
    seq         bigint PRIMARY KEY REFERENCES changes (seq),
    given_up_at timestamptz NOT NULL DEFAULT now(),
    -- What the last attempt met: a code, such as http_503 or timeout.
    last_error  text NOT NULL
);

-- +goose Down
DROP TABLE undelivered_changes;
