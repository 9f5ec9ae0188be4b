// Package outbox hands work over to Temporal durably. A message is written in the transaction
// that made it necessary; dispatchers, any number of them, deliver it when Temporal can be
// reached. Temporal being down delays the work and fails no request.
package outbox

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Message says what to start or signal. It carries ids, never personal data.
type Message struct {
	// Key names the effect and makes it happen once: a second message with the same key is
	// dropped when it is written, and a delivery that is repeated after a crash is recognised
	// by Temporal, which gets the key as the request's id.
	Key string `json:"-"`

	Workflow   string          `json:"workflow"`
	WorkflowID string          `json:"workflow_id"`
	TaskQueue  string          `json:"task_queue"`
	Input      json.RawMessage `json:"input,omitempty"`

	// Signal, when named, is sent to the running workflow, or to the one that is started for it.
	// Without it the workflow is started, and one that is running already is left alone.
	Signal string `json:"signal,omitempty"`

	// Summary is what Temporal's UI shows beside the workflow's id.
	Summary string `json:"summary,omitempty"`
	// SearchAttributes are keywords by name.
	SearchAttributes map[string]string `json:"search_attributes,omitempty"`
}

const insertSQL = `INSERT INTO outbox (key, message) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING`

// Add writes the message in the caller's transaction. A key that is there already is not an
// error: its effect happens once.
func Add(ctx context.Context, tx pgx.Tx, m Message) error {
	args, err := insertArgs(m)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, insertSQL, args...); err != nil {
		return fmt.Errorf("outbox: write message %q: %w", m.Key, err)
	}
	return nil
}

// Queue puts the same write into a batch, for callers who send several statements at once.
func Queue(batch *pgx.Batch, m Message) error {
	args, err := insertArgs(m)
	if err != nil {
		return err
	}
	batch.Queue(insertSQL, args...)
	return nil
}

func insertArgs(m Message) ([]any, error) {
	if m.Key == "" || m.Workflow == "" || m.WorkflowID == "" || m.TaskQueue == "" {
		return nil, fmt.Errorf("outbox: message %q for workflow %q (id %q, queue %q) is incomplete",
			m.Key, m.Workflow, m.WorkflowID, m.TaskQueue)
	}
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("outbox: encode message %q: %w", m.Key, err)
	}
	return []any{m.Key, body}, nil
}
