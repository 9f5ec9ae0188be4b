package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

// handover gives messages to Temporal.
type handover struct {
	temporal  client.Client
	namespace string
}

// deliver makes a message take effect in Temporal, once. Its first delivery is one call. A later
// one looks first whether an earlier one arrived: the server recognises a repeated request only
// while the run that took it is the workflow's latest, and a repeated signal only while it is open.
func (h handover) deliver(ctx context.Context, r row) error {
	var m Message
	if err := json.Unmarshal(r.Message, &m); err != nil {
		return fmt.Errorf("read the message: %w", err)
	}
	if r.Attempts > 1 {
		arrived, err := h.arrived(ctx, m.WorkflowID, r.Key, r.CreatedAt)
		if err != nil {
			return fmt.Errorf("look whether it arrived before: %w", err)
		}
		if arrived {
			return nil
		}
	}
	ctx, _ = withStamp(ctx, r.Key)
	if m.Signal == "" {
		return h.start(ctx, m)
	}
	return h.signal(ctx, m)
}

// start starts the workflow, or finds one that is running already.
func (h handover) start(ctx context.Context, m Message) error {
	if _, err := h.temporal.ExecuteWorkflow(ctx, startOptions(m), m.Workflow, arguments(m)...); err != nil {
		return fmt.Errorf("start the workflow: %w", err)
	}
	return nil
}

// signal signals the running workflow, or one that it starts.
func (h handover) signal(ctx context.Context, m Message) error {
	_, err := h.temporal.SignalWithStartWorkflow(ctx, m.WorkflowID, m.Signal, nil, startOptions(m), m.Workflow, arguments(m)...)
	if err != nil {
		return fmt.Errorf("signal the workflow or start it: %w", err)
	}
	return nil
}

func startOptions(m Message) client.StartWorkflowOptions {
	attributes := make([]temporal.SearchAttributeUpdate, 0, len(m.SearchAttributes))
	for name, value := range m.SearchAttributes {
		attributes = append(attributes, temporal.NewSearchAttributeKeyKeyword(name).ValueSet(value))
	}
	return client.StartWorkflowOptions{
		ID:                       m.WorkflowID,
		TaskQueue:                m.TaskQueue,
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            m.Summary,
		TypedSearchAttributes:    temporal.NewSearchAttributes(attributes...),
	}
}

// arguments are the workflow's input as it was written: JSON of JSON is the same JSON.
func arguments(m Message) []any {
	if len(m.Input) == 0 {
		return nil
	}
	return []any{m.Input}
}

// clockSkew is how far Postgres' clock and Temporal's may be apart.
const clockSkew = 5 * time.Minute

// arrived says whether the message with that key is in the history of a run of the workflow. Runs
// that were over when the message was written are not looked at. The latest run is read as it is;
// earlier ones are found through visibility, which may lag behind by less than a lease.
func (h handover) arrived(ctx context.Context, workflowID, key string, written time.Time) (bool, error) {
	latest, err := h.temporal.DescribeWorkflowExecution(ctx, workflowID, "")
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	since := written.Add(-clockSkew)
	run := latest.GetWorkflowExecutionInfo()
	if closed := run.GetCloseTime(); closed != nil && closed.AsTime().Before(since) {
		return false, nil
	}
	found, err := h.inHistory(ctx, workflowID, run.GetExecution().GetRunId(), key)
	if err != nil || found || run.GetStartTime().AsTime().Before(since) {
		return found, err
	}
	return h.inEarlierRun(ctx, workflowID, key, since)
}

func (h handover) inEarlierRun(ctx context.Context, workflowID, key string, since time.Time) (bool, error) {
	request := &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: h.namespace,
		Query: fmt.Sprintf("WorkflowId = %s AND CloseTime >= '%s'",
			quote(workflowID), since.UTC().Format(time.RFC3339Nano)),
	}
	for {
		page, err := h.temporal.ListWorkflow(ctx, request)
		if err != nil {
			return false, fmt.Errorf("list the runs: %w", err)
		}
		for _, run := range page.GetExecutions() {
			found, err := h.inHistory(ctx, workflowID, run.GetExecution().GetRunId(), key)
			if err != nil || found {
				return found, err
			}
		}
		if len(page.GetNextPageToken()) == 0 {
			return false, nil
		}
		request.NextPageToken = page.GetNextPageToken()
	}
}

// quote writes a string of a visibility query.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func (h handover) inHistory(ctx context.Context, workflowID, runID, key string) (bool, error) {
	events := h.temporal.GetWorkflowHistory(ctx, workflowID, runID, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if isNotFound(err) { // past its retention since it was listed
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read the history: %w", err)
		}
		if cameFrom(event, key) {
			return true, nil
		}
	}
	return false, nil
}

// cameFrom says whether the event is the start or the signal that the message brought about.
func cameFrom(event *history.HistoryEvent, key string) bool {
	return hasKey(event.GetWorkflowExecutionStartedEventAttributes().GetHeader(), key) ||
		hasKey(event.GetWorkflowExecutionSignaledEventAttributes().GetHeader(), key)
}

// probeID is a workflow that is never started.
const probeID = "holdfast-outbox-probe"

// errNotStamped is a mistake in the program's wiring: without the interceptor a message that is
// delivered again would take effect again.
var errNotStamped = errors.New("outbox: the Temporal client was dialled without outbox.DialOptions in its ConnectionOptions.DialOptions")

// probe says whether Temporal takes work: whether it knows, through all of its services and its
// own database, that a certain workflow does not exist.
func (h handover) probe(ctx context.Context) error {
	ctx, s := withStamp(ctx, probeID)
	_, err := h.temporal.DescribeWorkflowExecution(ctx, probeID, "")
	if err != nil && !isNotFound(err) {
		return err
	}
	if !s.seen.Load() {
		return errNotStamped
	}
	return nil
}

func isNotFound(err error) bool {
	var notFound *serviceerror.NotFound // not NamespaceNotFound, which is a type of its own
	return errors.As(err, &notFound)
}
