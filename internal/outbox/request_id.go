package outbox

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
)

// DialOptions are what the Temporal client of a Dispatcher must be dialled with, in
// client.Options.ConnectionOptions.DialOptions. They give a message's key to the server, so that
// it recognises a delivery that it has had before, and they look for a server that is away about
// once a second. Calls other than the dispatcher's pass unchanged.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(stampRequests),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           grpcbackoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
}

// keyHeader is the field of a start's or signal's header that holds the message's key. It stays in
// the workflow's history, where it proves that the message arrived.
const keyHeader = "holdfast-message"

// stamp is what the calls of one delivery carry in their context.
type stamp struct {
	key  string
	seen atomic.Bool // the interceptor is in place
}

type stampKey struct{}

func withStamp(ctx context.Context, key string) (context.Context, *stamp) {
	s := &stamp{key: key}
	return context.WithValue(ctx, stampKey{}, s), s
}

// stampRequests writes the message's key into the requests that take effect.
func stampRequests(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if s, ok := ctx.Value(stampKey{}).(*stamp); ok {
		s.seen.Store(true)
		if err := s.write(request); err != nil {
			return err
		}
	}
	return invoke(ctx, method, request, reply, conn, options...)
}

func (s *stamp) write(request any) (err error) {
	switch r := request.(type) {
	case *workflowservice.StartWorkflowExecutionRequest:
		r.RequestId = requestID(s.key)
		r.Header, err = withKey(r.GetHeader(), s.key)
	case *workflowservice.SignalWithStartWorkflowExecutionRequest:
		r.RequestId = requestID(s.key)
		r.Header, err = withKey(r.GetHeader(), s.key)
	}
	return err
}

// requestID is the id by which the server recognises a message.
func requestID(key string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("holdfast:outbox:"+key)).String()
}

func withKey(h *commonpb.Header, key string) (*commonpb.Header, error) {
	payload, err := converter.GetDefaultDataConverter().ToPayload(key)
	if err != nil {
		return h, err
	}
	if h == nil {
		h = &commonpb.Header{}
	}
	if h.Fields == nil {
		h.Fields = make(map[string]*commonpb.Payload, 1)
	}
	h.Fields[keyHeader] = payload
	return h, nil
}

// hasKey says whether a start or a signal came from the message with that key.
func hasKey(h *commonpb.Header, key string) bool {
	payload, ok := h.GetFields()[keyHeader]
	if !ok {
		return false
	}
	var found string
	return converter.GetDefaultDataConverter().FromPayload(payload, &found) == nil && found == key
}
